"""The demo app: an HTTP/1.1 server that says which instance answered, and what it was asked.

It is one file that imports the standard library only and as little of that as possible, because it is copied into a
container and runs under the system's own Python (`python3 -S -E app.py`), as an app's bits do.

    GET /               JSON: app, index, instance_guid, address, port, method, path, headers, …  (any other path too)
    GET /health         200 while it serves, 503 while it stops
    GET /slow?ms=500    the same answer, later
    GET /status?code=N  the same answer with another status
    GET /exit?code=3    ends the process

SIGTERM: what is under way is finished, then it ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import threading

HEAD_LIMIT = 64 * 1024
BODY_LIMIT = 64 * 1024 * 1024
STOP_SECONDS = 8
REASONS = {200: "OK", 400: "Bad Request", 413: "Content Too Large", 431: "Request Header Fields Too Large"}


class BadRequestError(Exception):
    """The peer does not speak HTTP; `status` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request:
    """One request: the body is read and counted, not kept."""

    def __init__(self, method: str, target: str, version: str, headers: list[tuple[str, str]]) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition("?")
        self.headers = headers
        self.body_bytes = 0
        words = {word.strip().lower() for word in self.get("connection").split(",")}
        self.keep_alive = "close" not in words and (version == "HTTP/1.1" or "keep-alive" in words)

    def get(self, name: str) -> str:
        """A header's value; several of one name are joined."""
        return ", ".join(value for key, value in self.headers if key == name)

    def number(self, name: str, default: int) -> int:
        """A parameter of the query as a whole number of 0 or more."""
        for pair in self.query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                if not (value.isascii() and value.isdigit() and len(value) < 10):
                    raise BadRequestError(400, f"{name} must be a number")
                return int(value)
        return default


class Reader:
    """Bytes of one connection, by line or by count."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def fill(self) -> bool:
        """Read more; False at the end of the stream."""
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes, limit: int) -> bytes:
        """Everything before `mark`, which is dropped."""
        while mark not in self.buffer:
            if len(self.buffer) > limit:
                raise BadRequestError(431, "the head of the request is too large")
            if not self.fill():
                raise BadRequestError(400, "the connection ended inside a request")
        data, self.buffer = self.buffer.split(mark, 1)
        return data

    def skip(self, count: int) -> None:
        """Read and drop `count` bytes."""
        while len(self.buffer) < count:
            count -= len(self.buffer)
            self.buffer = b""
            if not self.fill():
                raise BadRequestError(400, "the connection ended inside a body")
        self.buffer = self.buffer[count:]


def parse_head(head: bytes) -> Request:
    """The request line and headers; raises BadRequestError where they are none."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not words[0].isalpha() or not words[1]:
        raise BadRequestError(400, "the request line is malformed")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise BadRequestError(400, "a header is malformed")
        headers.append((name.lower(), value.strip()))
    request = Request(words[0], words[1], words[2], headers)
    if words[2] == "HTTP/1.1" and sum(name == "host" for name, _ in headers) != 1:
        raise BadRequestError(400, "there must be one Host header")
    return request


def read_body(reader: Reader, request: Request) -> None:
    """Read the body to its end, and note its size."""
    if request.get("transfer-encoding"):
        if request.get("transfer-encoding").lower() != "chunked" or request.get("content-length"):
            raise BadRequestError(400, "the transfer encoding is not understood")
        while size := chunk_size(reader.until(b"\r\n", HEAD_LIMIT)):
            add_to_body(request, size)
            reader.skip(size)
            if reader.until(b"\r\n", HEAD_LIMIT):
                raise BadRequestError(400, "a chunk is malformed")
        while reader.until(b"\r\n", HEAD_LIMIT):  # trailers
            pass
    elif length := request.get("content-length"):
        if not (length.isascii() and length.isdigit() and len(length) < 20):
            raise BadRequestError(400, "the content length is malformed")
        add_to_body(request, int(length))
        reader.skip(int(length))


def chunk_size(line: bytes) -> int:
    """The size that begins a chunk."""
    digits = line.split(b";")[0].strip()
    if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
        raise BadRequestError(400, "a chunk is malformed")
    return int(digits, 16)


def add_to_body(request: Request, size: int) -> None:
    """Count bytes of the body."""
    request.body_bytes += size
    if request.body_bytes > BODY_LIMIT:
        raise BadRequestError(413, "the body is too large")


