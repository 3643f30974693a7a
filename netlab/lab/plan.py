"""From a topology to what is to be made of it: kernel operations and nodes. Pure: nothing here touches anything."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from netlab.kernel.ops import (
    AddAddress,
    AddRoute,
    CreateBridge,
    CreateNamespace,
    CreateVeth,
    Op,
    SetSysctl,
)
from netlab.lab.paths import LabPaths
from netlab.topology.addressing import CELL_DNS, LabAddresses

FABRIC = "fabric"
"""The namespace of the bridges; nobody has an address there."""
PUBLIC = "public"
DEPLOYMENT = "deployment"


@dataclass(frozen=True)
class Vm:
    """A VM: its kind, the network its eth0 is on, and its address there."""

    name: str
    kind: str
    network: str
    address: str


def vms(addresses: LabAddresses) -> tuple[Vm, ...]:
    """Every VM of the lab but the load balancer, which alone has two interfaces."""
    return (
        Vm("client", "client", PUBLIC, addresses.client),
        Vm("api", "api", DEPLOYMENT, addresses.api),
        Vm("diego-api", "diego-api", DEPLOYMENT, addresses.diego_api),
        Vm("control", "control", DEPLOYMENT, addresses.control),
        *(Vm(router.name, "router", DEPLOYMENT, router.address) for router in addresses.routers),
        *(Vm(cell.name, "cell", DEPLOYMENT, cell.address) for cell in addresses.cells),
    )


def resolver(vm: str, addresses: LabAddresses) -> str:
    """The DNS server in a VM's resolv.conf."""
    return addresses.lb_public if vm == "client" else addresses.lb_deployment


def fabric(addresses: LabAddresses, paths: LabPaths) -> list[Op]:
    """The operations that make the lab's namespaces, links, addresses, routes and settings."""
    ns = paths.namespace
    bridges = ns(FABRIC)
    ops: list[Op] = [
        CreateNamespace(bridges),
        CreateBridge(bridges, PUBLIC),
        CreateBridge(bridges, DEPLOYMENT),
        CreateNamespace(ns("lb")),
        _port(bridges, ns("lb"), "lb-public", PUBLIC, PUBLIC, addresses.lb_public),
        _port(bridges, ns("lb"), "lb-deployment", DEPLOYMENT, DEPLOYMENT, addresses.lb_deployment),
        AddAddress(ns("lb"), PUBLIC, addresses.on_public(addresses.lb_public)),
        AddAddress(ns("lb"), PUBLIC, f"{addresses.vip}/32"),
        AddAddress(ns("lb"), PUBLIC, f"{addresses.system_vip}/32"),
        AddAddress(ns("lb"), DEPLOYMENT, addresses.on_deployment(addresses.lb_deployment)),
        SetSysctl(ns("lb"), "net.ipv4.ip_forward", "1"),
    ]
    for vm in vms(addresses):
        public = vm.network == PUBLIC
        ops += [
            CreateNamespace(ns(vm.name)),
            _port(bridges, ns(vm.name), vm.name, vm.network, "eth0", vm.address),
            AddAddress(
                ns(vm.name), "eth0", addresses.on_public(vm.address) if public else addresses.on_deployment(vm.address)
            ),
            AddRoute(ns(vm.name), "default", via=addresses.lb_public if public else addresses.lb_deployment),
        ]
        if not public:
            ops += [
                AddRoute(ns(vm.name), cell.overlay_subnet, via=cell.address)
                for cell in addresses.cells
                if cell.name != vm.name
            ]
        if vm.kind == "cell":
            ops += [
                SetSysctl(ns(vm.name), "net.ipv4.ip_forward", "1"),
                AddAddress(ns(vm.name), "lo", f"{CELL_DNS}/32"),
            ]
        if vm.kind == "router":
            # The ingress Envoy is unprivileged and listens on port 80.
            ops.append(SetSysctl(ns(vm.name), "net.ipv4.ip_unprivileged_port_start", "0"))
    return ops


def _port(bridges: str, namespace: str, name: str, bridge: str, device: str, address: str) -> Op:
    """A VM's link to a bridge. Its MAC comes from its address, so that captures of two runs look alike."""
    return CreateVeth(
        namespace=bridges,
        name=name,
        peer_namespace=namespace,
        peer_name=device,
        peer_mac="02:00:" + ":".join(f"{octet:02x}" for octet in IPv4Address(address).packed),
        bridge=bridge,
    )
