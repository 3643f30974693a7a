"""The demo app as it runs in a container: the system's Python, without site packages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import netlab.demo

APP = Path(netlab.demo.__file__).with_name("app.py")
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or sys.executable


class Demo:
    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        environment = {
            "PORT": str(self.port),
            "VCAP_APPLICATION": json.dumps({"application_name": "hello"}),
            "CF_INSTANCE_INDEX": "3",
            "CF_INSTANCE_GUID": "guid",
        }
        self.process = subprocess.Popen(
            [PYTHON, "-S", "-E", str(APP)], env=environment, stdout=subprocess.PIPE, bufsize=0
        )
        while True:
            try:
                self.connect().close()
            except ConnectionRefusedError:
                assert self.process.poll() is None
            else:
                return

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def raw(self, request: bytes) -> bytes:
        """Everything that the app answers before it closes."""
        with self.connect() as sock:
            sock.sendall(request)
            answer = b""
            while data := sock.recv(65536):
                answer += data
        return answer

    def get(self, target: str, *, method: str = "GET", head: str = "", body: bytes = b"") -> tuple[int, Any]:
        request = f"{method} {target} HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n{head}\r\n".encode() + body
        answer = self.raw(request)
        top, _, content = answer.partition(b"\r\n\r\n")
        return int(top.split(b" ")[1]), json.loads(content) if content else None


@pytest.fixture
def demo() -> Iterator[Demo]:
    app = Demo()
    yield app
    app.process.kill()
    app.process.wait()
    assert app.process.stdout is not None
    app.process.stdout.close()


def test_it_says_who_it_is_and_what_it_was_asked(demo: Demo) -> None:
    status, document = demo.get("/a/b?x=1", head="X-Request-Id: r1\r\nX-Two: a\r\nX-Two: b\r\n")
    assert status == 200
    assert (document["app"], document["index"], document["instance_guid"]) == ("hello", 3, "guid")
    assert (document["port"], document["method"], document["path"], document["query"]) == (
        demo.port,
        "GET",
        "/a/b",
        "x=1",
    )
    assert document["headers"]["x-request-id"] == "r1"
    assert document["headers"]["x-two"] == "a, b"
    assert demo.process.stdout is not None
    assert demo.process.stdout.readline() == b'hello/3 "GET /a/b?x=1" 200 r1\n'


def test_bodies(demo: Demo) -> None:
    assert demo.get("/", method="POST", head="Content-Length: 3\r\n", body=b"abc")[1]["body_bytes"] == 3
    chunked = b"3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    status, document = demo.get("/", method="PUT", head="Transfer-Encoding: chunked\r\n", body=chunked)
    assert (status, document["body_bytes"]) == (200, 13)
    assert demo.get("/", method="HEAD") == (200, None)


def test_a_connection_carries_many_requests(demo: Demo) -> None:
    one = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = demo.raw(b"".join(one % n for n in range(20)) + b"GET /last HTTP/1.0\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 21
    assert answer.index(b'"/3"') < answer.index(b'"/4"') < answer.index(b'"/last"')


def test_many_clients_at_once(demo: Demo) -> None:
    clients = [demo.connect() for _ in range(50)]
    for client in clients:
        client.sendall(b"GET /slow?ms=200 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    for client in clients:
        assert client.recv(12) == b"HTTP/1.1 200"
        client.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /slow?ms=x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 70_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
def test_bad_requests(demo: Demo, request_: bytes, status: int) -> None:
    answer = demo.raw(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b'"error"' in answer
    assert demo.get("/health")[0] == 200


def test_health_status_and_exit(demo: Demo) -> None:
    assert demo.get("/health")[1]["status"] == "up"
    assert demo.get("/status?code=503")[0] == 503
    assert demo.get("/status?code=99")[0] == 400
    assert demo.get("/exit?code=7")[0] == 200
    assert demo.process.wait(5) == 7


def test_sigterm_finishes_what_is_under_way(demo: Demo) -> None:
    idle, busy = demo.connect(), demo.connect()
    busy.sendall(b"GET /slow?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n")
    demo.get("/health")
    os.kill(demo.process.pid, signal.SIGTERM)
    assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        demo.connect()
    assert b"Connection: close" in busy.recv(65536)
    assert demo.process.wait(5) == 0
    idle.close()
    busy.close()
