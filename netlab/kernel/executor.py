"""Carries operations out, and takes them back.

One thread walks through the namespaces and sends each one's requests in as few datagrams as possible. In a namespace
that it has just made it chooses the interface indexes itself, so it need not ask for any. An object that exists
already is compared with the one that was asked for: an identical one is fine, any other raises `ForeignObjectError`.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from netlab.errors import ForeignObjectError, KernelError
from netlab.kernel import existing, netns, rtnetlink, syscalls
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
from netlab.kernel.rtnetlink import Batch, Request

_VETHS_AT_ONCE = 200
_BRIDGE_SYSCTLS = tuple(f"net/bridge/bridge-nf-call-{kind}" for kind in ("iptables", "ip6tables", "arptables"))
_Step = tuple[Op, Request]


@dataclass
class _Namespace:
    """One namespace's share of the operations, and the indexes known of it."""

    name: str
    path: Path
    fresh: bool = False
    bridges: list[CreateBridge] = field(default_factory=list)
    veths: list[CreateVeth] = field(default_factory=list)
    peers: list[CreateVeth] = field(default_factory=list)
    """Veths whose second end is here."""
    sysctls: list[SetSysctl] = field(default_factory=list)
    others: list[SetUp | AddAddress | AddRoute | AddNeighbour] = field(default_factory=list)
    indexes: dict[str, int] = field(default_factory=dict)

    def enter(self) -> None:
        """Move the calling thread here, for good."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(fd)
        finally:
            os.close(fd)

    def choose_index(self, device: str) -> int:
        """The index that a new device shall have: 0, the kernel's choice, unless the namespace is new."""
        if not self.fresh:
            return 0
        # A new namespace has lo alone, at 1.
        return self.indexes.setdefault(device, len(self.indexes) + 2)

    def learn(self, batch: Batch, devices: Iterable[str]) -> None:
        """Ask for the indexes of those devices that are not known yet."""
        unknown = list(dict.fromkeys(name for name in devices if name not in self.indexes))
        if unknown:
            self.indexes |= batch.indexes(unknown)

    def index(self, op: Op, device: str) -> int:
        """The index of a device that `op` needs."""
        if device == "lo":
            return 1
        try:
            return self.indexes[device]
        except KeyError:
            raise KernelError(f"{op.describe()}: no interface {device} there", errno=errno.ENODEV) from None


def apply(ops: Sequence[Op], directory: Path) -> None:
    """Carry out `ops` on the namespaces mounted in `directory`; running it again changes nothing.

    Raises `ForeignObjectError` if something else stands where an object must be, and `KernelError`, naming the
    operation and the errno, if the kernel refuses. What was done until then stays; `undo` takes it back.
    """
    spaces = _sort(ops, directory)
    new = set(netns.create_many([op.namespace for op in ops if isinstance(op, CreateNamespace)], directory))
    for space in spaces.values():
        space.fresh = space.name in new
    netns.in_thread(lambda: _build(spaces))


def undo(ops: Sequence[Op], directory: Path) -> None:
    """Take back `ops`, in reverse; whatever is gone already is fine.

    A namespace made by `ops` is dropped with everything in it. In one that stays, the links, addresses, routes and
    neighbours of `ops` are removed; a sysctl keeps its value. Raises `KernelError` if the kernel refuses.
    """
    dropped = {op.namespace for op in ops if isinstance(op, CreateNamespace)}
    spaces = _sort([op for op in ops if op.namespace not in dropped], directory)
    for op in ops:
        # The first end goes with its namespace, the other one must be seen to go.
        if isinstance(op, CreateVeth) and op.namespace in dropped and op.peer_namespace not in dropped:
            space = spaces.setdefault(op.peer_namespace, _Namespace(op.peer_namespace, directory / op.peer_namespace))
            space.peers.append(op)
    present = [space for name, space in spaces.items() if name not in dropped and netns.exists(name, directory)]
    if present:
        netns.in_thread(lambda: _clear_all(reversed(present)))
    for name in dropped:
        netns.delete(name, directory)


