"""The traced request itself: one HTTP/1.1 exchange on a connection that is made in the client's namespace."""

from __future__ import annotations

import errno
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import h11

from netlab.errors import MeshError, UsageError
from netlab.kernel import netns
from netlab.trace.evidence import Failure, Outcome
from netlab.trace.subject import INGRESS_PORT, Subject

REQUEST_ID = "x-request-id"
USER_AGENT = "netlab-trace"
DNS_SECONDS = 1.0
_CHUNK = 1 << 16
_UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN})


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is to be sent. `timeout` is in seconds and covers all of the exchange."""

    method: str
    host: str
    """The name in the URL, which is resolved."""
    port: int
    target: str
    """The path and query."""
    headers: tuple[tuple[str, str], ...]
    timeout: float

    @property
    def request_id(self) -> str:
        """By what it is recognised everywhere."""
        return dict(self.headers)[REQUEST_ID]

    @property
    def authority(self) -> str:
        """The name in the Host header, in lower case and without a port: what routes go by."""
        return dict(self.headers)["host"].partition(":")[0].lower().rstrip(".")

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def parse(url: str, method: str, headers: Sequence[str], timeout: float) -> Request:
    """A request from the words of the command line; `headers` are `Name: value`.

    Raises UsageError for what is no http URL or no header.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no URL: {error}", hint="write http://host/path") from None
    if parts.scheme != "http":
        raise UsageError(f"{url}: only http can be traced, not {parts.scheme}", hint="write http://host/path")
    if not parts.hostname:
        raise UsageError(f"{url!r} names no host", hint="write http://host/path")
    if port not in (None, INGRESS_PORT):
        raise UsageError(f"{url}: the mesh serves port {INGRESS_PORT} only, not {port}", hint="write http://host/path")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    given: dict[str, str] = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise UsageError(f"{header!r} is no header", hint="write 'Name: value'")
        given[name.strip().lower()] = value.strip()
    given.setdefault("host", parts.hostname)
    # Early in the message, so that it is in the first packet however much follows.
    ordered = {"host": given.pop("host"), REQUEST_ID: given.pop(REQUEST_ID, None) or str(uuid.uuid4())}
    ordered |= {"user-agent": USER_AGENT, **given, "connection": "close"}
    request = Request(method.upper(), parts.hostname, INGRESS_PORT, target, tuple(ordered.items()), timeout)
    try:
        _head(request)
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise UsageError(f"this request cannot be sent: {error}") from None
    return request


def resolve(subject: Subject, host: str) -> str:
    """The address that the client gets for a name from the lab's DNS; an address stays one.

    Raises UsageError if there is no such name, MeshError if the DNS server does not answer.
    """
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        pass
    if not subject.resolvers:
        raise MeshError(f"lab {subject.name}: the client has no DNS server", hint="netlab status")
    server = subject.resolvers[0]
    try:
        query = dns.message.make_query(host, dns.rdatatype.A)
        with netns.entered(subject.client.namespace):
            answer = dns.query.udp(query, server, timeout=DNS_SECONDS)
    except (dns.exception.Timeout, OSError) as error:
        reason = getattr(error, "strerror", None) or f"no answer within {DNS_SECONDS:g} s"
        raise MeshError(
            f"the lab's DNS server {server} does not answer for {host}: {reason}", hint="netlab logs lb dns"
        ) from error
    except dns.exception.DNSException as error:
        raise UsageError(f"{host!r} is no host name: {error}", hint="write http://host/path") from None
    for rrset in answer.answer:
        if rrset.rdtype == dns.rdatatype.A:
            return str(rrset[0])
    domains = ", ".join(f"*.{domain}" for domain in subject.domains)
    code = dns.rcode.to_text(answer.rcode())
    raise UsageError(
        f"the lab's DNS knows no address of {host} ({code})", hint=f"lab {subject.name} serves {domains}", host=host
    )


def send(namespace: Path, request: Request, source: str, address: str) -> Outcome:
    """Send the request from a namespace and its address `source` to `address`, and wait for the whole answer.

    Whatever happens is in the outcome; raises MeshError only if the client itself could not send.
    """
    remote = f"{address}:{request.port}"
    started = time.time_ns()
    deadline = time.monotonic() + request.timeout
    exchange = _Exchange(deadline)
    with netns.entered(namespace):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    with sock:
        failure, detail = exchange.run(sock, source, (address, request.port), request)
    return Outcome(
        request_id=request.request_id,
        local=exchange.local,
        remote=remote,
        started_ns=started,
        ended_ns=time.time_ns(),
        status=exchange.status,
        failure=failure,
        detail=detail,
        body_bytes=exchange.body_bytes,
        responder=exchange.responder,
    )


class _Exchange:
    """One exchange; what is known of the answer stays known if it breaks off."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.local: str | None = None
        self.status: int | None = None
        self.responder = ""
        self.body_bytes = 0

    def run(
        self, sock: socket.socket, source: str, address: tuple[str, int], request: Request
    ) -> tuple[Failure | None, str]:
        """Make the exchange; why it failed and in which words, or None and nothing."""
        try:
            # Bound before it connects, so that a connection that never came about can be found in the captures.
            sock.bind((source, 0))
            self.local = f"{source}:{sock.getsockname()[1]}"
            self._limit(sock)
            sock.connect(address)
            self._limit(sock)
            sock.sendall(_head(request))
            self._receive(sock, request)
        except TimeoutError:
            return "timeout", f"no answer within {request.timeout:g} s"
        except ConnectionRefusedError:
            return "refused", "connection refused"
        except (ConnectionResetError, BrokenPipeError):
            return "reset", "connection reset"
        except h11.RemoteProtocolError as error:
            closed = "closed" in str(error) or "incomplete" in str(error)
            return ("closed", "connection closed early") if closed else ("protocol", f"not HTTP/1.1: {error}")
        except OSError as error:
            if error.errno in _UNREACHABLE:
                return "unreachable", error.strerror.lower() if error.strerror else "unreachable"
            raise MeshError(f"the request could not be sent: {error.strerror}", errno=error.errno) from error
        return None, ""

    def _limit(self, sock: socket.socket) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)

    def _receive(self, sock: socket.socket, request: Request) -> None:
        parser = h11.Connection(our_role=h11.CLIENT, max_incomplete_event_size=1 << 20)
        parser.send(_event(request))
        parser.send(h11.EndOfMessage())
        while True:
            match parser.next_event():
                case h11.Response(status_code=status, headers=headers):
                    self.status = status
                    self.responder = dict(headers).get(b"server", b"").decode("latin-1")
                case h11.Data(data=data):
                    self.body_bytes += len(data)
                case h11.EndOfMessage() | h11.ConnectionClosed() | h11.PAUSED:
                    return
                case h11.NEED_DATA:
                    self._limit(sock)
                    parser.receive_data(sock.recv(_CHUNK))


def _event(request: Request) -> h11.Request:
    return h11.Request(method=request.method, target=request.target, headers=list(request.headers))


def _head(request: Request) -> bytes:
    parser = h11.Connection(our_role=h11.CLIENT)
    return parser.send(_event(request)) or b""
