"""The cf CLI's words for domains and routes, as functions of a client: create_route, map_route, set_weights and so on.

Each raises MeshError with one line. A route is written as people write it: `host.domain` or `host.domain/path`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from netlab.capi import lookup
from netlab.capi.client import CapiClient, Refused
from netlab.capi.weights import rescale
from netlab.errors import MeshError


async def domains(client: CapiClient) -> list[dict[str, Any]]:
    """Every domain: name, guid, and whether it is internal."""
    return [
        {"name": name, "guid": domain["guid"], "internal": domain["internal"]}
        for name, domain in sorted((await lookup.domains_by_name(client)).items())
    ]


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


async def create_route(client: CapiClient, *, route: str) -> dict[str, Any]:
    """Make a route that leads nowhere yet; `created` is False if it was there."""
    space, known = await asyncio.gather(lookup.space_guid(client), lookup.domains_by_name(client))
    guid, created = await _find_or_create_route(client, lookup.split(route, known), space)
    return {"route": route, "route_guid": guid, "created": created}


async def map_route(
    client: CapiClient, *, name: str, route: str, port: int | None = None, weight: int | None = None
) -> dict[str, Any]:
    """Map a route to an app (at one of its ports), and make the route if it is new.

    With a weight the app gets that percentage and the route's other apps share the rest as they did before.
    """
    space, domains, app = await asyncio.gather(
        lookup.space_guid(client), lookup.domains_by_name(client), lookup.app_named(client, name)
    )
    target = lookup.split(route, domains)
    answer = {"route": route, "app": name, "app_guid": app["guid"]}
    if weight is None:
        return {**answer, "route_guid": await map_to(client, app["guid"], target, space, port)}
    guid, _ = await _find_or_create_route(client, target, space)
    document = await client.get(f"/v3/routes/{guid}/destinations")
    others = [each for each in document["destinations"] if each["app"]["guid"] != app["guid"]]
    if not others and weight != 100:
        raise MeshError(f"{name} is the only app of {route}: its weight can only be 100")
    if others and 100 - weight < len(others):
        raise MeshError(
            f"a weight of {weight} leaves {100 - weight} for {len(others)} other apps of {route}: each needs 1 or more",
            hint="`netlab unmap-route` takes an app off a route",
        )
    entries = [_weighted(app["guid"], weight, port)]
    shares = rescale([each["weight"] or 1 for each in others], 100 - weight) if others else []
    entries += [_entry(each, share) for each, share in zip(others, shares, strict=True)]
    await client.patch(f"/v3/routes/{guid}/destinations", {"destinations": entries})
    return {**answer, "route_guid": guid, "weight": weight}


async def set_weights(client: CapiClient, *, route: str, weights: Mapping[str, int]) -> dict[str, Any]:
    """Give a route exactly these apps, each with its percentage; they must sum up to 100."""
    if sum(weights.values()) != 100 or not all(1 <= weight <= 100 for weight in weights.values()):
        said = " + ".join(map(str, weights.values()))
        raise MeshError(f"the weights of {route} must be 1 or more each and add up to 100, not {said}")
    domains = await lookup.domains_by_name(client)
    apps = await asyncio.gather(*(lookup.app_named(client, name) for name in weights))
    found = await lookup.route_of(client, lookup.split(route, domains), route)
    ports = {each["app"]["guid"]: each["port"] for each in found["destinations"]}
    entries = [
        _weighted(app["guid"], weight, ports.get(app["guid"]))
        for app, weight in zip(apps, weights.values(), strict=True)
    ]
    await client.patch(f"/v3/routes/{found['guid']}/destinations", {"destinations": entries})
    return {"route": route, "route_guid": found["guid"], "weights": dict(weights)}


async def unmap_route(client: CapiClient, *, name: str, route: str) -> dict[str, Any]:
    """Remove an app from a route; the route itself stays. Weights of the others are rescaled to 100."""
    domains, app = await asyncio.gather(lookup.domains_by_name(client), lookup.app_named(client, name))
    found = await lookup.route_of(client, lookup.split(route, domains), route)
    if not await unmap(client, found, app["guid"]):
        raise MeshError(f"{route} is not mapped to {name}", hint="`netlab routes` shows what is")
    return {"route": route, "route_guid": found["guid"], "app": name, "app_guid": app["guid"]}


async def delete_route(client: CapiClient, *, route: str) -> dict[str, Any]:
    """Delete a route with its mappings."""
    found = await lookup.route_of(client, lookup.split(route, await lookup.domains_by_name(client)), route)
    await client.delete(f"/v3/routes/{found['guid']}")
    return {"route": route, "route_guid": found["guid"], "deleted": True}


async def delete_orphaned_routes(client: CapiClient) -> dict[str, Any]:
    """Delete every route that leads to no app."""
    space = await lookup.space_guid(client)
    orphans = [route for route in await client.list("/v3/routes", space_guids=space) if not route["destinations"]]
    await asyncio.gather(*(client.delete(f"/v3/routes/{route['guid']}") for route in orphans))
    return {"deleted": [route["url"] for route in orphans]}


async def map_to(client: CapiClient, app_guid: str, target: lookup.Target, space: str, port: int | None = None) -> str:
    """Map a route, made if it is new, to an app; the route's guid."""
    guid, _ = await _find_or_create_route(client, target, space)
    destination = {"app": {"guid": app_guid}} | ({} if port is None else {"port": port})
    await client.post(f"/v3/routes/{guid}/destinations", {"destinations": [destination]})
    return guid


async def unmap(client: CapiClient, route: Mapping[str, Any], app_guid: str) -> bool:
    """Take an app off a route (CAPI's document); False if it is not on it. The others share its weight."""
    mine = [each for each in route["destinations"] if each["app"]["guid"] == app_guid]
    path = f"/v3/routes/{route['guid']}/destinations"
    if any(each["weight"] is not None for each in mine):
        others = [each for each in route["destinations"] if each["app"]["guid"] != app_guid]
        shares = rescale([each["weight"] for each in others], 100) if others else []
        entries = [_entry(each, share) for each, share in zip(others, shares, strict=True)]
        await client.patch(path, {"destinations": entries})
    else:
        await asyncio.gather(*(client.delete(f"{path}/{each['guid']}") for each in mine))
    return bool(mine)


def _entry(destination: Mapping[str, Any], weight: int) -> dict[str, Any]:
    return {"app": destination["app"], "port": destination["port"], "weight": weight}


def _weighted(app_guid: str, weight: int, port: int | None) -> dict[str, Any]:
    return {"app": {"guid": app_guid}, "weight": weight} | ({} if port is None else {"port": port})


async def _find_or_create_route(client: CapiClient, target: lookup.Target, space: str) -> tuple[str, bool]:
    """A route's guid, and whether it is new."""
    host, domain, path = target
    body = {
        "host": host,
        "path": path,
        "relationships": {"space": {"data": {"guid": space}}, "domain": {"data": {"guid": domain}}},
    }
    # Most routes are new, and of two clients that make the same one only one can: create first, then look.
    try:
        return str((await client.post("/v3/routes", body))["guid"]), True
    except Refused as refused:
        if refused.fields.get("status") != 422:
            raise
        found = await lookup.find_route(client, target)
        if found is None:
            raise
        return str(found["guid"]), False