def _sort(ops: Sequence[Op], directory: Path) -> dict[str, _Namespace]:
    spaces: dict[str, _Namespace] = {}

    def at(name: str) -> _Namespace:
        if name not in spaces:
            spaces[name] = _Namespace(name, directory / name)
        return spaces[name]

    for op in dict.fromkeys(ops):
        space = at(op.namespace)
        match op:
            case CreateBridge():
                space.bridges.append(op)
            case CreateVeth():
                space.veths.append(op)
                at(op.peer_namespace).peers.append(op)
            case SetSysctl():
                space.sysctls.append(op)
            case SetUp() | AddAddress() | AddRoute() | AddNeighbour():
                space.others.append(op)
            case CreateNamespace():
                pass
    return spaces


def _build(spaces: dict[str, _Namespace]) -> None:
    for space in spaces.values():
        if space.bridges or space.veths:
            with _inside(space) as batch:
                _make_links(space, batch, spaces)
    for space in spaces.values():
        if space.veths or space.peers or space.sysctls or space.others:
            with _inside(space) as batch:
                _configure(space, batch)


@contextmanager
def _inside(space: _Namespace) -> Iterator[Batch]:
    """Move the calling thread into a namespace, for good, and open a socket there."""
    try:
        space.enter()
    except OSError as error:
        raise KernelError(
            f"enter namespace {space.name}: {error.strerror}", errno=error.errno, namespace=space.name
        ) from error
    with Batch() as batch:
        yield batch


def _make_links(space: _Namespace, batch: Batch, spaces: dict[str, _Namespace]) -> None:
    steps: list[_Step] = []
    for bridge in space.bridges:
        mac = bridge.mac or _bridge_mac(bridge)
        steps.append((bridge, rtnetlink.new_bridge(bridge.name, mac, space.choose_index(bridge.name))))
    _send(batch, steps)
    if space.bridges:
        for key in _BRIDGE_SYSCTLS:
            # The settings exist only while the module br_netfilter is loaded.
            with suppress(FileNotFoundError):
                netns.write_sysctl(key, "0")
    space.learn(batch, [veth.bridge for veth in space.veths if veth.bridge])
    for start in range(0, len(space.veths), _VETHS_AT_ONCE):
        _make_veths(space, batch, spaces, space.veths[start : start + _VETHS_AT_ONCE])


def _make_veths(space: _Namespace, batch: Batch, spaces: dict[str, _Namespace], veths: Sequence[CreateVeth]) -> None:
    fds: dict[str, int] = {}
    try:
        steps: list[_Step] = []
        for veth in veths:
            peer = spaces[veth.peer_namespace]
            if peer.name not in fds:
                try:
                    fds[peer.name] = os.open(peer.path, os.O_RDONLY | os.O_CLOEXEC)
                except OSError as error:
                    raise _failure(veth, error.errno or 0) from error
            request = rtnetlink.new_veth(
                veth.name,
                veth.peer_name,
                fds[peer.name],
                index=space.choose_index(veth.name),
                peer_index=peer.choose_index(veth.peer_name),
                mac=veth.mac,
                peer_mac=veth.peer_mac,
                master=space.index(veth, veth.bridge) if veth.bridge else None,
                mtu=veth.mtu,
            )
            steps.append((veth, request))
        _send(batch, steps, spaces)
    finally:
        for fd in fds.values():
            os.close(fd)


def _configure(space: _Namespace, batch: Batch) -> None:
    first_ends = [] if space.fresh else space.veths
    devices = [veth.name for veth in first_ends] + [veth.peer_name for veth in space.peers]
    devices += [op.device for op in space.others if op.device and op.device != "lo"]
    space.learn(batch, devices)
    for sysctl in space.sysctls:
        try:
            netns.write_sysctl(sysctl.path, sysctl.value)
        except OSError as error:
            raise _failure(sysctl, error.errno or 0) from error
    steps: list[_Step] = [
        # An end that was there before may be down, if an earlier run was killed on the way.
        *((veth, rtnetlink.link_up(space.index(veth, veth.name))) for veth in first_ends),
        *((veth, rtnetlink.link_up(space.index(veth, veth.peer_name))) for veth in space.peers),
    ]
    late: list[_Step] = []
    for op in space.others:
        match op:
            case SetUp():
                steps.append((op, rtnetlink.link_up(space.index(op, op.device))))
            case AddAddress():
                request = rtnetlink.new_address(space.index(op, op.device), op.address, op.peer)
                steps.append((op, request))
            case AddRoute():
                late.append((op, _route(rtnetlink.new_route, space, op)))
            case AddNeighbour():
                request = rtnetlink.new_neighbour(space.index(op, op.device), op.address, op.mac)
                late.append((op, request))
    _send(batch, steps + late)


