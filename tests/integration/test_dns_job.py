"""The DNS job in a namespace of its own, asked over UDP and TCP."""

import asyncio
import socket

import dns.message
import dns.query
import dns.rcode
import pytest

from netlab.component import Context
from netlab.dns import job
from netlab.kernel import netns
from tests.integration.bench import Bench

pytestmark = pytest.mark.root

CONFIG = {
    "listen": ["127.0.0.1:53", "127.0.0.2:53"],
    "zones": {"mesh.example.test": "203.0.113.10"},
    "names": {"api.sys.example.test": "203.0.113.11"},
}


@pytest.fixture
def server(tmp_path):
    with Bench(tmp_path, "dns") as bench:
        bench.namespace("vm")
        with bench.job("vm", job.run, Context(lab="t", node="vm", job="dns", config=CONFIG)):
            yield bench


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("ask", [dns.query.udp, dns.query.tcp])
def test_both_transports_answer_on_each_address(server, address, ask):
    with netns.entered(server.path("vm")):
        answer = ask(dns.message.make_query("hello.mesh.example.test", "A"), address, timeout=2)
        missing = ask(dns.message.make_query("x.sys.example.test", "A"), address, timeout=2)
    assert str(answer.answer[0][0]) == "203.0.113.10"
    assert missing.rcode() == dns.rcode.NXDOMAIN


def test_nonsense_is_survived(server):
    with netns.entered(server.path("vm")):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            for size in (0, 1, 11, 12, 500):
                udp.sendto(b"\xff" * size, ("127.0.0.1", 53))
        with socket.create_connection(("127.0.0.1", 53), timeout=2) as tcp:
            tcp.sendall(b"\x00\x03abc")
            assert tcp.recv(10) == b""
        answer = dns.query.udp(dns.message.make_query("api.sys.example.test", "A"), "127.0.0.1", timeout=2)
    assert str(answer.answer[0][0]) == "203.0.113.11"


def test_several_queries_on_one_connection(server):
    query = dns.message.make_query("a.mesh.example.test", "A").to_wire()

    async def ask():
        reader, writer = await asyncio.open_connection("127.0.0.1", 53)
        writer.write((len(query).to_bytes(2, "big") + query) * 3)
        for _ in range(3):
            length = int.from_bytes(await reader.readexactly(2), "big")
            assert dns.message.from_wire(await reader.readexactly(length)).answer
        writer.close()

    with netns.entered(server.path("vm")):
        asyncio.run(ask())
