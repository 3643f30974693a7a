"""Manifests applied to a space or an app, compared with what is there, and made from an app."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.apps import add_app
from netlab.capi.call import Call, Transaction
from netlab.capi.changes import associate
from netlab.capi.desired import process_lrp
from netlab.capi.documents import update_metadata
from netlab.capi.errors import ApiError, unprocessable
from netlab.capi.jobs import attempted
from netlab.capi.manifest import Application, Settings, parse, parse_raw
from netlab.capi.manifest_routes import map_routes
from netlab.capi.messages import NetlabLifecycle, ProcessScale
from netlab.capi.models import App, Destination, Process, Route, Space
from netlab.capi.processes import scale
from netlab.protocols import bbs_pb2 as bbs

_BUILDPACKS = "There are no buildpacks here: an app is a command in a directory of the machine, or the demo app"
_CONTENT_TYPE = "application/x-yaml"


def apply_to_space(call: Call) -> Response:
    """POST /v3/spaces/:guid/actions/apply_manifest: new apps are made, running ones are not restarted."""
    with call.transaction() as transaction:
        transaction.get(Space, call.guid)
    applications = _parse(call)
    return attempted(
        call,
        "space.apply_manifest",
        lambda transaction: _apply(transaction, transaction.get(Space, call.guid), applications),
    )


def apply_to_app(call: Call) -> Response:
    """POST /v3/apps/:guid/actions/apply_manifest: the manifest is about this app alone."""
    with call.transaction() as transaction:
        name = transaction.get(App, call.guid).name
    applications = _parse(call)
    if [application.name for application in applications] != [name]:
        raise unprocessable(f"Manifest must have one application, named '{name}' as the app is")
    return attempted(
        call,
        "app.apply_manifest",
        lambda transaction: _apply(transaction, transaction.get(App, call.guid).space, applications),
    )


def _parse(call: Call) -> list[Application]:
    applications = parse(call.body)
    names = [application.name for application in applications]
    for name in names:
        if names.count(name) > 1:
            raise unprocessable(f"For application '{name}': Name may only be present once")
    if any(application.buildpack or application.buildpacks for application in applications):
        call.warnings.append(_BUILDPACKS)
    return applications


def _apply(transaction: Transaction, space: Space, applications: Sequence[Application]) -> None:
    """Do what a manifest says, all of it or, if something is refused, nothing."""
    done = []
    for application in applications:
        try:
            done.append((application, _apply_one(transaction, space, application)))
        except ApiError as error:
            raise _about(application.name, error) from None
    map_routes(transaction, space, done)


def _about(name: str, error: ApiError) -> ApiError:
    details = (f"For application '{name}': {text}" for text in error.details)
    return ApiError(error.status, error.code, error.title, *details)


def _apply_one(transaction: Transaction, space: Space, application: Application) -> App:
    app = _app_named(transaction, space, application.name)
    if app is None:
        data = NetlabLifecycle().model_dump()
        app = add_app(transaction, space, application.name, "netlab", data, {})
    bits = {"directory": application.path, "port": application.port}
    given = {name: value for name, value in bits.items() if value is not None}
    if given and app.lifecycle_type != "netlab":
        raise unprocessable(f"Path and port need the lifecycle 'netlab', and the app's is '{app.lifecycle_type}'")
    app.lifecycle_data = {**app.lifecycle_data, **given}
    app.environment = {**app.environment, **_present(application.env or {})}
    update_metadata(app, application.metadata)
    for kind, settings in application.settings.items():
        _configure(transaction, app, kind, settings)
    transaction.session.flush()
    return app


def _present(environment: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value is not None}


def _app_named(transaction: Transaction, space: Space, name: str) -> App | None:
    return transaction.session.scalar(select(App).where(App.space_guid == space.guid, App.name == name))


def _configure(transaction: Transaction, app: App, kind: str, settings: Settings) -> None:
    """Have a process as the manifest wants it; running instances keep all but their number until a restart."""
    process = next((process for process in app.processes if process.type == kind), None)
    new = process is None
    if process is None:
        instances = settings.instances or 0
        process = Process(type=kind, instances=instances, health_check_type="process", health_check_data={}, app=app)
        transaction.session.add(process)
        transaction.session.flush()
    if "command" in settings.model_fields_set:
        process.command = None if settings.command in ("null", "default") else settings.command
    if settings.health_check_type is not None:
        process.health_check_type = settings.health_check_type.replace("none", "process")
    elif settings.health_check_http_endpoint is not None:
        process.health_check_type = "http"
    check = {
        "timeout": settings.timeout,
        "invocation_timeout": settings.health_check_invocation_timeout,
        "interval": settings.health_check_interval,
        "endpoint": settings.health_check_http_endpoint,
    }
    given = {name: value for name, value in check.items() if value is not None}
    merged = {**process.health_check_data, **given}
    if process.health_check_type != "http":
        merged.pop("endpoint", None)
    process.health_check_data = merged
    process.memory_in_mb = settings.memory or process.memory_in_mb
    process.disk_in_mb = settings.disk_quota or process.disk_in_mb
    if settings.instances is not None and settings.instances != process.instances:
        scale(transaction, process, ProcessScale(instances=settings.instances))
    if new and app.state == "STARTED":
        transaction.session.flush()
        transaction.copilot.append(associate(process.guid, [process.diego_guid]))
        lrp = process_lrp(transaction.session, process, transaction.config)
        transaction.diego.append(bbs.DesireLRPRequest(desired_lrp=lrp))


def show_manifest(call: Call) -> Response:
    """GET /v3/apps/:guid/manifest: applied again, it changes nothing."""
    with call.transaction() as transaction:
        manifest = {"applications": [_manifest(transaction, transaction.get(App, call.guid))]}
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True, plug_ins=[])
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # its stub has None
    yaml.dump(manifest, text)
    return Response(text.getvalue(), media_type=_CONTENT_TYPE)


def _manifest(transaction: Transaction, app: App) -> dict[str, Any]:
    found: dict[str, Any] = {"name": app.name}
    if app.directory is not None:
        found["path"] = app.directory
    if app.own_port is not None:
        found["port"] = app.own_port
    if app.environment:
        found["env"] = app.environment
    mapped = Route.destinations.any(Destination.app_guid == app.guid)
    routes = transaction.session.scalars(select(Route).where(mapped).order_by(Route.position)).all()
    if routes:
        found["routes"] = [_route(route, app) for route in routes]
    if app.labels or app.annotations:
        found["metadata"] = {"labels": app.labels, "annotations": app.annotations}
    found["processes"] = [_process(process) for process in app.processes]
    return found


def _route(route: Route, app: App) -> dict[str, Any]:
    found: dict[str, Any] = {"route": route.fqdn + route.path, "protocol": "http1"}
    weights = [each.weight for each in route.destinations if each.app_guid == app.guid and each.weight is not None]
    return found | ({"weight": sum(weights)} if weights else {})


def _process(process: Process) -> dict[str, Any]:
    check = process.health_check_data
    found = {
        "type": process.type,
        "instances": process.instances,
        "memory": f"{process.memory_in_mb}M",
        "disk_quota": f"{process.disk_in_mb}M",
        "command": process.command,
        "health-check-type": process.health_check_type,
        "health-check-http-endpoint": check.get("endpoint"),
        "health-check-invocation-timeout": check.get("invocation_timeout"),
        "health-check-interval": check.get("interval"),
        "timeout": check.get("timeout"),
    }
    return {name: value for name, value in found.items() if value is not None}


def show_difference(call: Call) -> Response:
    """POST /v3/spaces/:guid/manifest_diff: what applying a manifest would add or replace, as JSON patches."""
    with call.transaction() as transaction:
        space = transaction.get(Space, call.guid)
        names = [application.name for application in _parse(call)]
        apps = [_app_named(transaction, space, name) for name in names]
        present = [None if app is None else _flat(_manifest(transaction, app)) for app in apps]
    patches: list[dict[str, Any]] = []
    for index, (raw, was) in enumerate(zip(parse_raw(call.body), present, strict=True)):
        path = f"/applications/{index}"
        patches += [{"op": "add", "path": path, "value": raw}] if was is None else _patches(path, was, raw)
    return JSONResponse({"diff": patches}, 202)


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with the web process's settings beside the app's own, where people write them."""
    web: dict[str, Any] = next((process for process in manifest["processes"] if process["type"] == "web"), {})
    both = {**web, **manifest}
    return {name.replace("-", "_"): value for name, value in both.items()}


def _patches(path: str, was: dict[str, Any], wanted: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name, value in wanted.items():
        where = f"{path}/{name}"
        if name not in was:
            yield {"op": "add", "path": where, "value": value}
        elif isinstance(value, dict) and isinstance(was[name], dict):
            yield from _patches(where, was[name], value)
        elif was[name] != value:
            yield {"op": "replace", "path": where, "was": was[name], "value": value}
