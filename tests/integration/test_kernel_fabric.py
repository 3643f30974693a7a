"""Namespaces and operations on the real kernel: done once, done twice, undone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from netlab.bench.fabric import plan
from netlab.errors import ForeignObjectError, KernelError
from netlab.kernel import executor, netns, observe
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
from tests.integration.workplace import Workplace, workplace

pytestmark = pytest.mark.root
__all__ = ["workplace"]


def links(path: Path) -> dict[str, observe.Link]:
    with netns.entered(path):
        return {link.name: link for link in observe.links()}


def fabric(place: Workplace, ports: int = 3) -> list[Op]:
    bridges = place.name("fabric")
    ops: list[Op] = [CreateNamespace(bridges), CreateBridge(bridges, "net")]
    for number in range(ports):
        name = place.name(f"vm-{number}")
        ops += [
            CreateNamespace(name),
            CreateVeth(bridges, f"port-{number}", name, "eth0", bridge="net", peer_mac=f"02:00:00:00:00:{number:02x}"),
            AddAddress(name, "eth0", f"10.0.0.{number + 1}/16"),
            AddRoute(name, "10.255.0.0/24", via="10.0.9.9", device="eth0", onlink=True, source=f"10.0.0.{number + 1}"),
            AddNeighbour(name, "eth0", "10.0.9.9", "02:00:00:00:09:09"),
            SetSysctl(name, "net.ipv4.conf.eth0.route_localnet", "1"),
        ]
    return ops


def test_a_new_namespace(workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    assert (netns.NETNS_DIR / workplace.name("one")).resolve() == path
    with netns.entered(path):
        (lo,) = observe.links()
        assert (lo.name, lo.index, lo.up) == ("lo", 1, True)
        assert observe.addresses() == [observe.Address(1, "127.0.0.1/8", None)]
        for key, value in (
            ("net/ipv4/ip_forward", "0"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
        ):
            assert netns.read_sysctl(key) == value


def test_creating_and_deleting_again_changes_nothing(workplace: Workplace) -> None:
    path = netns.create(workplace.name("one"), workplace.directory)
    before = path.stat().st_ino
    assert netns.create(workplace.name("one"), workplace.directory) == path
    assert path.stat().st_ino == before
    for _ in range(2):
        netns.delete(workplace.name("one"), workplace.directory)
        assert not netns.exists(workplace.name("one"), workplace.directory)
    netns.mount_directory(workplace.directory)


def test_a_file_left_over_is_no_namespace(workplace: Workplace) -> None:
    workplace.path("one").touch()
    assert not netns.exists(workplace.name("one"), workplace.directory)
    netns.create(workplace.name("one"), workplace.directory)
    assert netns.exists(workplace.name("one"), workplace.directory)


def test_a_dead_symlink_is_replaced_and_a_live_one_is_not(workplace: Workplace) -> None:
    netns.NETNS_DIR.mkdir(exist_ok=True)
    link = netns.NETNS_DIR / workplace.name("one")
    link.symlink_to("/run/netlab-is-long-gone")
    netns.create(workplace.name("one"), workplace.directory)
    assert link.resolve() == workplace.path("one")
    foreign = netns.NETNS_DIR / workplace.name("two")
    foreign.symlink_to("/proc/self/ns/net")
    try:
        with pytest.raises(ForeignObjectError, match=r"two exists already and is not this lab's"):
            netns.create(workplace.name("two"), workplace.directory)
        netns.delete(workplace.name("two"), workplace.directory)
        assert foreign.is_symlink()
    finally:
        foreign.unlink()


def test_entering_comes_back_after_an_error(workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    home = os.readlink("/proc/thread-self/ns/net")
    with pytest.raises(FileNotFoundError), netns.entered(path):
        os.readlink("/proc/no/such/file")
    with netns.entered(path):
        inside = os.readlink("/proc/thread-self/ns/net")
    assert inside != home
    assert os.readlink("/proc/thread-self/ns/net") == home
    with (
        pytest.raises(KernelError, match=r"enter namespace .*-none: No such file"),
        netns.entered(workplace.path("none")),
    ):
        pass


def test_a_fabric(workplace: Workplace) -> None:
    ops = fabric(workplace)
    threads = threading.active_count()
    executor.apply(ops, workplace.directory)
    assert threading.active_count() == threads
    ports = links(workplace.path("fabric"))
    assert set(ports) == {"lo", "net", "port-0", "port-1", "port-2"}
    assert all(link.up for link in ports.values())
    assert {ports[f"port-{n}"].master for n in range(3)} == {ports["net"].index}
    with netns.entered(workplace.path("vm-1")):
        device = links(workplace.path("vm-1"))["eth0"]
        assert (device.up, device.mac) == (True, "02:00:00:00:00:01")
        assert observe.Address(device.index, "10.0.0.2/16", None) in observe.addresses()
        assert observe.Route("10.255.0.0/24", "10.0.9.9", device.index, "10.0.0.2", 0, True) in observe.routes()
        assert netns.read_sysctl("net/ipv4/conf/eth0/route_localnet") == "1"
        assert "02:00:00:00:09:09" in Path("/proc/net/arp").read_text()
        listener = socket.create_server(("10.0.0.2", 80))
    with listener, netns.entered(workplace.path("vm-2")), socket.create_connection(("10.0.0.2", 80), timeout=5) as sock:
        assert sock.getpeername() == ("10.0.0.2", 80)


def test_bridges_are_quiet(workplace: Workplace) -> None:
    executor.apply(fabric(workplace, 1), workplace.directory)
    with netns.entered(workplace.path("fabric")):
        shown = subprocess.run(["ip", "-d", "-j", "link", "show", "net"], capture_output=True, check=True).stdout
        data = json.loads(shown)[0]["linkinfo"]["info_data"]
        for key in ("forward_delay", "mcast_snooping", "nf_call_iptables", "nf_call_ip6tables", "nf_call_arptables"):
            assert data[key] == 0, key
        switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        assert not switch.exists() or switch.read_text().strip() == "0"


def test_applying_again_changes_nothing(workplace: Workplace) -> None:
    ops = fabric(workplace)
    executor.apply(ops, workplace.directory)
    before = links(workplace.path("fabric"))
    executor.apply(ops, workplace.directory)
    assert links(workplace.path("fabric")) == before


def test_an_interrupted_apply_can_be_finished(workplace: Workplace) -> None:
    ops = fabric(workplace)
    executor.apply(ops, workplace.directory)
    with netns.entered(workplace.path("vm-0")):
        subprocess.run(["ip", "link", "set", "eth0", "down"], check=True)
    with netns.entered(workplace.path("fabric")):
        subprocess.run(["ip", "link", "set", "port-1", "down"], check=True)
    executor.apply(ops, workplace.directory)
    assert links(workplace.path("vm-0"))["eth0"].up
    assert links(workplace.path("fabric"))["port-1"].up
    with netns.entered(workplace.path("vm-0")):
        assert len([route for route in observe.routes() if route.via == "10.0.9.9"]) == 1


def test_a_namespace_that_was_there_before(workplace: Workplace) -> None:
    workplace.create("cell")
    cell, app = workplace.name("cell"), workplace.name("app")
    ops: list[Op] = [
        CreateNamespace(app),
        CreateVeth(cell, "c-app", app, "eth0", mac="02:00:00:00:00:01", peer_mac="02:00:00:00:00:02"),
        AddAddress(cell, "c-app", "169.254.0.1/32", peer="10.255.1.2"),
        AddNeighbour(cell, "c-app", "10.255.1.2", "02:00:00:00:00:02"),
        AddAddress(app, "eth0", "10.255.1.2/32", peer="169.254.0.1"),
        AddNeighbour(app, "eth0", "169.254.0.1", "02:00:00:00:00:01"),
        AddRoute(app, "default", via="169.254.0.1", device="eth0"),
    ]
    executor.apply([SetSysctl(cell, "net.ipv4.ip_forward", "1")], workplace.directory)
    for _ in range(2):
        executor.apply(ops, workplace.directory)
        device = links(workplace.path("cell"))["c-app"]
        with netns.entered(workplace.path("cell")):
            assert observe.Address(device.index, "169.254.0.1/32", "10.255.1.2/32") in observe.addresses()
            assert [route.destination for route in observe.routes()] == ["10.255.1.2/32"]
        executor.undo(ops, workplace.directory)
        # It is gone at once, so that the next container can have the address.
        assert set(links(workplace.path("cell"))) == {"lo"}
        with netns.entered(workplace.path("cell")):
            assert observe.routes() == []
        assert not netns.exists(app, workplace.directory)
        executor.undo(ops, workplace.directory)
    with netns.entered(workplace.path("cell")):
        assert netns.read_sysctl("net/ipv4/ip_forward") == "1"


def test_undoing_between_namespaces_that_stay(workplace: Workplace) -> None:
    a, b = workplace.create("a", "b")
    one, two = workplace.name("a"), workplace.name("b")
    ops: list[Op] = [
        CreateBridge(one, "net"),
        *(CreateVeth(one, f"x{n}", two, f"y{n}", bridge="net") for n in range(3)),
        AddAddress(two, "y0", "10.0.0.1/24"),
        AddAddress(two, "lo", "10.9.9.9/32"),
        AddRoute(two, "10.8.0.0/16", device="lo"),
        AddNeighbour(two, "y1", "10.0.0.9", "02:00:00:00:00:09"),
        SetUp(two, "y2"),
    ]
    executor.apply(ops, workplace.directory)
    executor.undo(ops, workplace.directory)
    for path in (a, b):
        assert set(links(path)) == {"lo"}
        with netns.entered(path):
            assert observe.addresses() == [observe.Address(1, "127.0.0.1/8", None)]
            assert observe.routes() == []


def test_something_else_in_the_way(workplace: Workplace) -> None:
    workplace.create("a", "b", "c")
    a, b, c = map(workplace.name, "abc")
    executor.apply(
        [CreateBridge(a, "x"), CreateVeth(a, "z", c, "z"), AddAddress(b, "lo", "10.0.0.1/24")], workplace.directory
    )
    executor.apply([AddRoute(c, "default", device="z")], workplace.directory)
    for op, message in (
        (CreateVeth(a, "x", b, "y"), "at one end only"),
        (CreateVeth(a, "z", c, "z", mtu=9000), "z has an MTU of 1500 instead of 9000"),
        (CreateVeth(a, "z", c, "z", mac="02:00:00:00:00:01"), "z has the address"),
        (CreateVeth(a, "z", c, "z", bridge="x"), "z is not a port of x"),
        (CreateBridge(a, "z"), "a veth and no bridge"),
        (AddRoute(c, "default", via="10.0.0.9", device="z", onlink=True), "via no gateway"),
    ):
        with pytest.raises(ForeignObjectError, match=message) as caught:
            executor.apply([op], workplace.directory)
        assert caught.value.message.startswith(op.describe())
        assert caught.value.hint


def test_what_the_kernel_refuses(workplace: Workplace) -> None:
    workplace.create("a")
    a = workplace.name("a")
    for op, message in (
        (AddAddress(a, "eth7", "10.0.0.1/24"), r"no interface eth7 there"),
        (AddRoute(a, "default", via="10.0.0.1"), r"Network is unreachable \(ENETUNREACH\)"),
        (SetSysctl(a, "net.ipv4.no_such_thing", "1"), r"No such file or directory \(ENOENT\)"),
        (CreateVeth(a, "x", workplace.name("none"), "y"), r"No such file or directory \(ENOENT\)"),
        (CreateBridge(workplace.name("none"), "x"), r"enter namespace .*-none: No such file"),
    ):
        with pytest.raises(KernelError, match=message):
            executor.apply([op], workplace.directory)


def test_a_namespace_is_complete_as_soon_as_it_has_a_name(workplace: Workplace) -> None:
    """A process that is killed while it creates namespaces leaves whole ones only, and another can go on."""
    names = [workplace.name(str(number)) for number in range(300)]
    receiver, sender = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(sender, b"x")
        netns.create_many(names, workplace.directory)
        os._exit(0)
    os.read(receiver, 1)
    os.close(receiver)
    os.close(sender)
    while not netns.exists(names[20], workplace.directory):
        os.sched_yield()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    made = [name for name in names if netns.exists(name, workplace.directory)]
    assert 20 < len(made) < 300
    for name in made:
        with netns.entered(workplace.directory / name):
            assert netns.read_sysctl("net/ipv6/conf/all/disable_ipv6") == "1"
            assert observe.links()[0].up
    netns.create_many(names[:100], workplace.directory)


def test_many_links_on_one_cell(workplace: Workplace) -> None:
    ops = plan(workplace.prefix, 60)
    executor.apply(ops, workplace.directory)
    assert len(links(workplace.path("cell"))) == 61
    executor.undo(ops, workplace.directory)
    assert list(workplace.directory.iterdir()) == []
