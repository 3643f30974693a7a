"""Packets, connections and rules of one request through two translations, seen by every source at once."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from netlab.errors import KernelError, MachineError
from netlab.kernel import conntrack, netns, rules
from netlab.kernel.capture import Capture, close_all
from netlab.kernel.nflog import RuleTrace, TraceRecord
from netlab.kernel.rules import Match, Rule, Transaction
from tests.integration.workplace import Workplace, workplace

pytestmark = pytest.mark.root
__all__ = ["workplace"]

NODES = ("client", "router", "server")


def nat(chain: str, target: str, *options: tuple[str, str], port: int | None = None, **fields: str) -> Rule:
    matches = (Match("tcp", (("dport", str(port)),)),) if port else ()
    protocol = "tcp" if port else None
    return Rule("nat", chain, target, options, protocol=protocol, matches=matches, **fields)


TO_SERVER = nat("PREROUTING", "DNAT", ("to-destination", "10.2.0.2:8080"), port=80, comment="to the server")
AWAY = nat("POSTROUTING", "MASQUERADE", out_interface="right", comment="leave")
TO_SIDECAR = nat("PREROUTING", "DNAT", ("to-destination", "10.2.0.2:15001"), port=8080, comment="to the sidecar")
FORWARD = Rule("filter", "FORWARD", "ACCEPT", protocol="tcp", comment="forward")


@dataclass
class Line:
    place: Workplace
    listener: socket.socket

    def connect(self) -> tuple[str, int]:
        """One short connection; returns the client's own address."""
        with netns.entered(self.place.path("client")):
            client = socket.create_connection(("10.1.0.1", 80), timeout=5)
        with client:
            connection, _ = self.listener.accept()
            with connection:
                client.sendall(b"ping")
                assert connection.recv(16) == b"ping"
            return client.getsockname()


@pytest.fixture(params=["iptc", "iptables-nft-restore"])
def path(request: pytest.FixtureRequest, workplace: Workplace) -> Iterator[Line]:
    try:
        backend = rules.backend(request.param)
    except MachineError as error:
        pytest.skip(error.message)
    workplace.line()
    first = nat("PREROUTING", "ACCEPT", port=9999, comment="not this one")
    backend.apply(
        workplace.path("router"),
        Transaction("nat", append=(first, TO_SERVER, AWAY)),
        Transaction("filter", append=(FORWARD,)),
    )
    backend.apply(workplace.path("server"), Transaction("nat", append=(TO_SIDECAR,)))
    with netns.entered(workplace.path("server")):
        listener = socket.create_server(("0.0.0.0", 15001))
    with listener:
        yield Line(workplace, listener)


def until(source: object, read: Callable[[], list], enough: Callable[[list], bool]) -> list:  # type: ignore[type-arg]
    """Read until there is enough, as events come."""
    found: list = []  # type: ignore[type-arg]
    filenos = source.filenos() if isinstance(source, RuleTrace) else [source.fileno()]  # type: ignore[attr-defined]
    while not enough(found):
        assert select.select(filenos, [], [], 5)[0], f"no more after {found}"
        found += read()
    return found


def test_packets(path: Line) -> None:
    captures = {node: Capture(path.place.path(node), ports={80, 8080}) for node in NODES}
    before = time.time_ns()
    path.connect()
    after = time.time_ns()
    seen: list[tuple[int, str, str, bool]] = []
    for node, capture in captures.items():
        for packet in until(capture, capture.read, lambda found: len(found) >= 8):
            flags, (source, destination) = packet.data[47], struct.unpack_from(">HH", packet.data, 34)
            assert before < packet.time_ns < after + 1_000_000_000
            assert packet.length == len(packet.data)
            if flags == 0x02:
                seen.append((packet.time_ns, node, packet.interface, packet.outgoing))
                assert destination == (80 if node == "client" or packet.interface == "left" else 8080)
                assert source > 1024
        received, dropped = capture.statistics()
        assert received >= 8
        assert dropped == 0
        assert capture.statistics()[0] >= received
    close_all(captures.values())
    assert [place[1:] for place in sorted(seen)] == [
        ("client", "eth0", True),
        ("router", "left", False),
        ("router", "right", True),
        ("server", "eth0", False),
    ]


def test_packets_that_nobody_asked_for(path: Line) -> None:
    with Capture(path.place.path("client"), ports={81}) as none, Capture(path.place.path("client")) as every:
        path.connect()
        assert until(every, every.read, lambda found: len(found) >= 8)
        assert none.read() == []
        assert none.statistics() == (0, 0)
        none.limit_to({80})
        path.connect()
        assert until(none, none.read, lambda found: len(found) >= 8)