def _route(make: Callable[..., Request], space: _Namespace, op: AddRoute) -> Request:
    index = space.index(op, op.device) if op.device else None
    return make(op.destination, op.via, index, onlink=op.onlink, source=op.source, scope=op.scope)


def _send(batch: Batch, steps: Sequence[_Step], spaces: dict[str, _Namespace] | None = None) -> None:
    """Carry out the steps in the calling thread's namespace; an object that exists must be the same."""
    failed = batch.try_send([request for _, request in steps])
    comparison: existing.Comparison | None = None
    for position, number in failed.items():
        op = steps[position][0]
        if number != errno.EEXIST:
            raise _failure(op, number)
        if comparison is None:
            comparison = existing.Comparison({name: space.path for name, space in (spaces or {}).items()})
        difference = comparison.difference(op)
        if difference:
            raise ForeignObjectError(
                f"{op.describe()}: one exists already, {difference}",
                hint="something outside this lab made it; remove it, or take the lab down and up again",
                namespace=op.namespace,
            )


def _clear_all(spaces: Iterable[_Namespace]) -> None:
    for space in spaces:
        _clear(space)


def _clear(space: _Namespace) -> None:
    """Remove from a namespace that stays what the operations put there."""
    with _inside(space) as batch:
        devices = [bridge.name for bridge in space.bridges]
        devices += [veth.name for veth in space.veths] + [veth.peer_name for veth in space.peers]
        space.learn(batch, devices + [op.device for op in space.others if op.device and op.device != "lo"])
        removed = {space.indexes[name] for name in devices if name in space.indexes}
        steps: list[_Step] = []
        for op in reversed(space.others):
            if op.device and op.device != "lo" and space.indexes.get(op.device, 0) in {0, *removed}:
                # It goes with its device, or went with it.
                continue
            match op:
                case AddAddress():
                    request = rtnetlink.delete_address(space.index(op, op.device), op.address, op.peer)
                    steps.append((op, request))
                case AddRoute():
                    steps.append((op, _route(rtnetlink.delete_route, space, op)))
                case AddNeighbour():
                    request = rtnetlink.delete_neighbour(space.index(op, op.device), op.address, op.mac)
                    steps.append((op, request))
                case SetUp():
                    pass
        for position, number in batch.try_send([request for _, request in steps]).items():
            if number not in rtnetlink.GONE:
                raise _failure(steps[position][0], number, "undo: ")
        if removed:
            _delete_links(space, batch, sorted(removed))


def _delete_links(space: _Namespace, batch: Batch, indexes: Sequence[int]) -> None:
    """Remove links together: each on its own would cost a grace period."""
    if len(indexes) == 1:
        failed = batch.try_send([rtnetlink.delete_link(indexes[0])])
    else:
        group = int.from_bytes(os.urandom(4), "little") | 1 << 30
        batch.try_send([rtnetlink.link_group(index, group) for index in indexes])
        failed = batch.try_send([rtnetlink.delete_group(group)])
    for number in failed.values():
        if number not in rtnetlink.GONE:
            raise KernelError(f"remove {len(indexes)} links in {space.name}: {os.strerror(number)}", errno=number)


def _failure(op: Op, number: int, prefix: str = "") -> KernelError:
    name = errno.errorcode.get(number, str(number))
    hint = None
    if number == errno.ENOBUFS and isinstance(op, AddNeighbour):
        hint = "the machine's neighbour table is full: raise net.ipv4.neigh.default.gc_thresh3"
    elif number == errno.EXFULL:
        hint = "a bridge takes 1,023 ports"
    elif number == errno.EPERM:
        hint = "run it as root"
    return KernelError(
        f"{prefix}{op.describe()}: {os.strerror(number)} ({name})", hint=hint, errno=number, namespace=op.namespace
    )


def _bridge_mac(bridge: CreateBridge) -> str:
    digest = hashlib.blake2s(f"{bridge.namespace}/{bridge.name}".encode(), digest_size=5).digest()
    return "02:" + digest.hex(":")
