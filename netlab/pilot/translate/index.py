"""The configuration by what translation asks for: services, rules and routes by host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from netlab.pilot.source.objects import Change, Key, Object
from netlab.protocols import mcp_collections as collections
from netlab.protocols import networking_pb2 as istio

MESH_GATEWAY = "mesh"


@dataclass
class Touched:
    """What a batch of changes may alter."""

    services: set[str] = field(default_factory=set)
    """Hosts whose ServiceEntry or DestinationRule changed."""
    routes: set[str] = field(default_factory=set)
    """Hosts whose VirtualServices changed."""
    gateways: bool = False


@dataclass
class Index:
    """Objects by the hosts they speak of."""

    gateways: dict[Key, Object] = field(default_factory=dict)
    _services: defaultdict[str, dict[Key, Object]] = field(default_factory=lambda: defaultdict(dict))
    _rules: defaultdict[str, dict[Key, Object]] = field(default_factory=lambda: defaultdict(dict))
    _routes: defaultdict[str, dict[Key, Object]] = field(default_factory=lambda: defaultdict(dict))

    def apply(self, changes: Iterable[Change]) -> Touched:
        """Take over what changed; returns what has to be translated again."""
        touched = Touched()
        for change in changes:
            match change.key.collection:
                case collections.GATEWAYS:
                    _put(self.gateways, change.key, change.new)
                    touched.gateways = True
                case collections.SERVICE_ENTRIES:
                    touched.services |= _move(self._services, change, _entry_hosts)
                case collections.DESTINATION_RULES:
                    touched.services |= _move(self._rules, change, _rule_hosts)
                case collections.VIRTUAL_SERVICES:
                    touched.routes |= _move(self._routes, change, _route_hosts)
        return touched

    def service(self, host: str) -> istio.ServiceEntry | None:
        """The ServiceEntry of a host; of several the first."""
        found = _ordered(self._services, host)
        return cast("istio.ServiceEntry", found[0].body) if found else None

    def rules(self, host: str) -> list[istio.DestinationRule]:
        """The DestinationRules of a host, the one with precedence first."""
        return [cast("istio.DestinationRule", item.body) for item in _ordered(self._rules, host)]

    def routes(self, host: str) -> list[Object]:
        """The VirtualServices of a host, in order."""
        return _ordered(self._routes, host)

    def route_hosts(self) -> Sequence[str]:
        """Every host that a VirtualService is for."""
        return list(self._routes)


def bound_gateways(item: Object) -> set[Key]:
    """The gateways that a VirtualService is bound to; none if it is for the mesh's sidecars only."""
    body = cast("istio.VirtualService", item.body)
    found = set()
    for name in body.gateways:
        if name != MESH_GATEWAY:
            full = name if "/" in name else f"{item.key.namespace}/{name}"
            found.add(Key.parse(collections.GATEWAYS, full.lstrip("/")))
    return found


def _entry_hosts(item: Object) -> Iterable[str]:
    return (host.lower() for host in cast("istio.ServiceEntry", item.body).hosts)


def _rule_hosts(item: Object) -> Iterable[str]:
    return (cast("istio.DestinationRule", item.body).host.lower(),)


def _route_hosts(item: Object) -> Iterable[str]:
    return (host.lower() for host in cast("istio.VirtualService", item.body).hosts)


def _ordered(table: dict[str, dict[Key, Object]], host: str) -> list[Object]:
    found = table.get(host)
    return sorted(found.values(), key=lambda item: item.order) if found else []


def _put(table: dict[Key, Object], key: Key, item: Object | None) -> None:
    if item is None:
        table.pop(key, None)
    else:
        table[key] = item


def _move(
    table: defaultdict[str, dict[Key, Object]], change: Change, hosts_of: Callable[[Object], Iterable[str]]
) -> set[str]:
    """Move an object from its old hosts to its new ones; returns both."""
    before = set(hosts_of(change.old)) if change.old else set()
    after = set(hosts_of(change.new)) if change.new else set()
    for host in before - after:
        table[host].pop(change.key, None)
        if not table[host]:
            del table[host]
    for host in after:
        _put(table[host], change.key, change.new)
    return before | after
