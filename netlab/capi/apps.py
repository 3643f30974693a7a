"""Apps.

There are no buildpacks, packages or droplets here: an app's bits are a directory of the machine, or the
built-in demo app. The lifecycle says which, as it does in Cloud Foundry:

    {"type": "netlab", "data": {"directory": "/path/of/the/bits" | null, "port": 8080}}

A null directory stands for the demo app, and for a command that needs no bits; `port` is where the bits
listen, as an image would tell it. It is the default lifecycle. `{"type": "buildpack"}`, which ordinary
clients send, is accepted, kept and shown as it was given, and runs with no directory at port 8080; any other
type is refused. So an app can be started as soon as it was created.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.changes import associate, dissociate
from netlab.capi.desired import process_lrp, process_targets
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import AppCreate, AppUpdate, EnvironmentUpdate, Lifecycle, NetlabLifecycle
from netlab.capi.models import App, Destination, Process, Route, Space, new_guid
from netlab.capi.presenting import SPACE, SPACE_ORGANIZATION
from netlab.capi.recipe import vcap_application
from netlab.capi.rollout import CANCELED, diego_guids, finish, in_flight, versions_of
from netlab.capi.routes import mappings_changed, route_mappings
from netlab.capi.stacks import STACK
from netlab.protocols import bbs_pb2 as bbs

_APPS = Listing(
    App,
    {
        "guids": among(App.guid),
        "names": among(App.name),
        "space_guids": among(App.space_guid),
        "organization_guids": lambda guids: App.space.has(Space.organization_guid.in_(guids)),
        "stacks": lambda names: App.guid.is_not(None) if {"", STACK} & set(names) else App.guid.is_(None),
        "lifecycle_type": among(App.lifecycle_type),
    },
    orders=("created_at", "updated_at", "name", "state"),
    inclusions={"space": SPACE, "org": SPACE_ORGANIZATION, "space.organization": SPACE_ORGANIZATION},
)


def _app(call: Call, app: App) -> dict[str, Any]:
    path = f"/v3/apps/{app.guid}"
    return {
        **common(app),
        "name": app.name,
        "state": app.state,
        "lifecycle": {"type": app.lifecycle_type, "data": app.lifecycle_data},
        "metadata": metadata(app),
        "relationships": {"space": to_one(app.space_guid), "current_droplet": to_one(app.current_droplet_guid)},
        "links": {
            "self": call.link(path),
            "space": call.link(f"/v3/spaces/{app.space_guid}"),
            "processes": call.link(f"{path}/processes"),
            "routes": call.link(f"{path}/routes"),
            "environment_variables": call.link(f"{path}/environment_variables"),
            "env": call.link(f"{path}/env"),
            "start": call.link(f"{path}/actions/start", "POST"),
            "stop": call.link(f"{path}/actions/stop", "POST"),
            "restart": call.link(f"{path}/actions/restart", "POST"),
            "deployments": call.link(f"/v3/deployments?app_guids={app.guid}"),
            "packages": call.link(f"{path}/packages"),
            "current_droplet": call.link(f"{path}/droplets/current"),
            "droplets": call.link(f"{path}/droplets"),
            "features": call.link(f"{path}/features"),
            "manifest": call.link(f"{path}/manifest"),
        },
    }


def list_apps(call: Call) -> Response:
    """GET /v3/apps."""
    with call.transaction() as transaction:
        return _APPS.answer(call, transaction, _app)


def show_app(call: Call) -> Response:
    """GET /v3/apps/:guid."""
    with call.transaction() as transaction:
        return _APPS.single(call, _app, transaction.get(App, call.guid))


def create_app(call: Call) -> Response:
    """POST /v3/apps: a stopped app with a web process of one instance."""
    message = call.message(AppCreate)
    kind, data = lifecycle(message.lifecycle)
    with call.transaction() as transaction:
        session = transaction.session
        reference = message.relationships.space.data
        space = reference and session.get(Space, reference.guid)
        if not space:
            raise unprocessable("Invalid space. Ensure that the space exists and you have access to it.")
        app = add_app(transaction, space, message.name, kind, data, message.environment_variables or {})
        update_metadata(app, message.metadata)
        session.flush()
        return JSONResponse(_app(call, app), 201)


def add_app(
    transaction: Transaction,
    space: Space,
    name: str,
    lifecycle_type: str,
    lifecycle_data: dict[str, Any],
    environment: Mapping[str, str | None],
) -> App:
    """Make a stopped app with a web process of one instance; raises 422 if the name is taken."""
    check_name(transaction, space.guid, name)
    guid = new_guid()
    app = App(
        guid=guid,
        name=name,
        space=space,
        lifecycle_type=lifecycle_type,
        lifecycle_data=lifecycle_data,
        environment={name: value for name, value in environment.items() if value is not None},
        processes=[Process(guid=guid)],
    )
    transaction.session.add(app)
    transaction.session.flush()
    return app


def update_app(call: Call) -> Response:
    """PATCH /v3/apps/:guid: name, lifecycle and metadata; a running app shows them after a restart."""
    message = call.message(AppUpdate)
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        if message.name is not None and message.name != app.name:
            check_name(transaction, app.space_guid, message.name)
            app.name = message.name
        if message.lifecycle is not None:
            if message.lifecycle.type != app.lifecycle_type:
                raise unprocessable("Lifecycle type cannot be changed")
            app.lifecycle_data = lifecycle(message.lifecycle)[1]
        update_metadata(app, message.metadata)
        transaction.session.flush()
        return JSONResponse(_app(call, app))


def delete_app(call: Call) -> Response:
    """DELETE /v3/apps/:guid: unmaps its routes and stops it."""
    with call.transaction() as transaction:
        remove_app(transaction, transaction.get(App, call.guid))
        return accepted(call, transaction, "app.delete")


def remove_app(transaction: Transaction, app: App) -> None:
    """Stop an app, unmap its routes and delete it."""
    session = transaction.session
    stop(transaction, app)
    mapped = session.scalars(select(Route).where(Route.destinations.any(Destination.app_guid == app.guid)))
    for route in mapped.all():
        before = route_mappings(transaction, route)
        for destination in [each for each in route.destinations if each.app_guid == app.guid]:
            route.destinations.remove(destination)
        mappings_changed(transaction, route, before)
    session.expire(app)
    session.delete(app)


def start_app(call: Call) -> Response:
    """POST /v3/apps/:guid/actions/start; nothing happens if it is started."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        start(transaction, app)
        transaction.session.flush()
        return JSONResponse(_app(call, app))


