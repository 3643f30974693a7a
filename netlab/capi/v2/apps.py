"""Apps of version 2: an app and its web process in one."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.apps import add_app, check_name, lifecycle, remove_app, restart, start, stop
from netlab.capi.call import Call, Transaction
from netlab.capi.desired import process_targets
from netlab.capi.documents import stamp
from netlab.capi.errors import ApiError
from netlab.capi.listing import among
from netlab.capi.messages import HealthCheck, HealthCheckData, Lifecycle, ProcessScale, ProcessUpdate
from netlab.capi.models import App, Process, Space
from netlab.capi.processes import configure, scale
from netlab.capi.recipe import ports
from netlab.capi.stacks import STACK_GUID
from netlab.capi.v2.documents import entity
from netlab.capi.v2.errors import docker_disabled, find, invalid, invalid_relation, refusing, related, taking
from netlab.capi.v2.listing import Listing
from netlab.capi.v2.messages import AppCreate, AppUpdate, read

APPS = Listing(
    App,
    {
        "name": among(App.name),
        "space_guid": among(App.space_guid),
        "organization_guid": lambda guids: App.space.has(Space.organization_guid.in_(guids)),
    },
    orders=("name",),
)


def web(app: App) -> Process:
    """The process that version 2 means by an app."""
    return next(process for process in app.processes if process.type == "web")


def app_fields(transaction: Transaction, app: App) -> dict[str, Any]:
    """What an app and its summary both show."""
    process = web(app)
    buildpacks = app.lifecycle_data.get("buildpacks") if app.lifecycle_type == "buildpack" else None
    check = process.health_check_data
    return {
        "name": app.name,
        "production": False,
        "space_guid": app.space_guid,
        "stack_guid": STACK_GUID,
        "buildpack": buildpacks[0] if isinstance(buildpacks, list) and buildpacks else None,
        "detected_buildpack": None,
        "detected_buildpack_guid": None,
        "environment_json": app.environment,
        "memory": process.memory_in_mb,
        "instances": process.instances,
        "disk_quota": process.disk_in_mb,
        "log_rate_limit": -1,
        "state": app.state,
        "version": process.version,
        "command": process.command,
        "console": False,
        "debug": None,
        "staging_task_id": None,
        "package_state": "STAGED",
        "health_check_type": process.health_check_type,
        "health_check_timeout": check.get("timeout"),
        "health_check_http_endpoint": check.get("endpoint") or "",
        "staging_failed_reason": None,
        "staging_failed_description": None,
        "diego": True,
        "docker_image": None,
        "docker_credentials": {"username": None, "password": None},
        "package_updated_at": stamp(app.created_at),
        "detected_start_command": process.command or "",
        "enable_ssh": False,
        "ports": ports(process, process_targets(transaction.session, process)),
    }


def present_app(transaction: Transaction, app: App) -> dict[str, Any]:
    """The document of an app."""
    url = f"/v2/apps/{app.guid}"
    return entity(
        app,
        url,
        **app_fields(transaction, app),
        space_url=f"/v2/spaces/{app.space_guid}",
        stack_url=f"/v2/stacks/{STACK_GUID}",
        routes_url=f"{url}/routes",
        events_url=f"{url}/events",
        service_bindings_url=f"{url}/service_bindings",
        route_mappings_url=f"{url}/route_mappings",
    )


def list_apps(call: Call) -> Response:
    """GET /v2/apps."""
    with call.transaction() as transaction:
        return APPS.answer(call, transaction, lambda app: present_app(transaction, app))


def show_app(call: Call) -> Response:
    """GET /v2/apps/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(present_app(transaction, find(transaction, App, call.guid)))


