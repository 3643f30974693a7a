"""Whether an object that stands in an operation's way is the very one that the operation would make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netlab.kernel import netns, observe, rtnetlink
from netlab.kernel.ops import AddRoute, CreateBridge, CreateVeth, Op


def difference(op: Op, paths: Mapping[str, Path]) -> str:
    """How the existing object differs from what `op` asks for; empty if it does not.

    The calling thread stands in the operation's namespace; `paths` says where those of the peers are.
    """
    match op:
        case CreateBridge():
            link = _link(op.name)
            return "" if link and link.kind == "bridge" else _other(link, "bridge")
        case CreateVeth():
            return _veth_difference(op, paths)
        case AddRoute():
            return _route_difference(op)
        case _:
            # The kernel reports an address only if device, address, length and peer are all the same.
            return ""


def _link(name: str) -> observe.Link | None:
    return next((link for link in observe.links() if link.name == name), None)


def _other(link: observe.Link | None, wanted: str) -> str:
    return f"a {link.kind or 'device'} and no {wanted}" if link else f"but it is no {wanted} of that name"


def _veth_difference(op: CreateVeth, paths: Mapping[str, Path]) -> str:
    first = _link(op.name)
    with netns.entered(paths[op.peer_namespace]):
        second = _link(op.peer_name)
    if first is None or second is None:
        return f"at one end only ({op.name if first else op.peer_name})"
    if (first.kind, second.kind) != ("veth", "veth"):
        return _other(first if first.kind != "veth" else second, "veth")
    if (first.peer_index, second.peer_index) != (second.index, first.index):
        return f"but {op.name} and {op.peer_name} are not each other's ends"
    for end, link, mac in ((op.name, first, op.mac), (op.peer_name, second, op.peer_mac)):
        if mac is not None and link.mac.lower() != mac.lower():
            return f"{end} has the address {link.mac} instead of {mac}"
        if link.mtu != op.mtu:
            return f"{end} has an MTU of {link.mtu} instead of {op.mtu}"
    bridge = _link(op.bridge) if op.bridge else None
    if first.master != (bridge.index if bridge else 0):
        return f"{op.name} is not a port of {op.bridge}" if bridge else f"{op.name} is a port of a bridge"
    return ""


def _route_difference(op: AddRoute) -> str:
    device = _link(op.device) if op.device else None
    scope = rtnetlink.SCOPES[op.scope] if op.scope else None
    found = [route for route in observe.routes() if _same_network(route.destination, op.destination)]
    for route in found:
        if (
            route.via == op.via
            and (device is None or route.index == device.index)
            and (op.source is None or route.source == op.source)
            and (scope is None or route.scope == scope)
            and route.onlink == op.onlink
        ):
            return ""
    return f"via {found[0].via or 'no gateway'}" if found else "in another table"


def _same_network(left: str, right: str) -> bool:
    return left.removesuffix("/32") == right.removesuffix("/32").replace("0.0.0.0/0", "default")
