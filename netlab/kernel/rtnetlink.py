"""Rtnetlink requests as bytes, and a socket that sends many of them in one system call.

pyroute2's message classes take 80 to 350 µs to encode one message, several times what the kernel takes to carry it
out, so the requests that a lab needs by the thousand are packed here; tests hold each to the bytes that pyroute2 makes.
What the kernel answers is read with pyroute2 (see `observe`). Layouts: linux/rtnetlink.h, if_link.h, neighbour.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

NLM_F_REQUEST, NLM_F_ACK = 0x1, 0x4
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
_NEW = NLM_F_CREATE | NLM_F_EXCL

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR = 20, 21
RTM_NEWROUTE, RTM_DELROUTE = 24, 25
RTM_NEWNEIGH, RTM_DELNEIGH = 28, 29
NLMSG_ERROR = 2

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_LINKINFO = 1, 3, 4, 10, 18
IFLA_GROUP, IFLA_NET_NS_FD, IFLA_EXT_MASK = 27, 28, 29
_SKIP_STATISTICS = 8
_IFF_UP = 1
_SCOPE_LINK, _SCOPE_HOST = 253, 254
SCOPES = {"global": 0, "site": 200, "link": _SCOPE_LINK, "host": _SCOPE_HOST}
"""Names of route scopes, as iproute2 spells them."""
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST, _ONLINK = 254, 4, 1, 4
_NUD_PERMANENT = 0x80

_SOL_NETLINK, _NETLINK_CAP_ACK = 270, 10
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_BUFFER_BYTES = 8 << 20
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One rtnetlink message without its header's length, sequence number and port."""

    kind: int
    flags: int
    body: bytes


def attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute: length, type, data, padding to four bytes."""
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + bytes(-length & 3)


def _string(kind: int, text: str) -> bytes:
    return attribute(kind, text.encode() + b"\0")


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _link(index: int = 0, *, up: bool = False) -> bytes:
    flags = _IFF_UP if up else 0
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def link_up(index: int) -> Request:
    """Set a link up."""
    return Request(RTM_NEWLINK, 0, _link(index, up=True))


def link_master(index: int, master: int) -> Request:
    """Make a link a port of the bridge `master`, and set it up."""
    return Request(RTM_NEWLINK, 0, _link(index, up=True) + _u32(IFLA_MASTER, master))


def link_group(index: int, group: int) -> Request:
    """Put a link into a device group, so that one `delete_group` removes many."""
    return Request(RTM_NEWLINK, 0, _link(index) + _u32(IFLA_GROUP, group))


def delete_link(index: int) -> Request:
    """Remove a link; the kernel waits for an RCU grace period, tens of milliseconds, on each."""
    return Request(RTM_DELLINK, 0, _link(index))


def delete_group(group: int) -> Request:
    """Remove every link of a device group, with one grace period for all of them."""
    return Request(RTM_DELLINK, 0, _link() + _u32(IFLA_GROUP, group))


def get_link(name: str) -> Request:
    """Ask for one link by name."""
    return Request(RTM_GETLINK, 0, _link() + _string(IFLA_IFNAME, name) + _u32(IFLA_EXT_MASK, _SKIP_STATISTICS))


EVERY_LINK = _link() + _u32(IFLA_EXT_MASK, _SKIP_STATISTICS)
"""The body of a request for all links, without their statistics."""


def new_bridge(name: str, mac: str, index: int = 0) -> Request:
    """A bridge, up and quiet: no multicast snooping, no forward delay, no netfilter calls.

    The fixed address saves the kernel a walk over all ports whenever one is added. An `index` of 0 lets it choose.
    """
    data = _u32(1, 0) + attribute(23, b"\0")
    data += b"".join(attribute(kind, b"\0") for kind in (36, 37, 38))
    info = _string(1, "bridge") + attribute(2, data)
    body = _link(index, up=True) + _string(IFLA_IFNAME, name) + attribute(IFLA_ADDRESS, _mac(mac))
    return Request(RTM_NEWLINK, _NEW, body + attribute(IFLA_LINKINFO, info))


def new_veth(
    name: str,
    peer_name: str,
    peer_namespace_fd: int,
    *,
    index: int = 0,
    peer_index: int = 0,
    mac: str | None = None,
    peer_mac: str | None = None,
    master: int | None = None,
    mtu: int = 1500,
) -> Request:
    """A veth pair: the first end up in the socket's namespace, the peer born down in another one.

    The peer cannot be born up: the kernel would open it before it knows its other end (ENOTCONN).
    """
    peer = _link(peer_index) + _string(IFLA_IFNAME, peer_name) + _u32(IFLA_NET_NS_FD, peer_namespace_fd)
    first = _link(index, up=True) + _string(IFLA_IFNAME, name)
    if peer_mac is not None:
        peer += attribute(IFLA_ADDRESS, _mac(peer_mac))
    if mac is not None:
        first += attribute(IFLA_ADDRESS, _mac(mac))
    if mtu != 1500:
        peer += _u32(IFLA_MTU, mtu)
        first += _u32(IFLA_MTU, mtu)
    if master is not None:
        first += _u32(IFLA_MASTER, master)
    info = _string(1, "veth") + attribute(2, attribute(1, peer))
    return Request(RTM_NEWLINK, _NEW, first + attribute(IFLA_LINKINFO, info))


def _address(index: int, address: str, peer: str | None) -> bytes:
    local, _, length = address.partition("/")
    other, _, peer_length = (peer or local).partition("/")
    first, second = local.split(".")[:2]
    scope = _SCOPE_HOST if first == "127" else _SCOPE_LINK if (first, second) == ("169", "254") else 0
    header = struct.pack("=BBBBI", socket.AF_INET, int(peer_length or length or 32), 0, scope, index)
    return header + attribute(2, socket.inet_aton(local)) + attribute(1, socket.inet_aton(other))


def new_address(index: int, address: str, peer: str | None = None) -> Request:
    """An address `a.b.c.d/length`; a link-local one gets link scope, so it is no source for what leaves the link."""
    return Request(RTM_NEWADDR, _NEW, _address(index, address, peer))


def delete_address(index: int, address: str, peer: str | None = None) -> Request:
    """The inverse of `new_address`."""
    return Request(RTM_DELADDR, 0, _address(index, address, peer))


def _route(
    destination: str, via: str | None, index: int | None, *, onlink: bool, source: str | None, scope: str | None
) -> bytes:
    network, _, length = ("0.0.0.0/0" if destination == "default" else destination).partition("/")
    bits = int(length or 32)
    number = (0 if via else _SCOPE_LINK) if scope is None else SCOPES[scope]
    flags = _ONLINK if onlink else 0
    header = struct.pack(
        "=BBBBBBBBI", socket.AF_INET, bits, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, number, _UNICAST, flags
    )
    body = header
    if bits:
        body += attribute(1, socket.inet_aton(network))
    if via:
        body += attribute(5, socket.inet_aton(via))
    if index is not None:
        body += _u32(4, index)
    if source:
        body += attribute(7, socket.inet_aton(source))
    return body


def new_route(
    destination: str,
    via: str | None = None,
    index: int | None = None,
    *,
    onlink: bool = False,
    source: str | None = None,
    scope: str | None = None,
) -> Request:
    """A route in the main table; without a gateway its scope is the link, as with iproute2."""
    body = _route(destination, via, index, onlink=onlink, source=source, scope=scope)
    return Request(RTM_NEWROUTE, _NEW, body)


def delete_route(
    destination: str,
    via: str | None = None,
    index: int | None = None,
    *,
    onlink: bool = False,
    source: str | None = None,
    scope: str | None = None,
) -> Request:
    """The inverse of `new_route`."""
    return Request(RTM_DELROUTE, 0, _route(destination, via, index, onlink=onlink, source=source, scope=scope))


def _neighbour(index: int, address: str, mac: str) -> bytes:
    header = struct.pack("=BxxxiHBB", socket.AF_INET, index, _NUD_PERMANENT, 0, 0)
    return header + attribute(1, socket.inet_aton(address)) + attribute(2, _mac(mac))


def new_neighbour(index: int, address: str, mac: str) -> Request:
    """A permanent neighbour, in place of a learned one; it does not count against the limit of the machine's table."""
    return Request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, _neighbour(index, address, mac))


