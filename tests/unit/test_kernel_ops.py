"""Operations are plain data that describe themselves."""

from __future__ import annotations

import subprocess
import sys

import pytest

from netlab.errors import NetlabBug
from netlab.kernel.ops import (
    AddAddress,
    AddNeighbour,
    AddRoute,
    CreateBridge,
    CreateNamespace,
    CreateVeth,
    Op,
    SetSysctl,
    SetUp,
)


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (CreateNamespace("lab-lb"), "create namespace lab-lb"),
        (CreateBridge("lab-fabric", "public"), "create bridge public in lab-fabric"),
        (CreateVeth("a", "x", "b", "y"), "create veth x in a to y in b"),
        (CreateVeth("a", "x", "b", "y", bridge="br"), "create veth x in a on bridge br to y in b"),
        (AddAddress("a", "x", "10.0.0.1/16"), "add address 10.0.0.1/16 to x in a"),
        (AddAddress("a", "x", "10.0.0.1/32", "10.0.0.2"), "add address 10.0.0.1/32 peer 10.0.0.2 to x in a"),
        (SetUp("a", "lo"), "set lo up in a"),
        (AddRoute("a", "default", via="10.0.0.1"), "add route default via 10.0.0.1 in a"),
        (
            AddRoute("a", "10.0.0.0/8", "10.0.0.1", "x", onlink=True, source="10.0.0.3", scope="link"),
            "add route 10.0.0.0/8 via 10.0.0.1 dev x onlink src 10.0.0.3 scope link in a",
        ),
        (
            AddNeighbour("a", "x", "10.0.0.1", "02:00:00:00:00:01"),
            "add neighbour 10.0.0.1 at 02:00:00:00:00:01 on x in a",
        ),
        (SetSysctl("a", "net.ipv4.ip_forward", "1"), "set net.ipv4.ip_forward=1 in a"),
    ],
)
def test_description(op: Op, text: str) -> None:
    assert op.describe() == text


def test_interface_names_that_the_kernel_would_refuse() -> None:
    with pytest.raises(NetlabBug, match="'far-too-long-name': the kernel takes 1 to 15 bytes"):
        CreateVeth("a", "x", "b", "far-too-long-name")
    with pytest.raises(NetlabBug):
        CreateBridge("a", "")


def test_sysctl_paths() -> None:
    assert SetSysctl("a", "net.ipv4.ip_forward", "1").path == "net/ipv4/ip_forward"
    assert SetSysctl("a", "net/ipv4/conf/eth0.5/forwarding", "1").path == "net/ipv4/conf/eth0.5/forwarding"


def test_describing_costs_no_import() -> None:
    code = (
        "import sys, netlab.kernel.ops, netlab.kernel.rules, netlab.kernel.executor;"
        "print([m for m in ('pyroute2', 'iptc', 'scapy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