def stop_app(call: Call) -> Response:
    """POST /v3/apps/:guid/actions/stop; nothing happens if it is stopped."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        stop(transaction, app)
        transaction.session.flush()
        return JSONResponse(_app(call, app))


def restart_app(call: Call) -> Response:
    """POST /v3/apps/:guid/actions/restart: new instances of a new version take the place of the old."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        restart(transaction, app)
        transaction.session.flush()
        return JSONResponse(_app(call, app))


def restart(transaction: Transaction, app: App) -> None:
    """Have new instances of an app's processes take the place of the old; raises 422 if there is nothing to run."""
    if app.state != "STARTED":
        start(transaction, app)
        return
    for process in app.processes:
        renew(transaction, process)


def renew(transaction: Transaction, process: Process) -> None:
    """Give a process a new version: Diego makes it anew and removes what ran before, Copilot follows."""
    old = _end_versions(transaction, process)
    process.version = new_guid()
    transaction.copilot.append(associate(process.guid, [process.diego_guid]))
    lrp = process_lrp(transaction.session, process, transaction.config)
    transaction.diego += [bbs.DesireLRPRequest(desired_lrp=lrp), *old]


def start(transaction: Transaction, app: App) -> None:
    """Have an app's processes run, unless they do; raises 422 if there is nothing to run."""
    if app.state == "STARTED":
        return
    for process in app.processes:
        check_startable(process)
        process.version = new_guid()
        transaction.copilot.append(associate(process.guid, [process.diego_guid]))
        lrp = process_lrp(transaction.session, process, transaction.config)
        transaction.diego.append(bbs.DesireLRPRequest(desired_lrp=lrp))
    app.state = "STARTED"


