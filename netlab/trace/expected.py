"""The path that the lab's declarations promise to one request. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netlab.errors import UsageError
from netlab.trace.routes import Route, Routes
from netlab.trace.subject import INGRESS_PORT, Instance, Subject

_NAMED = 8


@dataclass(frozen=True, slots=True)
class Way:
    """One instance that the request may go to, and the ports on its way."""

    instance: Instance
    app_port: int
    host_port: int

    @property
    def endpoint(self) -> str:
        """Where the routers send requests for it: the cell's end of the way."""
        return f"{self.instance.cell_address}:{self.host_port}"


@dataclass(frozen=True, slots=True)
class Declared:
    """Where the request must go: through one of the routers, to one of the instances."""

    route: Route
    origin: str
    """Where the route was read: `capi` or `topology`."""
    client: str
    balancer: str
    routers: tuple[str, ...]
    ways: tuple[Way, ...]
    problem: str | None = None
    """Why the route was not read from CAPI."""

    def way_behind(self, endpoint: str) -> Way | None:
        """The way that begins at a cell's `ip:port`, if it is one of the route's."""
        return next((way for way in self.ways if way.endpoint == endpoint), None)

    def way(self, node: str | None) -> Way | None:
        """The way to an instance, if it is one of the route's."""
        return next((way for way in self.ways if way.instance.node == node), None)

    def path(self, router: str | None, node: str | None) -> list[str]:
        """The declared path, through that router and to that instance if they are on one.

        Otherwise the place says which ones would have been right.
        """
        way = self.way(node)
        instances = [each.instance for each in self.ways]
        container = way.instance.node if way else _one_of([instance.node for instance in instances])
        cell = way.instance.cell if way else _one_of(sorted({instance.cell for instance in instances}))
        middle = router if router in self.routers else _one_of(self.routers)
        return [self.client, self.balancer, middle, cell, container, sidecar_of(container), app_of(container)]


def sidecar_of(container: str) -> str:
    """The name of a container's sidecar in a path."""
    return f"{container}/sidecar"


def app_of(container: str) -> str:
    """The name of a container's app in a path."""
    return f"{container}/app"


def declare(subject: Subject, routes: Routes, host: str, path: str) -> Declared:
    """The declared path of a request for `host` and `path`.

    Raises UsageError, which names the lab's routes, if it has no route for it.
    """
    route = routes.find(host, path)
    if route is None:
        raise _unknown(subject, routes, host, path)
    return Declared(
        route=route,
        origin=routes.origin,
        client=subject.client.name,
        balancer=subject.balancer.name,
        routers=tuple(vm.name for vm in subject.of_kind("router")),
        ways=tuple(_ways(subject, route)),
        problem=routes.problem,
    )


def _ways(subject: Subject, route: Route) -> list[Way]:
    found = []
    for destination in route.destinations:
        for instance in subject.instances:
            same = (
                instance.app_guid == destination.app_guid
                if destination.app_guid is not None
                else instance.app_name == destination.app_name
            )
            if not same or instance.state != "RUNNING":
                continue
            app_port = destination.port if destination.port is not None else instance.ports[0][0]
            host_port = instance.host_port(app_port)
            if host_port is not None:
                found.append(Way(instance, app_port, host_port))
    return found


def _unknown(subject: Subject, routes: Routes, host: str, path: str) -> UsageError:
    urls = sorted(f"http://{route.host}{route.path or '/'}" for route in routes.routes)
    more = f" and {len(urls) - _NAMED} more" if len(urls) > _NAMED else ""
    hint = (
        f"its routes are {', '.join(urls[:_NAMED])}{more}" if urls else "it has no routes; `netlab map-route` makes one"
    )
    port = "" if INGRESS_PORT == 80 else f":{INGRESS_PORT}"
    return UsageError(f"lab {subject.name} has no route for http://{host}{port}{path}", hint=hint, routes=urls)


def _one_of(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"one of {', '.join(names)}" if names else "none"