class Connection(threading.Thread):
    """One client, served by a thread of its own."""

    def __init__(self, app: App, sock: socket.socket, peer: tuple[str, int]) -> None:
        super().__init__(daemon=True)
        self.app = app
        self.sock = sock
        self.peer = peer
        self.busy = False

    def run(self) -> None:
        """Answer requests until either side has enough."""
        reader = Reader(self.sock)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self.one(reader):
                pass
        except OSError:
            pass  # The client is gone, and with it whoever could be told.
        finally:
            self.app.ended(self)
            self.sock.close()

    def one(self, reader: Reader) -> bool:
        """Answer one request; whether another may follow."""
        while not reader.buffer.lstrip(b"\r\n"):
            if not reader.fill():
                return False
        reader.buffer = reader.buffer.lstrip(b"\r\n")
        self.busy = True
        try:
            request = parse_head(reader.until(b"\r\n\r\n", HEAD_LIMIT))
            if request.get("expect").lower() == "100-continue":
                self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            read_body(reader, request)
            return self.answer(request)
        except BadRequestError as error:
            self.send(error.status, {"error": str(error)}, keep_alive=False, head=False)
            return False
        finally:
            self.busy = False

    def answer(self, request: Request) -> bool:
        """Do what the path asks for; whether the connection stays."""
        code = request.number("code", 200 if request.path == "/status" else 1)
        milliseconds = request.number("ms", 0)
        document = self.app.describe(request, self.peer)
        status = 200
        if request.path == "/health":
            status = 503 if self.app.stopping else 200
            document = {"status": "stopping" if self.app.stopping else "up", **self.app.identity}
        elif request.path == "/slow":
            threading.Event().wait(milliseconds / 1000)
        elif request.path == "/status":
            if not 200 <= code <= 599:
                raise BadRequestError(400, "code must be 200 to 599")
            status = code
        ends = request.path == "/exit"
        keep_alive = request.keep_alive and not self.app.stopping and not ends
        self.send(status, document, keep_alive=keep_alive, head=request.method == "HEAD")
        name = self.app.identity
        line = (
            f'{name["app"]}/{name["index"]} "{request.method} {request.target}" {status} {request.get("x-request-id")}'
        )
        os.write(1, line.strip().encode("latin-1") + b"\n")
        if ends:
            os._exit(code & 0xFF)
        return keep_alive

    def send(self, status: int, document: dict[str, object], *, keep_alive: bool, head: bool) -> None:
        """Send one response."""
        empty = status in (204, 304)
        body = b"" if empty else json.dumps(document, indent=1).encode() + b"\n"
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", "Content-Type: application/json"]
        lines += [] if empty else [f"Content-Length: {len(body)}"]
        lines += [f"Connection: {'keep-alive' if keep_alive else 'close'}", "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + (b"" if head else body))


class App:
    """The server: its listener, its connections and what it knows of itself."""

    def __init__(self, environment: dict[str, str]) -> None:
        application = json.loads(environment.get("VCAP_APPLICATION") or "{}")
        index = environment.get("CF_INSTANCE_INDEX", "0")
        self.identity: dict[str, object] = {
            "app": application.get("application_name", "demo"),
            "index": int(index) if index.isdigit() else index,
            "instance_guid": environment.get("CF_INSTANCE_GUID", ""),
            "address": environment.get("CF_INSTANCE_INTERNAL_IP", ""),
            "port": int(environment.get("PORT", "8080")),
            "cell": environment.get("CF_INSTANCE_IP", ""),
        }
        self.stopping = False
        self.connections: set[Connection] = set()
        self.changed = threading.Condition()

    def describe(self, request: Request, peer: tuple[str, int]) -> dict[str, object]:
        """What the app answers: who it is, and what it was asked by whom."""
        return {
            **self.identity,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "headers": {name: request.get(name) for name, _ in request.headers},
            "body_bytes": request.body_bytes,
            "peer": f"{peer[0]}:{peer[1]}",
        }

    def serve(self) -> None:
        """Serve until SIGTERM or SIGINT; returns when nothing is under way any more."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", int(str(self.identity["port"]))))
        listener.listen(1024)
        listener.setblocking(False)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(reader, select.POLLIN)
        while not self.stopping:
            self.stopping = any(fd == reader for fd, _ in poll.poll())
            self.accept(listener)  # also those who were in the queue when the signal came
        listener.close()
        self.drain()

    def accept(self, listener: socket.socket) -> None:
        """Begin to serve everybody who waits."""
        while True:
            try:
                sock, peer = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            sock.setblocking(True)
            connection = Connection(self, sock, peer)
            with self.changed:
                self.connections.add(connection)
            connection.start()

    def ended(self, connection: Connection) -> None:
        """A connection is over."""
        with self.changed:
            self.connections.discard(connection)
            self.changed.notify_all()

    def drain(self) -> None:
        """Wait for requests under way, and end the connections that only wait."""
        with self.changed:
            for connection in self.connections:
                if not connection.busy:
                    # What the client has already sent can still be read; then comes the end.
                    connection.sock.shutdown(socket.SHUT_RD)
            self.changed.wait_for(lambda: not self.connections, STOP_SECONDS)


if __name__ == "__main__":
    App(dict(os.environ)).serve()
