"""Finding what the cf words name: the space, domains, apps and routes; each raises MeshError with one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from netlab.capi import SPACE
from netlab.capi.client import CapiClient
from netlab.errors import MeshError

Target = tuple[str, str, str]
"""A route as the API names it: host, the guid of its domain, path."""


async def space_guid(client: CapiClient) -> str:
    """The guid of the space that everything is pushed to: the first of its name, made with the database."""
    found = await client.get("/v3/spaces", names=SPACE)
    if not found["resources"]:
        raise MeshError(f"CAPI has no space {SPACE}")
    return str(found["resources"][0]["guid"])


async def domains_by_name(client: CapiClient) -> dict[str, dict[str, Any]]:
    """All domains, by name."""
    return {domain["name"]: domain for domain in await client.list("/v3/domains")}


def split(route: str, domains: Mapping[str, Mapping[str, Any]]) -> Target:
    """A route as host, the guid of its domain and path; the longest known domain wins."""
    name, slash, path = route.partition("/")
    name = name.lower().rstrip(".")
    labels = name.split(".")
    for cut in range(len(labels)):
        domain = domains.get(".".join(labels[cut:]))
        if domain is not None:
            host = ".".join(labels[:cut])
            if "." in host:
                raise MeshError(f"{route}: the host {host!r} may not contain a dot in the domain {domain['name']}")
            return host, str(domain["guid"]), slash + path if path else ""
    raise MeshError(
        f"the domain of {route} is not known; the known domains are {', '.join(sorted(domains))}",
        hint="a route is HOST.DOMAIN or HOST.DOMAIN/PATH",
    )


async def route_of(client: CapiClient, target: Target, route: str) -> dict[str, Any]:
    """The route of a target; `route` is how the person wrote it."""
    found = await find_route(client, target)
    if found is None:
        urls = [each["url"] for each in await client.list("/v3/routes")]
        raise MeshError(f"there is no route {route}{_near(route, urls)}", hint="`netlab routes` lists them")
    return found


async def find_route(client: CapiClient, target: Target) -> dict[str, Any] | None:
    """The route of a target, if there is one."""
    host, domain, path = target
    # A filter is a list: a comma or a percent sign in its values is encoded once more.
    found = await client.get("/v3/routes", domain_guids=domain, hosts=host, paths=quote(path))
    resources: list[dict[str, Any]] = found["resources"]
    return resources[0] if resources else None


async def app_named(client: CapiClient, name: str) -> dict[str, Any]:
    """The app of a name."""
    space = await space_guid(client)
    found = await client.get("/v3/apps", names=quote(name), space_guids=space)
    if not found["resources"]:
        names = [app["name"] for app in await client.list("/v3/apps", space_guids=space)]
        raise MeshError(
            f"there is no app {name}{_near(name, names)}",
            hint="`netlab apps` lists them" if names else f"`netlab push {name}` makes one",
        )
    app: dict[str, Any] = found["resources"][0]
    return app


def _near(wrong: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(wrong, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
