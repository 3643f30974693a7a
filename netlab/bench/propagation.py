"""`netlab bench propagation`: from CAPI's answer to a map-route until every router answers 200."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any

from netlab.bench.figures import distribution
from netlab.capi import app_actions, route_actions
from netlab.capi.client import CapiClient
from netlab.errors import MeshError
from netlab.lab import state, verify
from netlab.lab.state import LabState

LIMIT_SECONDS = 10.0
"""How long one change may take before the benchmark gives up."""


async def task(params: dict[str, Any], _emit: Callable[[dict[str, Any]], None]) -> dict[str, float]:
    """Map `changes` new routes, one by one, to the lab's first app; run it on the client.

    Beside the propagation it measures one request to a router that serves the route already: the floor, which
    each measurement contains once.
    """
    lab = state.read(params["lab"])
    routers = [node["address"] for node in lab["nodes"].values() if node["kind"] == "router"]
    async with CapiClient(**lab["capi"]) as client:
        app, known = await _app_and_route(client)
        floor = [await _timed_request(routers[0], known) for _ in range(20)]
        spread = [await _measure(client, lab, app, number, routers) for number in range(params["changes"])]
    return {
        **distribution(spread),
        "changes": float(len(spread)),
        "routers": float(len(routers)),
        "request_p50_ms": distribution(floor)["p50_ms"],
    }


async def _app_and_route(client: CapiClient) -> tuple[str, str]:
    for app in await app_actions.apps(client):
        if app["running"] and app["routes"]:
            return app["name"], app["routes"][0]
    raise MeshError("the lab has no running app with a route", hint="`netlab push NAME -r HOST.DOMAIN` makes one")


async def _measure(client: CapiClient, lab: LabState, app: str, number: int, routers: list[str]) -> float:
    """Seconds from CAPI's answer until the last router serves the new route."""
    route = f"bench-{os.getpid()}-{number}.{lab['domains'][0]}"
    # The requests begin before CAPI has answered: a route that is up sooner must not count as slow.
    waiting = [asyncio.create_task(_served_at(address, route)) for address in routers]
    await route_actions.map_route(client, name=app, route=route)
    answered = time.monotonic()
    served = await asyncio.gather(*waiting)
    await route_actions.delete_route(client, route=route)
    return max(0.0, *(moment - answered for moment in served))


async def _served_at(address: str, route: str) -> float:
    """When the first 200 came."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while await verify.status(address, route) != 200:
        if time.monotonic() > deadline:
            raise MeshError(f"{route} does not answer 200 at {address} after {LIMIT_SECONDS:g} s", route=route)
        await asyncio.sleep(0.001)
    return time.monotonic()


async def _timed_request(address: str, route: str) -> float:
    started = time.monotonic()
    if await verify.status(address, route) != 200:
        raise MeshError(f"{route} does not answer 200 at {address}", hint="netlab status")
    return time.monotonic() - started