def test_drops_are_counted(path: Line) -> None:
    with Capture(path.place.path("client"), buffer_bytes=4096) as capture:
        with netns.entered(path.place.path("client")), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(200):
                sender.sendto(bytes(1000), ("10.1.0.1", 9))
        received, dropped = capture.statistics()
        assert received >= 200
        assert 0 < dropped < received
        assert capture.statistics()[1] >= dropped


def test_connections(path: Line) -> None:
    router, server = path.place.path("router"), path.place.path("server")
    with conntrack.accounting(router), conntrack.Events(router) as events, conntrack.Events(server) as inner:
        before = time.time_ns()
        address, port = path.connect()
        original = conntrack.Tuple(address, port, "10.1.0.1", 80)
        entry = conntrack.get(router, original)
        assert entry is not None
        assert entry.original == original
        assert entry.dnat == ("10.2.0.2", 8080)
        assert entry.snat is not None
        assert entry.snat[0] == "10.2.0.1"
        assert {"CONFIRMED", "SRC_NAT", "DST_NAT"} <= entry.status
        assert entry.packets is not None
        assert min(entry.packets) > 2
        assert entry.start_ns is not None
        assert before < entry.start_ns < time.time_ns()
        assert [found.id for found in conntrack.entries(router) if found.original == original] == [entry.id]
        found = until(events, events.read, lambda found: any(event.kind == "UPDATE" for event in found))
        assert found[0].kind == "NEW"
        assert {event.entry.id for event in found} == {entry.id}
        (new,) = [event for event in until(inner, inner.read, len) if event.kind == "NEW"]
        assert new.entry.original.source_port == entry.snat[1]
        assert new.entry.dnat == ("10.2.0.2", 15001)
        assert events.lost == inner.lost == 0
    assert conntrack.get(router, conntrack.Tuple(address, port, "10.1.0.1", 81)) is None
    with netns.entered(router):
        assert netns.read_sysctl("net/netfilter/nf_conntrack_acct") == "0"


def test_where_conntrack_is_off_there_is_nothing(path: Line) -> None:
    client = path.place.path("client")
    with conntrack.Events(client) as events:
        address, port = path.connect()
        assert conntrack.get(client, conntrack.Tuple(address, port, "10.1.0.1", 80)) is None
        assert conntrack.entries(client) == []
        assert events.read() == []


def destination(record: TraceRecord) -> tuple[str, int]:
    return socket.inet_ntoa(record.packet[16:20]), int.from_bytes(record.packet[22:24], "big")


def test_rules(path: Line) -> None:
    with ExitStack() as stack:
        traces = {node: stack.enter_context(RuleTrace(path.place.path(node))) for node in NODES}
        path.connect()
        last = {"client": "leave", "router": "leave", "server": "deliver"}
        records = {
            node: until(trace, trace.read, lambda found, node=node: last[node] in {record.chain for record in found})
            for node, trace in traces.items()
        }
        assert all(trace.lost == 0 for trace in traces.values())
    matched = {
        node: [(r.table, r.chain, r.number, *destination(r)) for r in found if r.kind == "rule" and r.source != "tap"]
        for node, found in records.items()
    }
    assert matched == {
        "client": [],
        "router": [
            ("nat", "PREROUTING", 2, "10.1.0.1", 80),
            ("filter", "FORWARD", 1, "10.2.0.2", 8080),
            ("nat", "POSTROUTING", 1, "10.2.0.2", 8080),
        ],
        "server": [("nat", "PREROUTING", 1, "10.2.0.2", 8080)],
    }
    taps = {(node, r.chain): destination(r) for node, found in records.items() for r in found if r.source == "tap"}
    assert taps == {
        ("client", "send"): ("10.1.0.1", 80),
        ("client", "send_translated"): ("10.1.0.1", 80),
        ("client", "leave"): ("10.1.0.1", 80),
        ("router", "arrive"): ("10.1.0.1", 80),
        ("router", "arrive_translated"): ("10.2.0.2", 8080),
        ("router", "leave"): ("10.2.0.2", 8080),
        ("server", "arrive"): ("10.2.0.2", 8080),
        ("server", "arrive_translated"): ("10.2.0.2", 15001),
        ("server", "deliver"): ("10.2.0.2", 15001),
    }


def test_a_trace_of_some_ports_leaves_nothing(path: Line) -> None:
    router = path.place.path("router")
    with netns.entered(router):
        logger = netns.read_sysctl("net/netfilter/nf_log/2")
    with RuleTrace(router, ports={81}) as trace:
        with pytest.raises(KernelError, match="trace rules in") as caught:
            RuleTrace(router)
        assert caught.value.hint == "another trace is looking at this namespace"
        path.connect()
        assert trace.read() == []
    with netns.entered(router):
        assert netns.read_sysctl("net/netfilter/nf_log/2") == logger
    with RuleTrace(router, ports={80}) as trace:
        path.connect()
        assert until(trace, trace.read, len)
