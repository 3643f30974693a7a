"""What is asked of Pilot and of the Envoys' admin APIs, as a task of the lab on the node that Pilot runs on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from netlab.envoy.admin import Admin
from netlab.errors import MeshError
from netlab.proxies import dump, find, sync

_TYPES = ("cds", "lds", "eds", "rds")
_OPTIONAL = ("srds",)
_KINDS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, str]], Any]] = {
    "clusters": lambda found, apps: list(dump.clusters(found, apps)),
    "listeners": lambda found, _apps: list(dump.listeners(found)),
    "routes": lambda found, apps: list(dump.routes(found, apps)),
    "secrets": lambda found, _apps: list(dump.secrets(found)),
    "bootstrap": lambda found, _apps: dump.bootstrap(found),
}
KINDS = (*_KINDS, "endpoints", "all")


async def task(params: dict[str, Any], _emit: Callable[[dict[str, Any]], None]) -> Any:
    """`action` is `status`, `compare` or `config`, the latter two of a `node`; `pilot` is Pilot's `ip:port`.

    Raises NodeNotFound; MeshError if the Envoy that is asked does not answer, or Pilot for `compare`.
    """
    lab = params["lab"]
    if params["action"] == "config":
        return await _config(lab, params["node"], params["kind"])
    async with httpx.AsyncClient(base_url=f"http://{params['pilot']}", timeout=5, trust_env=False) as pilot:
        if params["action"] == "compare":
            return await _compare(pilot, find.envoy(lab, params["node"]))
        return await _status(pilot, find.envoys(lab))


async def _status(pilot: httpx.AsyncClient, envoys: list[find.Envoy]) -> dict[str, Any]:
    try:
        syncz = await _ask(pilot, "/debug/syncz")
    except MeshError as error:
        return {"pilot": error.message, "proxies": sync.judge(envoys, (), _TYPES)}
    served = [kind for kind in _OPTIONAL if any(f"{kind}_sent" in proxy for proxy in syncz)]
    return {"pilot": "", "proxies": sync.judge(envoys, syncz, [*_TYPES, *served])}


async def _compare(pilot: httpx.AsyncClient, envoy: find.Envoy) -> dict[str, Any]:
    """Pilot's resources for one Envoy beside those that the Envoy has."""
    judged = (await _status(pilot, [envoy]))["proxies"][0]
    if judged["proxy"] is None:
        raise MeshError(f"{envoy.node} is not connected to Pilot", hint="netlab status; netlab logs control pilot")
    wanted, found = await asyncio.gather(
        _ask(pilot, f"/debug/resourcez?proxyID={judged['proxy']}"), Admin(envoy.admin).config_dump(endpoints=False)
    )
    has, refused = dump.versions(found), dump.refusals(found)
    differences = [
        {
            "type": kind,
            "name": name,
            "pilot": versions.get(name),
            "envoy": has[kind].get(name),
            "refused": refused.get(name),
        }
        for kind, versions in wanted.items()
        if kind in has
        for name in sorted(versions.keys() | has[kind].keys())
        if versions.get(name) != has[kind].get(name)
    ]
    return {**judged, "counts": {kind: len(names) for kind, names in wanted.items()}, "differences": differences}


async def _config(lab: str, node: str, kind: str) -> Any:
    admin, apps = Admin(find.envoy(lab, node).admin), find.app_names(lab)
    if kind == "endpoints":
        return list(dump.endpoints(await admin.cluster_statuses(), apps))
    found = await admin.config_dump()
    return found if kind == "all" else _KINDS[kind](found, apps)


async def _ask(pilot: httpx.AsyncClient, path: str) -> Any:
    try:
        answer = await pilot.get(path)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise MeshError(f"Pilot does not answer: {error}", hint="netlab logs control pilot") from error
    return answer.json()
