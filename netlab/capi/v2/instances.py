"""The instances of an app of version 2, the summaries that count them, and the bits that they do not run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.desired import process_targets
from netlab.capi.domains import usable_domains
from netlab.capi.errors import ApiError
from netlab.capi.models import App, Destination, Domain, Job, Process, Route, Space
from netlab.capi.processes import stats
from netlab.capi.recipe import vcap_application
from netlab.capi.v2.apps import app_fields, web
from netlab.capi.v2.documents import job
from netlab.capi.v2.errors import find, instances_error, instances_unavailable, stopped_stats, wrong_body

_UNUSED_BITS = "netlab runs no uploaded bits: an app is a command in a directory of the machine, or the demo app"


async def show_instances(call: Call) -> Response:
    """GET /v2/apps/:guid/instances; 400 for a stopped app, 503 if the BBS does not answer."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        if app.state != "STARTED":
            raise instances_error(app.name)
        process = web(app)
    try:
        found = await stats(call, app, process)
    except ApiError:
        raise instances_unavailable() from None
    now = time.time()
    return JSONResponse(
        {
            str(each["index"]): {
                "state": each["state"],
                "uptime": each["uptime"],
                "since": int(now - each["uptime"]),
                "details": each["details"],
            }
            for each in found
        }
    )


async def show_stats(call: Call) -> Response:
    """GET /v2/apps/:guid/stats; 400 for a stopped app, 503 if the BBS does not answer."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        if app.state != "STARTED":
            raise stopped_stats(app.name)
        process = web(app)
        uris = [target.uri for target in process_targets(transaction.session, process)]
    found = await stats(call, app, process)
    return JSONResponse({str(each["index"]): _stats(app.name, uris, each) for each in found})


def _stats(name: str, uris: list[str], instance: dict[str, Any]) -> dict[str, Any]:
    """What version 3 says of an instance, as version 2 does."""
    if instance["state"] != "RUNNING":
        return {key: instance[key] for key in ("state", "uptime", "details")}
    kept = ("host", "uptime", "mem_quota", "disk_quota", "fds_quota", "usage")
    ports = [port["external"] for port in instance["instance_ports"]]
    own = {"name": name, "uris": uris, "port": ports[0] if ports else None}
    return {"state": "RUNNING", "isolation_segment": None, "stats": own | {key: instance[key] for key in kept}}


async def show_summary(call: Call) -> Response:
    """GET /v2/apps/:guid/summary."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        process = web(app)
        usable = select(Domain).where(usable_domains(app.space.organization)).order_by(Domain.position)
        document = {
            "guid": app.guid,
            "name": app.name,
            "routes": [_route(route) for route in _routes(transaction, app)],
            "services": [],
            "available_domains": [
                {"guid": domain.guid, "name": domain.name, "owning_organization_guid": domain.organization_guid}
                for domain in transaction.session.scalars(usable)
            ],
            **app_fields(transaction, app),
        }
    return JSONResponse(document | {"running_instances": await _alive(call, app, process)})


async def show_space_summary(call: Call) -> Response:
    """GET /v2/spaces/:guid/summary."""
    with call.transaction() as transaction:
        space = find(transaction, Space, call.guid)
        processes = [(app, web(app)) for app in space.apps]
        apps = []
        for app in space.apps:
            routes = _routes(transaction, app)
            own = {
                "guid": app.guid,
                "urls": [route.fqdn + route.path for route in routes],
                "routes": [_route(route) for route in routes],
                "service_count": 0,
                "service_names": [],
            }
            apps.append(own | app_fields(transaction, app))
    alive = await asyncio.gather(*(_alive(call, app, process) for app, process in processes))
    for document, count in zip(apps, alive, strict=True):
        document["running_instances"] = count
    return JSONResponse({"guid": space.guid, "name": space.name, "apps": apps, "services": []})


async def _alive(call: Call, app: App, process: Process) -> int:
    """How many instances run or start; -1 if the BBS does not answer."""
    try:
        found = await stats(call, app, process)
    except ApiError:
        return -1
    return sum(each["state"] in ("RUNNING", "STARTING") for each in found)


def _routes(transaction: Transaction, app: App) -> Sequence[Route]:
    mapped = select(Route).where(Route.destinations.any(Destination.app_guid == app.guid)).order_by(Route.position)
    return transaction.session.scalars(mapped).all()


def _route(route: Route) -> dict[str, Any]:
    domain = {"guid": route.domain_guid, "name": route.domain.name}
    return {"guid": route.guid, "host": route.host, "port": None, "path": route.path, "domain": domain}


def show_env(call: Call) -> Response:
    """GET /v2/apps/:guid/env."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        process = web(app)
        targets = process_targets(transaction.session, process)
        return JSONResponse(
            {
                "staging_env_json": {},
                "running_env_json": {},
                "environment_json": app.environment,
                "system_env_json": {"VCAP_SERVICES": {}},
                "application_env_json": {"VCAP_APPLICATION": vcap_application(process, targets, transaction.config)},
            }
        )


def upload_bits(call: Call) -> Response:
    """PUT /v2/apps/:guid/bits: takes the upload and drops it, and the warning header says so."""
    with call.transaction() as transaction:
        find(transaction, App, call.guid)
        done = Job(operation="app.upload_bits")
        transaction.session.add(done)
        transaction.session.flush()
        document = job(done) if call.query.get("async") == "true" else {}
        return JSONResponse(document, 201, {"x-cf-warnings": quote(_UNUSED_BITS)})


def match_resources(call: Call) -> Response:
    """PUT /v2/resource_match: of the files that a client has, the API knows none."""
    try:
        described = json.loads(call.body or b"[]")
    except (ValueError, RecursionError):
        raise wrong_body("invalid request body") from None
    if not isinstance(described, list):
        raise wrong_body("must be an array.")
    return JSONResponse([])
