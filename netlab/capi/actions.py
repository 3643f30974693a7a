"""The words of the cf CLI as functions of a client: push, scale, map_route and so on.

Each raises MeshError with one line. A route is written as people write it: `host.domain` or
`host.domain/path`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from netlab.capi import lookup, waiting
from netlab.capi.client import CapiClient, Refused
from netlab.capi.weights import rescale
from netlab.errors import MeshError

Emit = Callable[[dict[str, Any]], None]
START_SECONDS = 60.0


def _silent(_event: dict[str, Any]) -> None:
    pass


async def push(
    client: CapiClient,
    *,
    name: str,
    instances: int = 1,
    port: int = 8080,
    env: Mapping[str, str] | None = None,
    command: str | None = None,
    directory: str | None = None,
    memory_mb: int | None = None,
    routes: Sequence[str] = (),
    timeout: float = START_SECONDS,
    emit: Emit = _silent,
) -> dict[str, Any]:
    """Create or update an app, map its routes, (re)start it and wait until all instances run."""
    started = time.monotonic()
    if directory is not None and command is None:
        raise MeshError(f"{name} has a directory but no command", hint="say how it is started")
    space, domains = await asyncio.gather(lookup.space_guid(client), lookup.domains_by_name(client))
    targets = [lookup.split(route, domains) for route in dict.fromkeys(routes)]
    lifecycle = {"type": "netlab", "data": {"directory": directory, "port": port}}
    app, created = await _upsert_app(client, name, space, lifecycle, dict(env or {}))
    guid = app["guid"]
    emit({"app": name, "step": "created" if created else "updated"})
    scale_to: dict[str, int] = {"instances": instances}
    if memory_mb is not None:
        scale_to["memory_in_mb"] = memory_mb
    steps = [client.post(f"/v3/processes/{guid}/actions/scale", scale_to)]
    if command is not None or not created:
        steps.append(client.patch(f"/v3/processes/{guid}", {"command": command}))
    await asyncio.gather(*steps, *(_map(client, guid, target, space) for target in targets))
    emit({"app": name, "step": "mapped", "routes": list(routes)})
    await client.post(f"/v3/apps/{guid}/actions/{'start' if created else 'restart'}")
    emit({"app": name, "step": "started", "instances": instances})
    stats = await waiting.wait_running(client, guid, name, timeout)
    emit({"app": name, "step": "running", "instances": instances})
    return {
        "name": name,
        "guid": guid,
        "created": created,
        "state": "STARTED",
        "instances": instances,
        "running": sum(each["state"] == "RUNNING" for each in stats),
        "routes": list(routes),
        "seconds": round(time.monotonic() - started, 3),
    }


async def apps(client: CapiClient) -> list[dict[str, Any]]:
    """Every app: name, guid, state, instances, how many run, routes; ordered by name."""
    space = await lookup.space_guid(client)
    listed, processes, all_routes = await asyncio.gather(
        client.list("/v3/apps", space_guids=space, order_by="name"),
        client.list("/v3/processes", space_guids=space),
        client.list("/v3/routes", space_guids=space),
    )
    wanted = {process["guid"]: process for process in processes}
    urls: dict[str, list[str]] = {}
    for route in all_routes:
        for app_guid in {destination["app"]["guid"] for destination in route["destinations"]}:
            urls.setdefault(app_guid, []).append(route["url"])
    running = await asyncio.gather(*(_running(client, app) for app in listed))
    return [
        {
            "name": app["name"],
            "guid": app["guid"],
            "state": app["state"],
            "instances": wanted[app["guid"]]["instances"],
            "running": count,
            "memory_mb": wanted[app["guid"]]["memory_in_mb"],
            "routes": urls.get(app["guid"], []),
        }
        for app, count in zip(listed, running, strict=True)
    ]


async def _running(client: CapiClient, app: Mapping[str, Any]) -> int:
    if app["state"] != "STARTED":
        return 0
    stats = await client.get(f"/v3/processes/{app['guid']}/stats")
    return sum(each["state"] == "RUNNING" for each in stats["resources"])


async def scale(client: CapiClient, *, name: str, instances: int, timeout: float = START_SECONDS) -> dict[str, Any]:
    """Change the number of instances and wait until so many run, unless the app is stopped."""
    app = await lookup.app_named(client, name)
    await client.post(f"/v3/processes/{app['guid']}/actions/scale", {"instances": instances})
    if app["state"] == "STARTED":
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {"name": name, "guid": app["guid"], "instances": instances, "state": app["state"]}


async def start(client: CapiClient, *, name: str, timeout: float = START_SECONDS) -> dict[str, Any]:
    """Start an app and wait until it runs."""
    return await _act(client, name, "start", timeout)


async def restart(client: CapiClient, *, name: str, timeout: float = START_SECONDS) -> dict[str, Any]:
    """Replace an app's instances by new ones and wait until they run."""
    return await _act(client, name, "restart", timeout)


