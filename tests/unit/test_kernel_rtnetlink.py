"""The requests that netlab packs itself are byte for byte those that pyroute2 makes."""

from __future__ import annotations

from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from netlab.kernel import rtnetlink
from netlab.kernel.rtnetlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Request

NEW = NLM_F_CREATE | NLM_F_EXCL


def packed(kind: type, message_type: int, flags: int, attrs: list[Any], /, **fields: int) -> Request:
    message = kind()
    message["header"]["type"] = message_type
    message["header"]["flags"] = flags
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = attrs
    message.encode()
    return Request(message_type, flags, bytes(message.data)[16:])


def test_link_up() -> None:
    assert rtnetlink.link_up(7) == packed(ifinfmsg, 16, 0, [], index=7, flags=1, change=1)


def test_link_removal() -> None:
    assert rtnetlink.delete_link(7) == packed(ifinfmsg, 17, 0, [], index=7)
    assert rtnetlink.delete_group(99) == packed(ifinfmsg, 17, 0, [("IFLA_GROUP", 99)])
    assert rtnetlink.link_group(7, 99) == packed(ifinfmsg, 16, 0, [("IFLA_GROUP", 99)], index=7)


def test_port_of_a_bridge() -> None:
    expected = packed(ifinfmsg, 16, 0, [("IFLA_MASTER", 3)], index=7, flags=1, change=1)
    assert rtnetlink.link_master(7, 3) == expected


def test_bridge() -> None:
    data = [
        ("IFLA_BR_FORWARD_DELAY", 0),
        ("IFLA_BR_MCAST_SNOOPING", 0),
        ("IFLA_BR_NF_CALL_IPTABLES", 0),
        ("IFLA_BR_NF_CALL_IP6TABLES", 0),
        ("IFLA_BR_NF_CALL_ARPTABLES", 0),
    ]
    attrs = [
        ("IFLA_IFNAME", "public"),
        ("IFLA_ADDRESS", "02:00:00:00:00:09"),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge"), ("IFLA_INFO_DATA", {"attrs": data})]}),
    ]
    expected = packed(ifinfmsg, 16, NEW, attrs, index=4, flags=1, change=1)
    assert rtnetlink.new_bridge("public", "02:00:00:00:00:09", 4) == expected


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_veth(mtu: int) -> None:
    request = rtnetlink.new_veth(
        "cell", "eth0", 12, index=5, peer_index=2, mac="02:00:00:00:00:01", peer_mac="02:00:00:00:00:02", mtu=mtu
    )
    larger = [("IFLA_MTU", mtu)] if mtu != 1500 else []
    peer = {
        "index": 2,
        "attrs": [
            ("IFLA_IFNAME", "eth0"),
            ("IFLA_NET_NS_FD", 12),
            ("IFLA_ADDRESS", "02:00:00:00:00:02"),
            *larger,
        ],
    }
    info = [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", {"attrs": [("VETH_INFO_PEER", peer)]})]
    attrs = [
        ("IFLA_IFNAME", "cell"),
        ("IFLA_ADDRESS", "02:00:00:00:00:01"),
        *larger,
        ("IFLA_LINKINFO", {"attrs": info}),
    ]
    assert request == packed(ifinfmsg, 16, NEW, attrs, index=5, flags=1, change=1)


@pytest.mark.parametrize(
    ("address", "peer", "length", "scope", "other"),
    [
        ("10.0.1.1/16", None, 16, 0, "10.0.1.1"),
        ("169.254.0.1/32", "10.255.1.2", 32, 253, "10.255.1.2"),
        ("169.254.0.1", "10.255.1.0/24", 24, 253, "10.255.1.0"),
        ("127.0.0.2/8", None, 8, 254, "127.0.0.2"),
    ],
)
def test_address(address: str, peer: str | None, length: int, scope: int, other: str) -> None:
    attrs = [("IFA_LOCAL", address.partition("/")[0]), ("IFA_ADDRESS", other)]
    fields = {"family": 2, "prefixlen": length, "scope": scope, "index": 3}
    assert rtnetlink.new_address(3, address, peer) == packed(ifaddrmsg, 20, NEW, attrs, **fields)
    assert rtnetlink.delete_address(3, address, peer) == packed(ifaddrmsg, 21, 0, attrs, **fields)


@pytest.mark.parametrize(
    ("arguments", "attrs", "fields"),
    [
        (
            {"destination": "default", "via": "169.254.0.1", "index": 2},
            [("RTA_GATEWAY", "169.254.0.1"), ("RTA_OIF", 2)],
            {"dst_len": 0, "scope": 0},
        ),
        (
            {"destination": "10.255.1.0/24", "via": "10.0.2.1", "onlink": True, "source": "10.0.0.1"},
            [("RTA_DST", "10.255.1.0"), ("RTA_GATEWAY", "10.0.2.1"), ("RTA_PREFSRC", "10.0.0.1")],
            {"dst_len": 24, "scope": 0, "flags": 4},
        ),
        ({"destination": "10.255.1.2/32", "index": 2}, [("RTA_DST", "10.255.1.2"), ("RTA_OIF", 2)], {"scope": 253}),
        (
            {"destination": "10.255.1.2", "index": 2, "scope": "host"},
            [("RTA_DST", "10.255.1.2"), ("RTA_OIF", 2)],
            {"scope": 254},
        ),
    ],
)
def test_route(arguments: dict[str, Any], attrs: list[Any], fields: dict[str, int]) -> None:
    everywhere = {"family": 2, "dst_len": 32, "table": 254, "proto": 4, "type": 1}
    expected = packed(rtmsg, 24, NEW, attrs, **(everywhere | fields))
    assert rtnetlink.new_route(**arguments) == expected
    assert rtnetlink.delete_route(**arguments) == Request(25, 0, expected.body)


def test_neighbour() -> None:
    attrs = [("NDA_DST", "10.255.1.2"), ("NDA_LLADDR", "02:00:00:00:00:02")]
    expected = packed(ndmsg, 28, NLM_F_CREATE | NLM_F_REPLACE, attrs, family=2, ifindex=3, state=0x80)
    assert rtnetlink.new_neighbour(3, "10.255.1.2", "02:00:00:00:00:02") == expected
    removal = Request(29, 0, expected.body)
    assert rtnetlink.delete_neighbour(3, "10.255.1.2", "02:00:00:00:00:02") == removal


def test_attributes_are_padded() -> None:
    assert rtnetlink.attribute(3, b"abc\0") == b"\x08\0\x03\0abc\0"
    assert rtnetlink.attribute(3, b"a\0") == b"\x06\0\x03\0a\0\0\0"
