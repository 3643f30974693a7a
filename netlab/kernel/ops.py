"""What can be done to the kernel, as data: the plan of a lab is a list of these.

An operation names namespaces by their full name (`<lab>-<node>`); where they are mounted is the executor's affair,
and so is the inverse of each. The order of a list does not matter, except among the routes of one namespace:
the executor carries out namespaces first, then bridges, links, settings and addresses, then routes and neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from netlab.errors import NetlabBug

_NAME_LIMIT = 15


def _check_device(*names: str | None) -> None:
    for name in names:
        if name is not None and not 0 < len(name.encode()) <= _NAME_LIMIT:
            raise NetlabBug(f"interface name {name!r}: the kernel takes 1 to {_NAME_LIMIT} bytes")


@dataclass(frozen=True, slots=True)
class CreateNamespace:
    """A network namespace with `lo` up, IPv6 off and forwarding off."""

    namespace: str

    def describe(self) -> str:
        """The operation in one line."""
        return f"create namespace {self.namespace}"


@dataclass(frozen=True, slots=True)
class CreateBridge:
    """A bridge, up, that neither snoops multicast nor delays forwarding nor calls iptables."""

    namespace: str
    name: str
    mac: str | None = None
    """Its address; by default one that its namespace and name determine."""

    def __post_init__(self) -> None:
        _check_device(self.name)

    def describe(self) -> str:
        """The operation in one line."""
        return f"create bridge {self.name} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class CreateVeth:
    """A veth pair, each end born in its own namespace; both end up up."""

    namespace: str
    name: str
    peer_namespace: str
    peer_name: str
    mac: str | None = None
    peer_mac: str | None = None
    bridge: str | None = None
    """The bridge in `namespace` that the first end becomes a port of."""
    mtu: int = 1500

    def __post_init__(self) -> None:
        _check_device(self.name, self.peer_name, self.bridge)

    def describe(self) -> str:
        """The operation in one line."""
        port = f" on bridge {self.bridge}" if self.bridge else ""
        return f"create veth {self.name} in {self.namespace}{port} to {self.peer_name} in {self.peer_namespace}"


@dataclass(frozen=True, slots=True)
class AddAddress:
    """An IPv4 address `a.b.c.d/length` on a device, point to point if it has a `peer`."""

    namespace: str
    device: str
    address: str
    peer: str | None = None

    def describe(self) -> str:
        """The operation in one line."""
        peer = f" peer {self.peer}" if self.peer else ""
        return f"add address {self.address}{peer} to {self.device} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class SetUp:
    """A device set up; needed only for one that another operation of this module did not make."""

    namespace: str
    device: str

    def describe(self) -> str:
        """The operation in one line."""
        return f"set {self.device} up in {self.namespace}"


@dataclass(frozen=True, slots=True)
class AddRoute:
    """A route in the main table, to a network `a.b.c.d/length` or `default`."""

    namespace: str
    destination: str
    via: str | None = None
    device: str | None = None
    onlink: bool = False
    source: str | None = None
    scope: str | None = None
    """`global`, `site`, `link` or `host`; by default `link` without a gateway and `global` with one."""

    def describe(self) -> str:
        """The operation in one line."""
        words = [f"add route {self.destination}"]
        words += [f"via {self.via}"] if self.via else []
        words += [f"dev {self.device}"] if self.device else []
        words += ["onlink"] if self.onlink else []
        words += [f"src {self.source}"] if self.source else []
        words += [f"scope {self.scope}"] if self.scope else []
        return " ".join([*words, f"in {self.namespace}"])


@dataclass(frozen=True, slots=True)
class AddNeighbour:
    """A permanent neighbour entry; it replaces a learned one."""

    namespace: str
    device: str
    address: str
    mac: str

    def describe(self) -> str:
        """The operation in one line."""
        return f"add neighbour {self.address} at {self.mac} on {self.device} in {self.namespace}"


@dataclass(frozen=True, slots=True)
class SetSysctl:
    """A setting of a namespace, such as `net.ipv4.ip_forward`; it has no inverse but the end of the namespace."""

    namespace: str
    key: str
    value: str

    @property
    def path(self) -> str:
        """The setting's path below /proc/sys; a key with slashes may have dots inside its parts (`eth0.5`)."""
        return self.key if "/" in self.key else self.key.replace(".", "/")

    def describe(self) -> str:
        """The operation in one line."""
        return f"set {self.key}={self.value} in {self.namespace}"


Op: TypeAlias = CreateNamespace | CreateBridge | CreateVeth | AddAddress | SetUp | AddRoute | AddNeighbour | SetSysctl