async def restart_rolling(
    client: CapiClient, *, name: str, max_in_flight: int = 1, timeout: float = START_SECONDS
) -> dict[str, Any]:
    """Replace an app's instances by new ones while it serves; raises MeshError if the new ones do not come up."""
    app = await lookup.app_named(client, name)
    body = {
        "relationships": {"app": {"data": {"guid": app["guid"]}}},
        "strategy": "rolling",
        "options": {"max_in_flight": max_in_flight},
    }
    deployment = await client.post("/v3/deployments", body)
    await waiting.wait_deployed(client, deployment["guid"], name, timeout)
    if app["state"] != "STARTED":
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {"name": name, "guid": app["guid"], "state": "STARTED", "deployment": deployment["guid"]}


async def stop(client: CapiClient, *, name: str) -> dict[str, Any]:
    """Stop an app."""
    return await _act(client, name, "stop", None)


async def _act(client: CapiClient, name: str, action: str, timeout: float | None) -> dict[str, Any]:
    app = await lookup.app_named(client, name)
    app = await client.post(f"/v3/apps/{app['guid']}/actions/{action}")
    if timeout is not None:
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {"name": name, "guid": app["guid"], "state": app["state"]}


async def delete_app(client: CapiClient, *, name: str) -> dict[str, Any]:
    """Delete an app; its routes stay, without it."""
    app = await lookup.app_named(client, name)
    await client.delete(f"/v3/apps/{app['guid']}")
    return {"name": name, "guid": app["guid"], "deleted": True}


async def routes(client: CapiClient) -> list[dict[str, Any]]:
    """Every route: url, host, domain, path, and its destinations with the names of their apps."""
    space = await lookup.space_guid(client)
    listed, found, domains = await asyncio.gather(
        client.list("/v3/routes", space_guids=space),
        client.list("/v3/apps", space_guids=space),
        lookup.domains_by_name(client),
    )
    names = {app["guid"]: app["name"] for app in found}
    by_guid = {domain["guid"]: name for name, domain in domains.items()}
    return [
        {
            "guid": route["guid"],
            "url": route["url"],
            "host": route["host"],
            "domain": by_guid.get(route["relationships"]["domain"]["data"]["guid"], ""),
            "path": route["path"],
            "destinations": [
                {
                    "app": names.get(destination["app"]["guid"], destination["app"]["guid"]),
                    "app_guid": destination["app"]["guid"],
                    "port": destination["port"],
                    "weight": destination["weight"],
                }
                for destination in route["destinations"]
            ],
        }
        for route in listed
    ]


async def map_route(client: CapiClient, *, name: str, route: str, weight: int | None = None) -> dict[str, Any]:
    """Map a route to an app, and make the route if it is new.

    With a weight the app gets that percentage and the route's other apps share the rest as they did before.
    """
    space, domains, app = await asyncio.gather(
        lookup.space_guid(client), lookup.domains_by_name(client), lookup.app_named(client, name)
    )
    target = lookup.split(route, domains)
    if weight is None:
        guid = await _map(client, app["guid"], target, space)
        return {"route": route, "route_guid": guid, "app": name, "app_guid": app["guid"]}
    guid = await _find_or_create_route(client, target, space)
    document = await client.get(f"/v3/routes/{guid}/destinations")
    others = [each for each in document["destinations"] if each["app"]["guid"] != app["guid"]]
    if not others and weight != 100:
        raise MeshError(f"{name} is the only app of {route}: its weight can only be 100")
    entries: list[dict[str, Any]] = [{"app": {"guid": app["guid"]}, "weight": weight}]
    shares = rescale([each["weight"] or 1 for each in others], 100 - weight) if others else []
    entries += [_entry(each, share) for each, share in zip(others, shares, strict=True)]
    await client.patch(f"/v3/routes/{guid}/destinations", {"destinations": entries})
    return {"route": route, "route_guid": guid, "app": name, "app_guid": app["guid"], "weight": weight}


