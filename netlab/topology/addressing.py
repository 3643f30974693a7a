"""Every address of a lab, computed from its topology alone.

Addresses are text (`10.0.1.2`), networks are text with a prefix length (`10.255.1.0/24`): that is what the
kernel operations and the components' configurations take.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

from netlab.topology.models import Topology

CONTAINER_GATEWAY = "169.254.0.1"
"""The containers' default gateway, on the cell's side of each container's veth."""
CELL_DNS = "169.254.0.2"
"""The lab's DNS server as seen from a cell and its containers."""

_LB, _VIP, _SYSTEM_VIP, _CLIENT = 1, 10, 11, 100
_API, _DIEGO_API, _CONTROL = 10, 11, 12
_ROUTERS, _CELLS = 256, 512


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A VM on the deployment network."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class CellAddress(NodeAddress):
    """A cell: its own address, and the part of the overlay that its containers get (.2 upward)."""

    overlay_subnet: str


@dataclass(frozen=True, slots=True)
class LabAddresses:
    """The fixed addresses of a lab; `public`, `deployment`, `overlay` and `internal_vips` are its networks."""

    public: str
    deployment: str
    overlay: str
    internal_vips: str
    lb_public: str
    lb_deployment: str
    vip: str
    system_vip: str
    client: str
    api: str
    diego_api: str
    control: str
    routers: tuple[NodeAddress, ...]
    cells: tuple[CellAddress, ...]

    def on_public(self, address: str) -> str:
        """The address with the public network's prefix length, as an interface takes it."""
        return f"{address}/{self.public.partition('/')[2]}"

    def on_deployment(self, address: str) -> str:
        """The address with the deployment network's prefix length, as an interface takes it."""
        return f"{address}/{self.deployment.partition('/')[2]}"


def _at(network: IPv4Network, offset: int) -> str:
    return str(network.network_address + offset)


def addresses(topology: Topology) -> LabAddresses:
    """The addresses of a valid topology, always the same for the same topology."""
    nets = topology.addressing
    overlay = nets.overlay
    return LabAddresses(
        public=str(nets.public),
        deployment=str(nets.deployment),
        overlay=str(overlay),
        internal_vips=str(nets.internal_vips),
        lb_public=_at(nets.public, _LB),
        lb_deployment=_at(nets.deployment, _LB),
        vip=_at(nets.public, _VIP),
        system_vip=_at(nets.public, _SYSTEM_VIP),
        client=_at(nets.public, _CLIENT),
        api=_at(nets.deployment, _API),
        diego_api=_at(nets.deployment, _DIEGO_API),
        control=_at(nets.deployment, _CONTROL),
        routers=tuple(
            NodeAddress(f"router-{n}", _at(nets.deployment, _ROUTERS + n)) for n in range(1, topology.routers + 1)
        ),
        cells=tuple(
            CellAddress(
                name=f"cell-{n}",
                address=_at(nets.deployment, _CELLS + n),
                overlay_subnet=f"{_at(overlay, 256 * n)}/24",
            )
            for n in range(1, topology.cells + 1)
        ),
    )