def create_app(call: Call) -> Response:
    """POST /v2/apps; starts the app too if the body says so."""
    message = read(call, AppCreate, App)
    given: Lifecycle | None = None
    if message.buildpack:
        given = Lifecycle(type="buildpack", data={"buildpacks": [message.buildpack]})
    elif message.ports:
        given = Lifecycle(type="netlab", data={"port": message.ports[0]})
    with call.transaction() as transaction, refusing(App):
        space = related(transaction, Space, message.space_guid)
        kind, data = lifecycle(given)
        with taking(App, message.name):
            app = add_app(transaction, space, message.name, kind, data, message.environment_json or {})
        _change(transaction, app, message)
        return JSONResponse(present_app(transaction, app), 201, {"location": f"/v2/apps/{app.guid}"})


def update_app(call: Call) -> Response:
    """PUT /v2/apps/:guid: any of its fields; the state decides whether it runs."""
    message = read(call, AppUpdate, App)
    with call.transaction() as transaction, refusing(App):
        app = find(transaction, App, call.guid)
        if message.name is not None and message.name != app.name:
            with taking(App, message.name):
                check_name(transaction, app.space_guid, message.name)
            app.name = message.name
        if message.space_guid not in (None, app.space_guid):
            raise invalid_relation("Cannot move an app to another space")
        if message.environment_json is not None:
            app.environment = {name: value for name, value in message.environment_json.items() if value is not None}
        _change(transaction, app, message)
        return JSONResponse(present_app(transaction, app), 201)


def delete_app(call: Call) -> Response:
    """DELETE /v2/apps/:guid."""
    with call.transaction() as transaction:
        remove_app(transaction, find(transaction, App, call.guid))
        return Response(status_code=204)


def restage_app(call: Call) -> Response:
    """POST /v2/apps/:guid/restage: there is nothing to stage, so the app is restarted."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        try:
            restart(transaction, app)
        except ApiError as error:
            raise ApiError(400, 170001, "CF-StagingError", f"Staging error: {'; '.join(error.details)}") from None
        transaction.session.flush()
        return JSONResponse(present_app(transaction, app), 201)


def _change(transaction: Transaction, app: App, message: AppUpdate) -> None:
    """What creation and update have in common: the bits, the process, and at last the state."""
    if message.docker_image:
        raise docker_disabled()
    if message.stack_guid not in (None, STACK_GUID):
        raise invalid_relation(f"Could not find VCAP::CloudController::Stack with guid: {message.stack_guid}")
    if message.state == "STOPPED":
        stop(transaction, app)
    _change_bits(app, message)
    process = web(app)
    update = ProcessUpdate(health_check=_health_check(process, message))
    if "command" in message.model_fields_set:
        update.command = message.command  # also a null counts as set
    configure(process, update)
    quotas = {"instances": message.instances, "memory_in_mb": message.memory, "disk_in_mb": message.disk_quota}
    if any(quota is not None for quota in quotas.values()):
        scale(transaction, process, ProcessScale(**quotas))
    if message.state == "STARTED":
        start(transaction, app)
    transaction.session.flush()


def _change_bits(app: App, message: AppUpdate) -> None:
    if app.lifecycle_type == "buildpack":
        if message.ports:
            raise invalid(App, "ports cannot be set with a buildpack: the app listens at $PORT")
        if "buildpack" in message.model_fields_set:
            app.lifecycle_data = app.lifecycle_data | {"buildpacks": [message.buildpack] if message.buildpack else []}
    elif message.buildpack:
        raise invalid(App, "buildpack cannot be set: the app runs from a directory")
    elif message.ports:
        app.lifecycle_data = app.lifecycle_data | {"port": message.ports[0]}


def _health_check(process: Process, message: AppUpdate) -> HealthCheck:
    given = {"timeout": message.health_check_timeout, "endpoint": message.health_check_http_endpoint}
    data = process.health_check_data | {name: value for name, value in given.items() if value is not None}
    kind = "process" if message.health_check_type == "none" else message.health_check_type
    return HealthCheck(type=kind, data=HealthCheckData.model_validate(data))
