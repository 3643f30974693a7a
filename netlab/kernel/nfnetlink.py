"""The netlink protocol of netfilter: sockets, messages and attributes, for conntrack, NFLOG and nftables.

Numbers in attributes are big-endian here, unlike in rtnetlink. Layouts: linux/netfilter/nfnetlink*.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from netlab.errors import KernelError
from netlab.kernel import netns as namespaces
from netlab.kernel.rtnetlink import NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR, attribute

NLM_F_DUMP = 0x300
NESTED = 0x8000
_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _CAP_ACK = 12, 270, 1, 10
_SO_RCVBUFFORCE, _NLMSG_DONE = 33, 3
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11


def u8(kind: int, value: int) -> bytes:
    """A one-byte attribute."""
    return attribute(kind, bytes([value]))


def u16(kind: int, value: int) -> bytes:
    """A two-byte attribute."""
    return attribute(kind, struct.pack(">H", value))


def u32(kind: int, value: int) -> bytes:
    """A four-byte attribute."""
    return attribute(kind, struct.pack(">I", value))


def text(kind: int, value: str) -> bytes:
    """A string attribute."""
    return attribute(kind, value.encode() + b"\0")


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute made of attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def parse(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by type, without the nesting flag; of a repeated one the last."""
    return dict(parse_list(data))


def parse_list(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes in `data`, in order."""
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            return
        yield kind & 0x3FFF, data[offset + 4 : offset + length]
        offset += (length + 3) & ~3


def integer(data: bytes) -> int:
    """A big-endian number of any size."""
    return int.from_bytes(data, "big")


def string(data: bytes) -> str:
    """A string with or without its final zero."""
    return data.rstrip(b"\0").decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Request:
    """One message to netfilter."""

    subsystem: int
    kind: int
    body: bytes = b""
    family: int = socket.AF_INET
    resource: int = 0
    flags: int = 0

    def encode(self, sequence: int, flags: int) -> bytes:
        """The message with its header."""
        header = struct.pack(
            "=IHHII", 20 + len(self.body), self.subsystem << 8 | self.kind, self.flags | flags, sequence, 0
        )
        return header + struct.pack(">BBH", self.family, 0, self.resource) + self.body


@dataclass(frozen=True, slots=True)
class Message:
    """One message from netfilter."""

    subsystem: int
    kind: int
    flags: int
    resource: int
    attributes: bytes


class NetfilterSocket:
    """A netfilter netlink socket that belongs to a namespace, wherever it is read from.

    Without `netns` it belongs to the calling thread's.
    """

    def __init__(self, netns: Path | None, groups: Sequence[int] = (), *, buffer_bytes: int = 4 << 20) -> None:
        with namespaces.entered(netns) if netns is not None else nullcontext():
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
        self.lost = 0
        """How often the kernel had to throw messages away because nobody read them."""
        self._where = netns.name if netns is not None else "this namespace"
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, buffer_bytes)
        self._socket.setsockopt(_SOL_NETLINK, _CAP_ACK, 1)
        self._socket.bind((0, 0))
        for group in groups:
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor, for a poll or an event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(self, request: Request) -> None:
        """Send one request and wait for its acknowledgement; raises `OSError` if the kernel refuses."""
        self._socket.send(request.encode(0, NLM_F_REQUEST | NLM_F_ACK))
        self._await(1)

    def batch(self, subsystem: int, requests: Sequence[Request]) -> None:
        """Send requests that take effect together or not at all; raises `OSError` if the kernel refuses."""
        last = len(requests)
        begin = Request(subsystem=0, kind=_BATCH_BEGIN, family=0, resource=subsystem)
        end = Request(subsystem=0, kind=_BATCH_END, family=0, resource=subsystem)
        parts = [begin.encode(0, NLM_F_REQUEST)]
        for number, request in enumerate(requests, 1):
            parts.append(request.encode(number, NLM_F_REQUEST | (NLM_F_ACK if number == last else 0)))
        parts.append(end.encode(last + 1, NLM_F_REQUEST))
        self._socket.send(b"".join(parts))
        self._await(1)

    def ask(self, request: Request) -> Message | None:
        """Send one request that is answered by one message; None if there is no such object."""
        self._socket.send(request.encode(0, NLM_F_REQUEST))
        try:
            return next(self._receive(), None)
        except FileNotFoundError:
            return None

    def dump(self, request: Request) -> Iterator[Message]:
        """Send one request that is answered by a message for each object."""
        self._socket.send(request.encode(0, NLM_F_REQUEST | NLM_F_DUMP))
        while True:
            for message in self._receive():
                if message.subsystem == 0 and message.kind == _NLMSG_DONE:
                    return
                yield message

    def read(self) -> list[Message]:
        """Every message that has arrived, without waiting."""
        found: list[Message] = []
        while True:
            try:
                found += self._receive(socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise KernelError(f"read netfilter events of {self._where}: {error.strerror}") from error
                self.lost += 1

    def _await(self, acknowledgements: int) -> None:
        while acknowledgements:
            for message in self._receive():
                acknowledgements -= message.subsystem == 0 and message.kind == NLMSG_ERROR

    def _receive(self, flags: int = 0) -> Iterator[Message]:
        data = self._socket.recv(1 << 18, flags)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, message_flags, _, _ = struct.unpack_from("=IHHII", data, offset)
            if kind == NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", data, offset + 16)
                if number:
                    raise OSError(-number, os.strerror(-number))
            resource, body = 0, b""
            if length >= 20:
                (resource,) = struct.unpack_from(">H", data, offset + 18)
                body = data[offset + 20 : offset + length]
            yield Message(kind >> 8, kind & 0xFF, message_flags, resource, body)
            offset += (length + 3) & ~3
