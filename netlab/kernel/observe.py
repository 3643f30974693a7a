"""What the kernel has, in the calling thread's namespace: links, addresses and routes, decoded by pyroute2.

Only the slow paths come here (an object exists already, `doctor`, tests), so pyroute2 is imported late.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netlab.kernel import rtnetlink

_NLM_F_DUMP = 0x300
_NLMSG_DONE = 3
_RTM_GETADDR, _RTM_GETROUTE = 22, 26


@dataclass(frozen=True, slots=True)
class Link:
    """One network interface."""

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    peer_index: int
    """For a veth, the index of its other end in that end's namespace; otherwise 0."""
    master: int


@dataclass(frozen=True, slots=True)
class Address:
    """One IPv4 address; `peer` is None unless it is point to point."""

    index: int
    address: str
    peer: str | None


@dataclass(frozen=True, slots=True)
class Route:
    """One IPv4 unicast route of the main table."""

    destination: str
    via: str | None
    index: int | None
    source: str | None
    scope: int
    onlink: bool


def links() -> list[Link]:
    """Every interface, in the order of their indexes."""
    from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

    found = []
    for message in _dump(rtnetlink.RTM_GETLINK, rtnetlink.EVERY_LINK, ifinfmsg):
        info = message.get_attr("IFLA_LINKINFO")
        found.append(
            Link(
                index=message["index"],
                name=message.get_attr("IFLA_IFNAME"),
                kind=(info and info.get_attr("IFLA_INFO_KIND")) or "",
                mac=message.get_attr("IFLA_ADDRESS") or "",
                mtu=message.get_attr("IFLA_MTU"),
                up=bool(message["flags"] & 1),
                peer_index=message.get_attr("IFLA_LINK") or 0,
                master=message.get_attr("IFLA_MASTER") or 0,
            )
        )
    return sorted(found, key=lambda link: link.index)


def addresses() -> list[Address]:
    """Every IPv4 address."""
    from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg

    found = []
    for message in _dump(_RTM_GETADDR, struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0), ifaddrmsg):
        local, other = message.get_attr("IFA_LOCAL"), message.get_attr("IFA_ADDRESS")
        length = message["prefixlen"]
        if local in (None, other):
            found.append(Address(message["index"], f"{other}/{length}", None))
        else:
            found.append(Address(message["index"], f"{local}/32", f"{other}/{length}"))
    return found


def routes() -> list[Route]:
    """Every IPv4 unicast route of the main table."""
    from pyroute2.netlink.rtnl.rtmsg import rtmsg

    found = []
    for message in _dump(_RTM_GETROUTE, struct.pack("=BBBBBBBBI", socket.AF_INET, *[0] * 8), rtmsg):
        if message["table"] != 254 or message["type"] != 1:
            continue
        length = message["dst_len"]
        found.append(
            Route(
                destination=f"{message.get_attr('RTA_DST')}/{length}" if length else "default",
                via=message.get_attr("RTA_GATEWAY"),
                index=message.get_attr("RTA_OIF"),
                source=message.get_attr("RTA_PREFSRC"),
                scope=message["scope"],
                onlink=bool(message["flags"] & 4),
            )
        )
    return found


def _dump(kind: int, body: bytes, decoder: Any) -> Iterator[Any]:
    """Every message of a dump, decoded."""
    header = struct.pack("=IHHII", 16 + len(body), kind, rtnetlink.NLM_F_REQUEST | _NLM_F_DUMP, 0, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as sock:
        sock.bind((0, 0))
        sock.send(header + body)
        while True:
            data = sock.recv(1 << 18)
            offset = 0
            while offset + 16 <= len(data):
                length, answer = struct.unpack_from("=IH", data, offset)
                if answer == _NLMSG_DONE:
                    return
                if answer == rtnetlink.NLMSG_ERROR:
                    (number,) = struct.unpack_from("=i", data, offset + 16)
                    raise OSError(-number, os.strerror(-number))
                message = decoder(data[offset : offset + length])
                message.decode()
                yield message
                offset += (length + 3) & ~3
