"""Packets of a namespace as they cross its interfaces, raw and with the kernel's nanosecond time stamps.

One AF_PACKET socket sees every interface of its namespace, `lo` included, inbound before netfilter and outbound after
it. Nothing is dissected here, so that a reader keeps up; what the socket could not keep is counted.
"""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from netlab.errors import KernelError, NetlabBug
from netlab.kernel import netns as namespaces
from netlab.kernel import syscalls

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_SO_RCVBUFFORCE, _SO_TIMESTAMPNS = 33, 35
_TIMESPEC = struct.Struct("=qq")
_CONTROL_BYTES = socket.CMSG_SPACE(_TIMESPEC.size)
_PORT_LIMIT = 100
_PASSING = frozenset({errno.ENETDOWN, errno.ENOBUFS})
_LOAD_HALF, _LOAD_BYTE, _LOAD_HALF_AT_X, _LOAD_IP_HEADER = 0x28, 0x30, 0x48, 0xB1
_IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x15, 0x45, 0x06


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame, from its Ethernet header on (`lo` has one too)."""

    time_ns: int
    """Unix time from the kernel's clock."""
    interface: str
    outgoing: bool
    """Whether it left through the interface; on `lo` each packet is seen once either way."""
    data: bytes
    length: int
    """Its length as the kernel handled it: segments of one stream may come as one packet of up to 64 KiB."""


class Capture:
    """A capture of every interface of a namespace, from the moment it is made; close it, or use it as a context.

    With `ports` only TCP and UDP packets from or to one of these ports count, and ICMP, which reports their failures.
    Raises `KernelError` if the kernel refuses. Closing takes the kernel some 10 ms; `close_all` closes many at once.
    """

    def __init__(
        self,
        netns: Path,
        *,
        ports: Collection[int] | None = None,
        buffer_bytes: int = 8 << 20,
    ) -> None:
        self.netns = netns
        self._buffer = bytearray(1 << 17)
        self._received = 0
        self._dropped = 0
        try:
            with namespaces.entered(netns):
                # Protocol 0 receives nothing yet; binding a socket that does receive waits for a grace period.
                self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            try:
                self._socket.setblocking(False)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
                self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                self.limit_to(ports)
                address = struct.pack("=HHiHBB8s", socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
                syscalls.bind(self._socket.fileno(), address)
            except OSError:
                self._socket.close()
                raise
        except OSError as error:
            raise KernelError(f"capture in {netns.name}: {error.strerror}", errno=error.errno) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for a poll or an event loop."""
        return self._socket.fileno()

    def limit_to(self, ports: Collection[int] | None) -> None:
        """From now on take only packets from or to these ports, or all again."""
        syscalls.attach_filter(self._socket.fileno(), port_filter(ports))

    def read(self, limit: int = 1 << 16) -> list[Packet]:
        """The packets that have arrived, at most `limit`, without waiting."""
        found: list[Packet] = []
        buffer = self._buffer
        while len(found) < limit:
            try:
                size, control, _, address = self._socket.recvmsg_into([buffer], _CONTROL_BYTES, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError as error:
                # An interface went down; the socket itself goes on.
                if error.errno not in _PASSING:
                    raise KernelError(f"capture in {self.netns.name}: {error.strerror}") from error
                continue
            seconds, nanoseconds = _TIMESPEC.unpack(control[0][2])
            found.append(
                Packet(
                    time_ns=seconds * 1_000_000_000 + nanoseconds,
                    interface=address[0],
                    outgoing=address[2] == socket.PACKET_OUTGOING,
                    data=bytes(buffer[: min(size, len(buffer))]),
                    length=size,
                )
            )
        return found

    def statistics(self) -> tuple[int, int]:
        """How many packets the filter has let through so far, and how many of them were dropped for want of room."""
        raw = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        received, dropped = struct.unpack("=II", raw)
        # The kernel counts from zero again after each reading.
        self._received += received
        self._dropped += dropped
        return self._received, self._dropped

    def close(self) -> None:
        """End the capture."""
        self._socket.close()


def port_filter(ports: Collection[int] | None) -> bytes:
    """A classic BPF program that takes ICMP, and TCP or UDP from or to one of `ports`; everything if None."""
    everything = (_RETURN, 0, 0, 0x40000)
    if ports is None:
        return _assemble([everything])
    if len(ports) > _PORT_LIMIT:
        raise NetlabBug(f"a capture can be limited to {_PORT_LIMIT} ports, not to {len(ports)}")
    wanted = sorted(ports)
    count = len(wanted)
    drop, accept = 10 + 2 * count + 1, 10 + 2 * count + 2

    def branch(position: int, code: int, value: int, yes: int, no: int) -> tuple[int, int, int, int]:
        return code, yes - position - 1, no - position - 1, value

    program = [
        (_LOAD_HALF, 0, 0, 12),
        branch(1, _IF_EQUAL, 0x0800, 2, drop),
        (_LOAD_BYTE, 0, 0, 23),
        branch(3, _IF_EQUAL, socket.IPPROTO_ICMP, accept, 4),
        branch(4, _IF_EQUAL, socket.IPPROTO_TCP, 6, 5),
        branch(5, _IF_EQUAL, socket.IPPROTO_UDP, 6, drop),
        (_LOAD_HALF, 0, 0, 20),
        # Only the first fragment has ports.
        branch(7, _IF_ANY_BIT, 0x1FFF, drop, 8),
        (_LOAD_IP_HEADER, 0, 0, 14),
        (_LOAD_HALF_AT_X, 0, 0, 14),
    ]
    for offset in (None, 16):
        if offset is not None:
            program.append((_LOAD_HALF_AT_X, 0, 0, offset))
        for port in wanted:
            program.append(branch(len(program), _IF_EQUAL, port, accept, len(program) + 1))
    program += [(_RETURN, 0, 0, 0), everything]
    return _assemble(program)


def _assemble(program: Iterable[tuple[int, int, int, int]]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


class Closable(Protocol):
    """Whatever has a `close`."""

    def close(self) -> None:
        """Close it."""


def close_all(captures: Iterable[Closable]) -> None:
    """Close captures, or traces, side by side, since each waits for a grace period of the kernel."""
    threads = [threading.Thread(target=capture.close) for capture in captures]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
