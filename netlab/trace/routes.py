"""The routes that a lab declares: what CAPI has, or else what the topology asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netlab.errors import MeshError
from netlab.kernel import netns
from netlab.trace.subject import Subject

CAPI_SECONDS = 2.0
"""How long CAPI may take before the topology has to do."""


@dataclass(frozen=True, slots=True)
class Destination:
    """An app behind a route; `port` is None if it is the app's own."""

    app_name: str
    app_guid: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One route: every request for `host` whose path is at or below `path`."""

    host: str
    path: str
    destinations: tuple[Destination, ...]

    @property
    def url(self) -> str:
        """The route as people write it."""
        return self.host + self.path

    def matches(self, host: str, path: str) -> bool:
        """Whether a request is this route's; a path ends at a segment's boundary."""
        prefix = self.path.rstrip("/")
        return host == self.host and (not prefix or path == prefix or path.startswith(prefix + "/"))


@dataclass(frozen=True, slots=True)
class Routes:
    """All routes, and where they were read."""

    routes: tuple[Route, ...]
    origin: str
    problem: str | None = None
    """Why a better origin could not be had."""

    def find(self, host: str, path: str) -> Route | None:
        """The route of a request, which is the one with the longest path."""
        found = [route for route in self.routes if route.matches(host, path)]
        return max(found, key=lambda route: len(route.path), default=None)


def declared_routes(subject: Subject) -> Routes:
    """Ask CAPI from the client's namespace; if it does not answer, take the routes of the topology."""
    if subject.capi is None:
        return Routes(from_topology(subject.topology), "topology")
    arguments = dict(subject.capi)

    def ask() -> list[dict[str, Any]]:
        netns.enter(subject.client.namespace)
        return asyncio.run(_ask(arguments))

    try:
        return Routes(from_capi(netns.in_thread(ask)), "capi")
    except (MeshError, TimeoutError) as error:
        problem = str(error) or f"CAPI did not answer within {CAPI_SECONDS:g} s"
        return Routes(from_topology(subject.topology), "topology", problem)


async def _ask(arguments: Mapping[str, str]) -> list[dict[str, Any]]:
    from netlab.capi import route_actions
    from netlab.capi.client import CapiClient

    async with asyncio.timeout(CAPI_SECONDS), CapiClient(**arguments) as client:
        return await route_actions.routes(client)


def from_capi(found: Iterable[Mapping[str, Any]]) -> tuple[Route, ...]:
    """The routes in CAPI's documents."""
    return tuple(
        Route(
            host=f"{route['host']}.{route['domain']}" if route["host"] else route["domain"],
            path=route["path"],
            destinations=tuple(
                Destination(each["app"], each["app_guid"], each["port"]) for each in route["destinations"]
            ),
        )
        for route in found
    )


def from_topology(topology: Mapping[str, Any]) -> tuple[Route, ...]:
    """The routes that a topology's apps ask for."""
    destinations: dict[str, list[Destination]] = {}
    for app in topology.get("apps", ()):
        for route in app.get("routes", ()):
            destinations.setdefault(route, []).append(Destination(app["name"]))
    made = []
    for route, apps in destinations.items():
        host, slash, path = route.partition("/")
        made.append(Route(host, slash + path, tuple(apps)))
    return tuple(made)
