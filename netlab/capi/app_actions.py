"""The cf CLI's words for apps, as functions of a client: push, scale, restart and so on.

Each raises MeshError with one line. A route is written as people write it: `host.domain` or
`host.domain/path`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from netlab.capi import lookup, waiting
from netlab.capi.client import CapiClient, Refused
from netlab.capi.route_actions import map_to, unmap
from netlab.errors import MeshError

Emit = Callable[[dict[str, Any]], None]
START_SECONDS = 60.0


def _silent(_event: dict[str, Any]) -> None:
    pass


async def push(
    client: CapiClient,
    *,
    name: str,
    instances: int | None = None,
    port: int = 8080,
    env: Mapping[str, str] | None = None,
    command: str | None = None,
    directory: str | None = None,
    memory_mb: int | None = None,
    disk_mb: int | None = None,
    health_check: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    routes: Sequence[str] = (),
    no_route: bool = False,
    start: bool = True,
    rolling: bool = False,
    timeout: float = START_SECONDS,
    emit: Emit = _silent,
) -> dict[str, Any]:
    """Create or update an app, map its routes, (re)start it and wait until all instances run.

    `instances` of None leaves an app's number as it is. `health_check` is CAPI's `{"type", "data"}`. `no_route` takes
    the app off every route. With `rolling` an app that runs is replaced while it serves.
    """
    started = time.monotonic()
    if directory is not None and command is None:
        raise MeshError(f"{name} has a directory but no command", hint="say how it is started")
    space, domains = await asyncio.gather(lookup.space_guid(client), lookup.domains_by_name(client))
    targets = [lookup.split(route, domains) for route in dict.fromkeys(routes)]
    lifecycle = {"type": "netlab", "data": {"directory": directory, "port": port}}
    app, created = await _upsert_app(client, name, space, lifecycle, dict(env or {}), metadata)
    guid = app["guid"]
    emit({"app": name, "step": "created" if created else "updated"})
    quotas = {"instances": instances, "memory_in_mb": memory_mb, "disk_in_mb": disk_mb}
    steps: list[Coroutine[Any, Any, Any]] = []
    if wanted := {field: value for field, value in quotas.items() if value is not None}:
        steps.append(client.post(f"/v3/processes/{guid}/actions/scale", wanted))
    if command is not None or not created or health_check is not None:
        check = {} if health_check is None else {"health_check": dict(health_check)}
        steps.append(client.patch(f"/v3/processes/{guid}", {"command": command, **check}))
    if no_route:
        steps.append(_off_every_route(client, guid))
    await asyncio.gather(*steps, *(map_to(client, guid, target, space) for target in targets))
    emit({"app": name, "step": "mapped", "routes": list(routes)})
    answer = {"name": name, "guid": guid, "created": created, "routes": list(routes)}
    if not start:
        return {**answer, "state": app["state"]}
    if rolling and app["state"] == "STARTED":
        await _deploy(client, name, guid, 1, timeout)
    else:
        await client.post(f"/v3/apps/{guid}/actions/{'start' if created else 'restart'}")
    emit({"app": name, "step": "started", "instances": instances})
    stats = await waiting.wait_running(client, guid, name, timeout)
    emit({"app": name, "step": "running", "instances": len(stats)})
    return {
        **answer,
        "state": "STARTED",
        "instances": len(stats),
        "running": sum(each["state"] == "RUNNING" for each in stats),
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


async def app(client: CapiClient, *, name: str) -> dict[str, Any]:
    """One app: what is wanted of it, its routes, and each instance as its process's stats have it."""
    found = await lookup.app_named(client, name)
    guid = found["guid"]
    process, mapped, stats = await asyncio.gather(
        client.get(f"/v3/processes/{guid}"),
        client.list(f"/v3/apps/{guid}/routes"),
        client.get(f"/v3/processes/{guid}/stats"),
    )
    instances = stats["resources"]
    return {
        "name": name,
        "guid": guid,
        "state": found["state"],
        "routes": [route["url"] for route in mapped],
        "type": process["type"],
        "command": process["command"],
        "instances": process["instances"],
        "running": sum(each["state"] == "RUNNING" for each in instances),
        "memory_mb": process["memory_in_mb"],
        "disk_mb": process["disk_in_mb"],
        "health_check": process["health_check"]["type"],
        "stats": instances,
    }


async def scale(
    client: CapiClient,
    *,
    name: str,
    instances: int | None = None,
    memory_mb: int | None = None,
    disk_mb: int | None = None,
    timeout: float = START_SECONDS,
) -> dict[str, Any]:
    """Change the number of instances or their quotas, and wait until all run, unless the app is stopped.

    Other quotas restart the app, as there is no changing those of a container.
    """
    app = await lookup.app_named(client, name)
    quotas = {"instances": instances, "memory_in_mb": memory_mb, "disk_in_mb": disk_mb}
    wanted = {field: value for field, value in quotas.items() if value is not None}
    process = await client.post(f"/v3/processes/{app['guid']}/actions/scale", wanted)
    if app["state"] == "STARTED":
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {
        "name": name,
        "guid": app["guid"],
        "instances": process["instances"],
        "memory_mb": process["memory_in_mb"],
        "disk_mb": process["disk_in_mb"],
        "state": app["state"],
    }


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
    deployment = await _deploy(client, name, app["guid"], max_in_flight, timeout)
    if app["state"] != "STARTED":
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {"name": name, "guid": app["guid"], "state": "STARTED", "deployment": deployment}


