"""What a container is to the kernel: its namespace, its link to the cell and the two sets of rules; pure.

A request for a container comes to `<cell address>:<host port>`. The cell's rules turn that into `<container
address>:<app port>`, and the container's own rules turn that into the sidecar's port; the sidecar asks the kernel
for the original destination.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from netlab.diego.rep.recipe import PortPair
from netlab.kernel.ops import AddAddress, AddNeighbour, AddRoute, CreateNamespace, CreateVeth, Op, SetSysctl
from netlab.kernel.rules import Match, Rule, Transaction

GATEWAY = "169.254.0.1"
"""The cell's address on every container's link."""
DEVICE = "eth0"
SIDECAR_PORT = 15001
INBOUND_CHAIN = "NETLAB_INBOUND"
EXEMPT = {
    2222: "SSH",
    SIDECAR_PORT: "the sidecar's inbound port",
    15020: "merged metrics",
    15090: "the sidecar's metrics",
    61001: "the sidecar's TLS port",
}
"""Ports of a container that its sidecar leaves alone, and what they are for."""
_CHAIN_LIMIT = 28


@dataclass(frozen=True, slots=True)
class ContainerNet:
    """One container's place in the network."""

    handle: str
    """The instance guid, which its chain on the cell is named after."""
    app_name: str
    index: int
    namespace: str
    cell_namespace: str
    address: str
    cell_address: str
    ports: tuple[PortPair, ...]

    @property
    def host_device(self) -> str:
        """The cell's end of the link, named after the container's address as silk does."""
        return "s-" + "".join(f"{octet:03}" for octet in IPv4Address(self.address).packed)

    @property
    def chain(self) -> str:
        """The container's chain in the cell's nat table."""
        return f"netin--{self.handle}"[:_CHAIN_LIMIT]


@dataclass(frozen=True, slots=True)
class ContainerPlan:
    """How a container comes to be, and what must be taken back on the cell; the rest goes with its namespace."""

    ops: tuple[Op, ...]
    cell_rules: Transaction
    container_rules: Transaction
    cell_cleanup: Transaction


def container_plan(net: ContainerNet) -> ContainerPlan:
    """Everything that the kernel is asked for."""
    return ContainerPlan(tuple(_link(net)), _cell_rules(net), _container_rules(net), _cell_cleanup(net))


def egress(cell: str, overlay_subnet: str, overlay_network: str) -> Transaction:
    """What leaves the overlay from the cell's containers leaves as the cell: nobody outside knows their addresses."""
    rule = Rule(
        table="nat",
        chain="POSTROUTING",
        source=overlay_subnet,
        destination=f"!{overlay_network}",
        target="MASQUERADE",
        comment=f"netlab: containers of {cell} leave the overlay as the cell",
    )
    return Transaction(table="nat", append=(rule,))


def mac(prefix: str, address: str) -> str:
    """A MAC that an address determines: `prefix` is `ee:ee` at the container's end and `aa:aa` at the cell's."""
    return ":".join([prefix, *(f"{octet:02x}" for octet in IPv4Address(address).packed)])


def _link(net: ContainerNet) -> list[Op]:
    cell, device = net.cell_namespace, net.host_device
    cell_mac, container_mac = mac("aa:aa", net.address), mac("ee:ee", net.address)
    return [
        CreateNamespace(net.namespace),
        CreateVeth(cell, device, net.namespace, DEVICE, mac=cell_mac, peer_mac=container_mac),
        # The peer address makes the kernel add the route to the container itself.
        AddAddress(cell, device, f"{GATEWAY}/32", peer=net.address),
        AddNeighbour(cell, device, net.address, container_mac),
        SetSysctl(cell, f"net/ipv4/conf/{device}/rp_filter", "1"),
        AddAddress(net.namespace, DEVICE, f"{net.address}/32", peer=GATEWAY),
        AddNeighbour(net.namespace, DEVICE, GATEWAY, cell_mac),
        AddRoute(net.namespace, "default", via=GATEWAY, device=DEVICE),
        SetSysctl(net.namespace, f"net/ipv4/conf/{DEVICE}/rp_filter", "1"),
        # Apps run unprivileged and may listen on port 80 all the same.
        SetSysctl(net.namespace, "net.ipv4.ip_unprivileged_port_start", "0"),
    ]


def _cell_rules(net: ContainerNet) -> Transaction:
    forward = tuple(
        Rule(
            "nat",
            net.chain,
            "DNAT",
            (("to-destination", f"{net.address}:{pair.app_port}"),),
            protocol="tcp",
            destination=net.cell_address,
            matches=(_dport(pair.host_port),),
            comment=_comment("ingress to", net, f"app port {pair.app_port}"),
        )
        for pair in net.ports
    )
    return Transaction("nat", create_chains=(net.chain,), append=(*forward, _jump(net)))


def _cell_cleanup(net: ContainerNet) -> Transaction:
    return Transaction("nat", delete=(_jump(net),), delete_chains=(net.chain,))


def _jump(net: ContainerNet) -> Rule:
    return Rule("nat", "PREROUTING", net.chain, comment=_comment("host ports of", net))


def _container_rules(net: ContainerNet) -> Transaction:
    exempt = tuple(
        Rule(
            "nat",
            INBOUND_CHAIN,
            "RETURN",
            protocol="tcp",
            matches=(_dport(port),),
            comment=_comment("not through the sidecar of", net, purpose),
        )
        for port, purpose in EXEMPT.items()
    )
    capture = tuple(
        Rule(
            "nat",
            INBOUND_CHAIN,
            "DNAT",
            (("to-destination", f"{net.address}:{SIDECAR_PORT}"),),
            protocol="tcp",
            matches=(_dport(pair.app_port),),
            comment=_comment("sidecar of", net, f"app port {pair.app_port}"),
        )
        for pair in net.ports
        if pair.app_port not in EXEMPT
    )
    jump = Rule("nat", "PREROUTING", INBOUND_CHAIN, protocol="tcp", comment=_comment("inbound to", net))
    return Transaction("nat", create_chains=(INBOUND_CHAIN,), append=(*exempt, *capture, jump))


def _dport(port: int) -> Match:
    return Match("tcp", (("dport", str(port)),))


def _comment(purpose: str, net: ContainerNet, *details: str) -> str:
    return ", ".join([f"netlab: {purpose} {net.app_name}/{net.index} ({net.handle})", *details])


def port_pairs(app_ports: Sequence[int], host_ports: Sequence[int]) -> tuple[PortPair, ...]:
    """Each app port with the host port that leads to it."""
    return tuple(PortPair(app, host) for app, host in zip(app_ports, host_ports, strict=True))
