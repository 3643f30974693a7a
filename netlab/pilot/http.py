"""Pilot's HTTP pages: whether it is ready, what the proxies have, what the configuration is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from netlab.pilot.source.store import Store
from netlab.pilot.xds.hub import Connection, Hub
from netlab.pilot.xds.types import SHORT


def application(store: Store, hub: Hub, is_ready: asyncio.Event) -> Starlette:
    """The pages as an ASGI application."""

    async def ready(_request: Request) -> Response:
        if is_ready.is_set():
            return PlainTextResponse("ready\n")
        return PlainTextResponse("waiting for the configuration sources\n", status_code=503)

    async def syncz(_request: Request) -> Response:
        proxies = sorted(hub.connections, key=lambda c: (c.proxy.kind, c.proxy.node_id))
        return JSONResponse([_status(connection) for connection in proxies])

    async def resourcez(request: Request) -> Response:
        wanted = request.query_params.get("proxyID", "")
        for connection in hub.connections:
            if connection.proxy.node_id == wanted:
                return JSONResponse(connection.session.wanted_versions())
        return PlainTextResponse(f"no proxy {wanted!r} is connected\n", status_code=404)

    async def configz(_request: Request) -> Response:
        return JSONResponse(config_as_json(store))

    return Starlette(
        routes=[
            Route("/ready", ready),
            Route("/debug/syncz", syncz),
            Route("/debug/resourcez", resourcez),
            Route("/debug/configz", configz),
        ]
    )


def config_as_json(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Every object in force, by collection."""
    found: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for item in sorted(store, key=lambda item: item.key):
        found[item.key.collection].append(
            {
                "name": item.key.full_name,
                "version": item.version,
                "created": item.created,
                "spec": json_format.MessageToDict(item.body),
            }
        )
    return found


def _status(connection: Connection) -> dict[str, Any]:
    session = connection.session
    counters = {
        SHORT[type_url]: {"responses": s.responses, "resources": s.resources, "bytes": s.bytes_sent}
        for type_url, s in session.subscriptions.items()
    }
    return {
        "proxy": connection.proxy.node_id,
        "type": connection.proxy.kind,
        "connected_at": connection.since,
        **session.status(),
        "up_to_date": session.revision == session.view.revision and not session.busy,
        "last_push_ms": None if connection.push_seconds is None else round(1e3 * connection.push_seconds, 3),
        "sent": counters,
    }