def delete_neighbour(index: int, address: str, mac: str) -> Request:
    """The inverse of `new_neighbour`."""
    return Request(RTM_DELNEIGH, 0, _neighbour(index, address, mac))


def new_qdisc(index: int, kind: str, options: bytes) -> Request:
    """A queueing discipline at the root of a link; `options` is its own structure."""
    header = struct.pack("=BxxxiIII", socket.AF_UNSPEC, index, 0, 0xFFFFFFFF, 0)
    return Request(36, _NEW, header + _string(1, kind) + attribute(2, options))


class Batch:
    """A rtnetlink socket in the namespace where it was opened, wherever the thread goes afterwards."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.bind((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, requests: Sequence[Request]) -> None:
        """Carry out all requests; raises `OSError` with the errno of the first that failed."""
        for number in self.try_send(requests).values():
            raise OSError(number, os.strerror(number))

    def try_send(self, requests: Sequence[Request]) -> dict[int, int]:
        """Carry out all requests, each on its own; returns the errno of those that failed, by position."""
        failed: dict[int, int] = {}
        for start in range(0, len(requests), _BATCH):
            chunk = requests[start : start + _BATCH]
            for position, kind, payload in self._exchange(chunk):
                if kind == NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", payload)
                    if number:
                        failed[start + position] = -number
        return failed

    def indexes(self, names: Sequence[str]) -> dict[str, int]:
        """The interface indexes of those links of `names` that exist."""
        found: dict[str, int] = {}
        for start in range(0, len(names), _BATCH):
            chunk = names[start : start + _BATCH]
            for position, kind, payload in self._exchange([get_link(name) for name in chunk]):
                if kind == RTM_NEWLINK:
                    (found[chunk[position]],) = struct.unpack_from("=i", payload, 4)
        return found

    def _exchange(self, requests: Sequence[Request]) -> list[tuple[int, int, bytes]]:
        """Send the requests as one datagram; returns (position, type, payload) of every answer.

        The kernel works through a datagram in order and reports each failure, asked or not, so only the last
        request has to ask for an acknowledgement.
        """
        last = len(requests) - 1
        parts = []
        for position, request in enumerate(requests):
            flags = request.flags | NLM_F_REQUEST | (NLM_F_ACK if position == last else 0)
            parts.append(struct.pack("=IHHII", 16 + len(request.body), request.kind, flags, position, 0))
            parts.append(request.body)
        self._socket.send(b"".join(parts))
        answers: list[tuple[int, int, bytes]] = []
        while True:
            data = self._socket.recv(1 << 18)
            offset = 0
            while offset + 16 <= len(data):
                length, kind, _, position, _ = struct.unpack_from("=IHHII", data, offset)
                answers.append((position, kind, data[offset + 16 : offset + length]))
                if kind == NLMSG_ERROR and position == last:
                    return answers
                offset += (length + 3) & ~3


GONE = frozenset({errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENETUNREACH})
"""What the kernel answers to the removal of something that is not there."""