def check_startable(process: Process) -> None:
    """Raise 422 if a process has nothing to run."""
    if process.app.directory is not None and process.command is None:
        raise unprocessable(
            f"App '{process.app.name}' cannot be started: it has a directory but process '{process.type}' "
            "has no command. Give the process a command."
        )


def stop(transaction: Transaction, app: App) -> None:
    """Have an app's processes stopped, if they run."""
    if app.state == "STARTED":
        for process in app.processes:
            transaction.copilot.append(dissociate(process.guid))
            transaction.diego += _end_versions(transaction, process)
        app.state = "STOPPED"


def _end_versions(transaction: Transaction, process: Process) -> list[bbs.RemoveDesiredLRPRequest]:
    """What takes everything of a process from Diego; a deployment that was under way is canceled."""
    versions = versions_of(transaction.session, process)
    deployment = in_flight(transaction.session, process.app_guid)
    if deployment is not None and process.type == "web":
        finish(deployment, CANCELED)
    return [bbs.RemoveDesiredLRPRequest(process_guid=guid) for guid in diego_guids(process.guid, versions)]


def show_env(call: Call) -> Response:
    """GET /v3/apps/:guid/env."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        process = app.processes[0]
        targets = process_targets(transaction.session, process)
        return JSONResponse(
            {
                "environment_variables": app.environment,
                "staging_env_json": {},
                "running_env_json": {},
                "system_env_json": {"VCAP_SERVICES": {}},
                "application_env_json": {"VCAP_APPLICATION": vcap_application(process, targets, transaction.config)},
            }
        )


def _environment(call: Call, app: App) -> JSONResponse:
    path = f"/v3/apps/{app.guid}"
    links = {"self": call.link(f"{path}/environment_variables"), "app": call.link(path)}
    return JSONResponse({"var": app.environment, "links": links})


def show_environment(call: Call) -> Response:
    """GET /v3/apps/:guid/environment_variables."""
    with call.transaction() as transaction:
        return _environment(call, transaction.get(App, call.guid))


def update_environment(call: Call) -> Response:
    """PATCH /v3/apps/:guid/environment_variables: merges; a running app sees it after a restart."""
    message = call.message(EnvironmentUpdate)
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        merged: dict[str, str | None] = {**app.environment, **message.var}
        app.environment = {name: value for name, value in merged.items() if value is not None}
        transaction.session.flush()
        return _environment(call, app)


def check_name(transaction: Transaction, space_guid: str, name: str) -> None:
    """Raise 422 if an app of the space has the name."""
    taken = select(App.position).where(App.space_guid == space_guid, App.name == name)
    if transaction.session.scalar(taken):
        raise unprocessable(f"App with the name '{name}' already exists.")


def lifecycle(given: Lifecycle | None) -> tuple[str, dict[str, Any]]:
    """The type and the data of a lifecycle, checked; see the module's text."""
    if given is None:
        return "netlab", NetlabLifecycle().model_dump()
    if given.type == "netlab":
        try:
            data = NetlabLifecycle.model_validate(given.data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise unprocessable(f"Lifecycle data {where}: {first['msg']}") from None
        if data.directory is not None and not data.directory.startswith("/"):
            raise unprocessable("Lifecycle data directory must be an absolute path")
        return "netlab", data.model_dump()
    if given.type == "buildpack":
        return "buildpack", {"buildpacks": [], "stack": STACK} | given.data
    raise unprocessable("Lifecycle type must be one of: netlab, buildpack")
