"""What conntrack knows of a namespace's connections: one of them, all of them, or their events as they happen.

Conntrack works in a namespace only once something there asks for it: a nat rule, a ct match. Until then there is
nothing to see, and asking does not change that.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from netlab.errors import KernelError
from netlab.kernel import netns as namespaces
from netlab.kernel.nfnetlink import NetfilterSocket, Request, integer, nested, parse, u8, u16
from netlab.kernel.rtnetlink import attribute

_SUBSYSTEM = 1
_NEW, _GET, _DELETE = 0, 1, 2
_CREATED = 0x600  # NLM_F_CREATE | NLM_F_EXCL mark the first event of a connection
_GROUPS = (1, 2, 3)
_TCP_STATES = (
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
)
_STATUS = (
    "EXPECTED",
    "SEEN_REPLY",
    "ASSURED",
    "CONFIRMED",
    "SRC_NAT",
    "DST_NAT",
    "SEQ_ADJUST",
    "SRC_NAT_DONE",
    "DST_NAT_DONE",
    "DYING",
)


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a connection."""

    source: str
    source_port: int
    destination: str
    destination_port: int
    protocol: int = socket.IPPROTO_TCP

    def __str__(self) -> str:
        return f"{self.source}:{self.source_port} > {self.destination}:{self.destination_port}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One connection."""

    original: Tuple
    """As its first packet came."""
    reply: Tuple
    """As the answers come, before they are translated back."""
    status: frozenset[str] = frozenset()
    tcp_state: str | None = None
    id: int = 0
    mark: int = 0
    packets: tuple[int, int] | None = None
    """Both ways, original first; None unless accounting was on when the connection began."""
    bytes: tuple[int, int] | None = None
    start_ns: int | None = None
    """Unix time, to be compared with a captured packet's; None unless time stamping was on."""
    stop_ns: int | None = None

    @property
    def dnat(self) -> tuple[str, int] | None:
        """The address and port that the destination was changed to, if it was."""
        seen = (self.original.destination, self.original.destination_port)
        real = (self.reply.source, self.reply.source_port)
        return real if real != seen else None

    @property
    def snat(self) -> tuple[str, int] | None:
        """The address and port that the source was changed to, if it was."""
        seen = (self.original.source, self.original.source_port)
        real = (self.reply.destination, self.reply.destination_port)
        return real if real != seen else None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a connection."""

    kind: Literal["NEW", "UPDATE", "DESTROY"]
    entry: Entry
    read_ns: int
    """Unix time at which it was read, which is some time after it happened."""


def get(netns: Path, original: Tuple) -> Entry | None:
    """The connection whose first packet had this tuple; unlike in a dump it cannot be missed.

    Raises `KernelError` if the kernel refuses.
    """
    addresses = nested(
        1,
        attribute(1, socket.inet_aton(original.source)),
        attribute(2, socket.inet_aton(original.destination)),
    )
    ports = nested(2, u8(1, original.protocol), u16(2, original.source_port), u16(3, original.destination_port))
    with NetfilterSocket(netns) as sock:
        try:
            message = sock.ask(Request(_SUBSYSTEM, _GET, nested(1, addresses, ports)))
        except OSError as error:
            raise KernelError(f"look up {original} in {netns.name}: {error.strerror}", errno=error.errno) from error
    return None if message is None else _entry(message.attributes)


def entries(netns: Path) -> list[Entry]:
    """Every IPv4 connection; in a busy table a dump can miss some, so look one up with `get`."""
    with NetfilterSocket(netns) as sock:
        try:
            return [_entry(message.attributes) for message in sock.dump(Request(_SUBSYSTEM, _GET))]
        except OSError as error:
            raise KernelError(f"list connections of {netns.name}: {error.strerror}", errno=error.errno) from error


class Events:
    """The events of a namespace's connections from the moment it is made; close it, or use it as a context."""

    def __init__(self, netns: Path) -> None:
        self._socket = NetfilterSocket(netns, _GROUPS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def lost(self) -> int:
        """How often events were lost; an absence proves something only if this is 0."""
        return self._socket.lost

    def fileno(self) -> int:
        """The descriptor, for a poll or an event loop."""
        return self._socket.fileno()

    def read(self) -> list[Event]:
        """Every event that has arrived, without waiting."""
        found = []
        for message in self._socket.read():
            if message.subsystem != _SUBSYSTEM or message.kind not in (_NEW, _DELETE):
                continue
            kind: Literal["NEW", "UPDATE", "DESTROY"] = "DESTROY"
            if message.kind == _NEW:
                kind = "NEW" if message.flags & _CREATED else "UPDATE"
            found.append(Event(kind, _entry(message.attributes), time.time_ns()))
        return found

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@contextmanager
def accounting(netns: Path) -> Iterator[None]:
    """Count packets and stamp times of connections that begin within the block; then as it was before."""
    keys = ("net/netfilter/nf_conntrack_acct", "net/netfilter/nf_conntrack_timestamp")
    before: dict[str, str] = {}
    try:
        with namespaces.entered(netns):
            for key in keys:
                try:
                    before[key] = namespaces.read_sysctl(key)
                    namespaces.write_sysctl(key, "1")
                except OSError as error:
                    raise KernelError(f"set {key} in {netns.name}: {error.strerror}", errno=error.errno) from error
        yield
    finally:
        with namespaces.entered(netns):
            for key, value in before.items():
                namespaces.write_sysctl(key, value)


def _tuple(data: bytes) -> Tuple:
    parts = parse(data)
    addresses, protocol = parse(parts.get(1, b"")), parse(parts.get(2, b""))
    family, first = (socket.AF_INET, 1) if 1 in addresses else (socket.AF_INET6, 3)
    return Tuple(
        source=socket.inet_ntop(family, addresses[first]),
        destination=socket.inet_ntop(family, addresses[first + 1]),
        protocol=integer(protocol.get(1, b"")),
        source_port=integer(protocol.get(2, b"")),
        destination_port=integer(protocol.get(3, b"")),
    )


def _entry(data: bytes) -> Entry:
    parts = parse(data)
    status = integer(parts.get(3, b""))
    tcp = parse(parse(parts.get(4, b"")).get(1, b""))
    counters = [parse(parts[kind]) for kind in (9, 10) if kind in parts]
    times = parse(parts.get(20, b""))
    packets = sizes = None
    if len(counters) == 2:
        packets = (integer(counters[0].get(1, b"")), integer(counters[1].get(1, b"")))
        sizes = (integer(counters[0].get(2, b"")), integer(counters[1].get(2, b"")))
    return Entry(
        original=_tuple(parts[1]),
        reply=_tuple(parts[2]),
        status=frozenset(name for bit, name in enumerate(_STATUS) if status >> bit & 1),
        tcp_state=_TCP_STATES[tcp[1][0]] if 1 in tcp and tcp[1][0] < len(_TCP_STATES) else None,
        id=integer(parts.get(12, b"")),
        mark=integer(parts.get(8, b"")),
        packets=packets,
        bytes=sizes,
        start_ns=integer(times[1]) if 1 in times else None,
        stop_ns=integer(times[2]) if 2 in times else None,
    )