async def cancel_deployment(client: CapiClient, *, name: str) -> dict[str, Any]:
    """Go back to the instances that an app had before the deployment that is under way."""
    app = await lookup.app_named(client, name)
    active = await client.list("/v3/deployments", app_guids=app["guid"], status_values="ACTIVE")
    if not active:
        raise MeshError(f"no deployment of {name} is under way")
    await client.post(f"/v3/deployments/{active[0]['guid']}/actions/cancel")
    return {"name": name, "guid": app["guid"], "deployment": active[0]["guid"]}


async def _deploy(client: CapiClient, name: str, guid: str, max_in_flight: int, timeout: float) -> str:
    """Replace an app's instances and wait for the end; the deployment's guid."""
    body = {
        "relationships": {"app": {"data": {"guid": guid}}},
        "strategy": "rolling",
        "options": {"max_in_flight": max_in_flight},
    }
    deployment = await client.post("/v3/deployments", body)
    await waiting.wait_deployed(client, deployment["guid"], name, timeout)
    return str(deployment["guid"])


async def stop(client: CapiClient, *, name: str) -> dict[str, Any]:
    """Stop an app."""
    return await _act(client, name, "stop", None)


async def _act(client: CapiClient, name: str, action: str, timeout: float | None) -> dict[str, Any]:
    app = await lookup.app_named(client, name)
    app = await client.post(f"/v3/apps/{app['guid']}/actions/{action}")
    if timeout is not None:
        await waiting.wait_running(client, app["guid"], name, timeout)
    return {"name": name, "guid": app["guid"], "state": app["state"]}


async def delete_app(client: CapiClient, *, name: str, routes: bool = False) -> dict[str, Any]:
    """Delete an app; its routes stay, without it, unless they are to go too and lead to no other app."""
    app = await lookup.app_named(client, name)
    mapped = await client.list(f"/v3/apps/{app['guid']}/routes") if routes else []
    await client.delete(f"/v3/apps/{app['guid']}")
    own = [
        route
        for route in mapped
        if all(destination["app"]["guid"] == app["guid"] for destination in route["destinations"])
    ]
    await asyncio.gather(*(client.delete(f"/v3/routes/{route['guid']}") for route in own))
    return {"name": name, "guid": app["guid"], "deleted": True, "routes": [route["url"] for route in own]}


async def env(client: CapiClient, *, name: str) -> dict[str, Any]:
    """An app's environment: `environment_variables` that somebody set, and what the system adds."""
    app = await lookup.app_named(client, name)
    return await client.get(f"/v3/apps/{app['guid']}/env")


async def set_env(client: CapiClient, *, name: str, variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Set variables of an app's environment, or remove those whose value is None; a restart shows them to the app."""
    app = await lookup.app_named(client, name)
    document = await client.patch(f"/v3/apps/{app['guid']}/environment_variables", {"var": dict(variables)})
    return {"name": name, "guid": app["guid"], "var": document["var"]}


async def restart_instance(client: CapiClient, *, name: str, index: int) -> dict[str, Any]:
    """End one instance of an app; another takes its place."""
    app = await lookup.app_named(client, name)
    await client.delete(f"/v3/processes/{app['guid']}/instances/{index}")
    return {"name": name, "guid": app["guid"], "index": index}


async def _off_every_route(client: CapiClient, guid: str) -> None:
    for route in await client.list(f"/v3/apps/{guid}/routes"):
        await unmap(client, route, guid)


async def _upsert_app(
    client: CapiClient,
    name: str,
    space: str,
    lifecycle: Mapping[str, Any],
    env: Mapping[str, str],
    metadata: Mapping[str, Any] | None,
) -> tuple[dict[str, Any], bool]:
    """The app and whether it is new."""
    body = {
        "name": name,
        "relationships": {"space": {"data": {"guid": space}}},
        "lifecycle": lifecycle,
        "environment_variables": env,
    } | ({} if metadata is None else {"metadata": metadata})
    try:
        return await client.post("/v3/apps", body), True
    except Refused as refused:
        found = await client.get("/v3/apps", names=quote(name), space_guids=space)
        if refused.fields.get("status") != 422 or not found["resources"]:
            raise
    app: dict[str, Any] = found["resources"][0]
    changes = {"lifecycle": lifecycle} | ({} if metadata is None else {"metadata": metadata})
    await client.patch(f"/v3/apps/{app['guid']}", changes)
    if env:
        await client.patch(f"/v3/apps/{app['guid']}/environment_variables", {"var": env})
    return app, False
