"""The cf words as one task, which the lab runs in a process that stands in the client's namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from netlab.capi import actions
from netlab.capi.client import CapiClient
from netlab.errors import NetlabBug

_ACTIONS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "push": actions.push,
    "apps": actions.apps,
    "scale": actions.scale,
    "start": actions.start,
    "stop": actions.stop,
    "restart": actions.restart,
    "restart_rolling": actions.restart_rolling,
    "delete": actions.delete_app,
    "routes": actions.routes,
    "map_route": actions.map_route,
    "unmap_route": actions.unmap_route,
    "delete_route": actions.delete_route,
}


async def task(params: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> Any:
    """Log in and do one action; `emit` gets the progress of a push.

    `params` holds `action`, the action's own parameters, and how to reach CAPI: `api` (URL), `connect`
    (`ip:port`, optional), `username`, `password`, `ca` (a PEM file).
    """
    action = _ACTIONS.get(params["action"])
    if action is None:
        raise NetlabBug(f"there is no action {params['action']}")
    own = {name: value for name, value in params.items() if name not in {"action", *_CONNECTION}}
    if action is actions.push:
        own["emit"] = emit
    async with CapiClient(**{name: params[name] for name in _CONNECTION if name in params}) as client:
        return await action(client, **own)


_CONNECTION = ("api", "connect", "username", "password", "ca")