async def unmap_route(client: CapiClient, *, name: str, route: str) -> dict[str, Any]:
    """Remove an app from a route; the route itself stays. Weights of the others are rescaled to 100."""
    domains, app = await asyncio.gather(lookup.domains_by_name(client), lookup.app_named(client, name))
    found = await lookup.route_of(client, lookup.split(route, domains), route)
    mine = [each for each in found["destinations"] if each["app"]["guid"] == app["guid"]]
    if not mine:
        raise MeshError(f"{route} is not mapped to {name}", hint="`netlab routes` shows what is")
    path = f"/v3/routes/{found['guid']}/destinations"
    if any(each["weight"] is not None for each in mine):
        others = [each for each in found["destinations"] if each["app"]["guid"] != app["guid"]]
        shares = rescale([each["weight"] for each in others], 100) if others else []
        entries = [_entry(each, share) for each, share in zip(others, shares, strict=True)]
        await client.patch(path, {"destinations": entries})
    else:
        await asyncio.gather(*(client.delete(f"{path}/{each['guid']}") for each in mine))
    return {"route": route, "route_guid": found["guid"], "app": name, "app_guid": app["guid"]}


async def delete_route(client: CapiClient, *, route: str) -> dict[str, Any]:
    """Delete a route with its mappings."""
    found = await lookup.route_of(client, lookup.split(route, await lookup.domains_by_name(client)), route)
    await client.delete(f"/v3/routes/{found['guid']}")
    return {"route": route, "route_guid": found["guid"], "deleted": True}


def _entry(destination: Mapping[str, Any], weight: int) -> dict[str, Any]:
    return {"app": destination["app"], "port": destination["port"], "weight": weight}


async def _map(client: CapiClient, app_guid: str, target: lookup.Target, space: str) -> str:
    """Map a route, made if it is new, to an app; the route's guid."""
    guid = await _find_or_create_route(client, target, space)
    await client.post(f"/v3/routes/{guid}/destinations", {"destinations": [{"app": {"guid": app_guid}}]})
    return guid


async def _find_or_create_route(client: CapiClient, target: lookup.Target, space: str) -> str:
    host, domain, path = target
    body = {
        "host": host,
        "path": path,
        "relationships": {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain}}},
    }
    # Most routes are new, and of two clients that make the same one only one can: create first, then look.
    try:
        return str((await client.post("/v3/routes", body))["guid"])
    except Refused as refused:
        if refused.fields.get("status") != 422:
            raise
        found = await lookup.find_route(client, target)
        if found is None:
            raise
        return str(found["guid"])


async def _upsert_app(
    client: CapiClient, name: str, space: str, lifecycle: Mapping[str, Any], env: Mapping[str, str]
) -> tuple[dict[str, Any], bool]:
    """The app and whether it is new."""
    body = {
        "name": name,
        "relationships": {"space": {"data": {"guid": space}}},
        "lifecycle": lifecycle,
        "environment_variables": env,
    }
    try:
        return await client.post("/v3/apps", body), True
    except Refused as refused:
        found = await client.get("/v3/apps", names=quote(name), space_guids=space)
        if refused.fields.get("status") != 422 or not found["resources"]:
            raise
    app: dict[str, Any] = found["resources"][0]
    await client.patch(f"/v3/apps/{app['guid']}", {"lifecycle": lifecycle})
    if env:
        await client.patch(f"/v3/apps/{app['guid']}/environment_variables", {"var": env})
    return app, False
