"""Whether an object that stands in an operation's way is the very one that the operation would make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from netlab.kernel import netns, observe, rtnetlink
from netlab.kernel.ops import AddRoute, CreateBridge, CreateVeth, Op


class Comparison:
    """Compares operations of one namespace with what stands there; reads each namespace once.

    The calling thread stands in the operations' namespace; `paths` says where those of the peers are.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = paths
        self._routes: list[observe.Route] | None = None
        self._links: dict[str | None, dict[str, observe.Link]] = {}

    def difference(self, op: Op) -> str:
        """How the existing object differs from what `op` asks for; empty if it does not."""
        match op:
            case CreateBridge():
                link = self._link(op.name)
                return "" if link and link.kind == "bridge" else _other(link, "bridge")
            case CreateVeth():
                return self._veth_difference(op)
            case AddRoute():
                return self._route_difference(op)
            case _:
                # The kernel reports an address only if device, address, length and peer are all the same.
                return ""

    def _link(self, name: str, namespace: str | None = None) -> observe.Link | None:
        if namespace not in self._links:
            if namespace is None:
                found = observe.links()
            else:
                with netns.entered(self._paths[namespace]):
                    found = observe.links()
            self._links[namespace] = {link.name: link for link in found}
        return self._links[namespace].get(name)

    def _veth_difference(self, op: CreateVeth) -> str:
        first, second = self._link(op.name), self._link(op.peer_name, op.peer_namespace)
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
        bridge = self._link(op.bridge) if op.bridge else None
        if first.master != (bridge.index if bridge else 0):
            return f"{op.name} is not a port of {op.bridge}" if bridge else f"{op.name} is a port of a bridge"
        return ""

    def _route_difference(self, op: AddRoute) -> str:
        if self._routes is None:
            self._routes = observe.routes()
        device = self._link(op.device) if op.device else None
        scope = rtnetlink.SCOPES[op.scope] if op.scope else None
        found = [route for route in self._routes if _same_network(route.destination, op.destination)]
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


def _other(link: observe.Link | None, wanted: str) -> str:
    return f"a {link.kind or 'device'} and no {wanted}" if link else f"but no {wanted} of that name"


def _same_network(left: str, right: str) -> bool:
    return left.removesuffix("/32") == right.removesuffix("/32").replace("0.0.0.0/0", "default")
