"""The cf words as one task, which the lab runs in a process that stands in the client's namespace."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from netlab.capi import app_actions, route_actions
from netlab.capi.client import CapiClient
from netlab.errors import NetlabBug

_ACTIONS: Mapping[str, Callable[..., Awaitable[Any]]] = {
    "push": app_actions.push,
    "apps": app_actions.apps,
    "app": app_actions.app,
    "scale": app_actions.scale,
    "start": app_actions.start,
    "stop": app_actions.stop,
    "restart": app_actions.restart,
    "restart_rolling": app_actions.restart_rolling,
    "restart_instance": app_actions.restart_instance,
    "cancel_deployment": app_actions.cancel_deployment,
    "delete": app_actions.delete_app,
    "env": app_actions.env,
    "set_env": app_actions.set_env,
    "domains": route_actions.domains,
    "routes": route_actions.routes,
    "create_route": route_actions.create_route,
    "map_route": route_actions.map_route,
    "unmap_route": route_actions.unmap_route,
    "delete_route": route_actions.delete_route,
    "delete_orphaned_routes": route_actions.delete_orphaned_routes,
    "set_weights": route_actions.set_weights,
    "curl": CapiClient.curl,
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
    if action is app_actions.push:
        own["emit"] = emit
    async with CapiClient(**{name: params[name] for name in _CONNECTION if name in params}) as client:
        return await action(client, **own)


_CONNECTION = ("api", "connect", "username", "password", "ca")
