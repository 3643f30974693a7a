"""Copilot's memory: routes, mappings, associations and instances, and which hosts a change touches.

Every change marks the hosts whose Istio resources it may alter, so that publishing costs as much as the change
and not as much as the mesh.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from netlab.copilot.generate import DEFAULT_PORT
from netlab.copilot.instances import Instances
from netlab.copilot.model import Backend, Destination, HostKey, HostView, PathRoute, Route

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass
class State:
    """All of it, in one place; not for several threads. `on_change` is called after hosts became dirty."""

    on_change: Callable[[], None] = lambda: None
    routes: dict[str, Route] = field(default_factory=dict)
    mappings: dict[tuple[str, str], int] = field(default_factory=dict)
    """Weight by (route guid, CAPI process guid)."""
    associations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Diego process guids by CAPI process guid."""
    instances: Instances = field(default_factory=Instances)
    dirty: set[HostKey] = field(default_factory=set)
    _routes_of_host: defaultdict[HostKey, set[str]] = field(default_factory=lambda: defaultdict(set))
    _processes_of_route: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _routes_of_process: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _processes_of_diego: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _last_port: dict[str, int] = field(default_factory=dict)

    # ---- what the Cloud Controller tells

    def upsert_route(self, route: Route) -> None:
        """Add a route, or change the one of that guid."""
        self._set_route(route)
        self._notify()

    def delete_route(self, guid: str) -> None:
        """Forget a route; an unknown one is fine."""
        self._drop_route(guid)
        self._notify()

    def map_route(self, route: str, process: str, weight: int) -> None:
        """Map a process to a route (guids), or change the weight; twice is the same as once."""
        self._set_mapping(route, process, weight)
        self._notify()

    def unmap_route(self, route: str, process: str) -> None:
        """Undo `map_route`; an unknown mapping is fine."""
        self._drop_mapping(route, process)
        self._notify()

    def upsert_association(self, process: str, diego_processes: Iterable[str]) -> None:
        """Say which Diego processes run a CAPI process."""
        self._set_association(process, tuple(diego_processes))
        self._notify()

    def delete_association(self, process: str) -> None:
        """The CAPI process runs nowhere any more; an unknown one is fine."""
        self._set_association(process, ())
        self._notify()

    def sync(
        self,
        routes: Mapping[str, Route],
        mappings: Mapping[tuple[str, str], int],
        associations: Mapping[str, tuple[str, ...]],
    ) -> None:
        """Replace all three at once; only hosts for which something differs become dirty."""
        for guid in self.routes.keys() - routes.keys():
            self._drop_route(guid)
        for route in routes.values():
            self._set_route(route)
        for key in self.mappings.keys() - mappings.keys():
            self._drop_mapping(*key)
        for (guid, process), weight in mappings.items():
            self._set_mapping(guid, process, weight)
        for process in self.associations.keys() - associations.keys():
            self._set_association(process, ())
        for process, diego in associations.items():
            self._set_association(process, diego)
        self._notify()

    # ---- what BBS tells

    def instances_changed(self, diego_processes: Iterable[str]) -> None:
        """The instances of these Diego processes changed."""
        for diego in diego_processes:
            for process in self._processes_of_diego.get(diego, ()):
                self._touch_process(process)
        self._notify()

    # ---- what is made of it

    def take_dirty(self) -> list[HostKey]:
        """The hosts that changed since the last call, in a stable order."""
        taken, self.dirty = sorted(self.dirty), set()
        return taken

    def view(self, key: HostKey) -> HostView:
        """A host with its routes, their destinations and those's instances."""
        routes = sorted((self.routes[guid] for guid in self._routes_of_host.get(key, ())), key=lambda r: r.guid)
        by_path: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for route in routes:
            for process in self._processes_of_route.get(route.guid, ()):
                by_path[route.path][process] = self.mappings[route.guid, process]
        paths = tuple(
            PathRoute(path, tuple(self._destination(process, weight) for process, weight in sorted(found.items())))
            for path, found in sorted(by_path.items())
        )
        return HostView(key, next((r.vip for r in routes if r.vip), ""), paths)

    def vip_of(self, host: str) -> str | None:
        """The virtual IP of an internal host, if there is such a host."""
        guids = self._routes_of_host.get(HostKey(host.lower(), True), set())
        vips = sorted(self.routes[guid].vip for guid in guids)
        return next((vip for vip in vips if vip), None)

    def _destination(self, process: str, weight: int) -> Destination:
        backends = self._backends(process)
        if backends:
            self._last_port[process] = backends[0].container_port
        return Destination(process, weight, self._last_port.get(process, DEFAULT_PORT), backends)

    def _backends(self, process: str) -> tuple[Backend, ...]:
        diego = self.associations.get(process, ())
        return tuple(sorted({b for guid in diego for b in self.instances.backends(guid)}))

    def _set_route(self, route: Route) -> None:
        if self.routes.get(route.guid) == route:
            return
        self._drop_route(route.guid)
        self.routes[route.guid] = route
        self._routes_of_host[route.key].add(route.guid)
        self.dirty.add(route.key)

    def _drop_route(self, guid: str) -> None:
        route = self.routes.pop(guid, None)
        if route:
            _discard(self._routes_of_host, route.key, guid)
            self.dirty.add(route.key)

    def _set_mapping(self, route: str, process: str, weight: int) -> None:
        if self.mappings.get((route, process)) == weight:
            return
        self.mappings[route, process] = weight
        self._processes_of_route[route].add(process)
        self._routes_of_process[process].add(route)
        self._touch_route(route)

    def _drop_mapping(self, route: str, process: str) -> None:
        if self.mappings.pop((route, process), None) is None:
            return
        _discard(self._processes_of_route, route, process)
        _discard(self._routes_of_process, process, route)
        self._touch_route(route)

    def _set_association(self, process: str, diego_processes: tuple[str, ...]) -> None:
        old = self.associations.pop(process, ())
        if diego_processes:
            self.associations[process] = diego_processes
        if old == diego_processes:
            return
        for guid in old:
            _discard(self._processes_of_diego, guid, process)
        for guid in diego_processes:
            self._processes_of_diego[guid].add(process)
        self._touch_process(process)

    def _touch_process(self, process: str) -> None:
        for route in self._routes_of_process.get(process, ()):
            self._touch_route(route)

    def _touch_route(self, guid: str) -> None:
        route = self.routes.get(guid)
        if route:
            self.dirty.add(route.key)

    def _notify(self) -> None:
        if self.dirty:
            self.on_change()


def _discard(index: defaultdict[_K, set[_V]], key: _K, value: _V) -> None:
    """Remove `value` from the set at `key`, and the set once it is empty."""
    index[key].discard(value)
    if not index[key]:
        del index[key]
