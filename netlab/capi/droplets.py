"""Builds and droplets, for clients that stage before they start.

There is nothing to stage: a build is over as soon as it is asked for, and the droplet that it leaves is another name
for the bits that the app's lifecycle tells of. An app without a droplet starts as well.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import missing, unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import BuildCreate, CurrentDroplet, MetadataUpdate
from netlab.capi.models import App, Build, Droplet, Package, Space
from netlab.capi.packages import READY, UNUSED_BITS

_BUILDS = Listing(
    Build,
    {
        "guids": among(Build.guid),
        "app_guids": among(Build.app_guid),
        "package_guids": among(Build.package_guid),
        "states": lambda states: Build.guid.is_not(None) if "STAGED" in states else Build.guid.is_(None),
    },
)
_DROPLETS = Listing(
    Droplet,
    {
        "guids": among(Droplet.guid),
        "app_guids": among(Droplet.app_guid),
        "package_guids": among(Droplet.package_guid),
        "states": lambda states: Droplet.guid.is_not(None) if "STAGED" in states else Droplet.guid.is_(None),
        "space_guids": lambda guids: Droplet.app.has(App.space_guid.in_(guids)),
        "organization_guids": lambda guids: Droplet.app.has(App.space.has(Space.organization_guid.in_(guids))),
    },
)


def _build(call: Call, build: Build) -> dict[str, Any]:
    app = build.app
    return {
        **common(build),
        "created_by": None,
        "state": "STAGED",
        "staging_memory_in_mb": 0,
        "staging_disk_in_mb": 0,
        "staging_log_rate_limit_bytes_per_second": -1,
        "error": None,
        "lifecycle": {"type": app.lifecycle_type, "data": app.lifecycle_data},
        "package": {"guid": build.package_guid},
        "droplet": {"guid": build.droplet_guid, **call.link(f"/v3/droplets/{build.droplet_guid}")},
        "relationships": {"app": to_one(build.app_guid)},
        "metadata": metadata(build),
        "links": {
            "self": call.link(f"/v3/builds/{build.guid}"),
            "app": call.link(f"/v3/apps/{build.app_guid}"),
            "droplet": call.link(f"/v3/droplets/{build.droplet_guid}"),
        },
    }


def list_builds(call: Call) -> Response:
    """GET /v3/builds."""
    with call.transaction() as transaction:
        return _BUILDS.answer(call, transaction, _build)


def list_app_builds(call: Call) -> Response:
    """GET /v3/apps/:guid/builds."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        return _BUILDS.answer(call, transaction, _build, Build.app_guid == app.guid)


def show_build(call: Call) -> Response:
    """GET /v3/builds/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_build(call, transaction.get(Build, call.guid)))


def create_build(call: Call) -> Response:
    """POST /v3/builds: is staged at once."""
    message = call.message(BuildCreate)
    with call.transaction() as transaction:
        session = transaction.session
        package = session.get(Package, message.package.guid)
        if package is None:
            raise unprocessable("Unable to use package. Ensure that the package exists and you have access to it.")
        if package.state != READY:
            raise unprocessable("Cannot stage package whose state is not ready.")
        app = package.app
        droplet = Droplet(
            app=app,
            package_guid=package.guid,
            lifecycle_type=app.lifecycle_type,
            lifecycle_data=app.lifecycle_data,
            process_types={process.type: process.command or "" for process in app.processes},
        )
        session.add(droplet)
        session.flush()
        build = Build(app=app, package_guid=package.guid, droplet_guid=droplet.guid, labels={}, annotations={})
        update_metadata(build, message.metadata)
        session.add(build)
        session.flush()
        call.warnings.append(UNUSED_BITS)
        return JSONResponse(_build(call, build), 201)


def update_build(call: Call) -> Response:
    """PATCH /v3/builds/:guid: metadata only."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        build = transaction.get(Build, call.guid)
        update_metadata(build, message.metadata)
        transaction.session.flush()
        return JSONResponse(_build(call, build))


def _droplet(call: Call, droplet: Droplet) -> dict[str, Any]:
    app_path = f"/v3/apps/{droplet.app_guid}"
    links = {
        "self": call.link(f"/v3/droplets/{droplet.guid}"),
        "app": call.link(app_path),
        "assign_current_droplet": call.link(f"{app_path}/relationships/current_droplet", "PATCH"),
    }
    if droplet.package_guid is not None:
        links["package"] = call.link(f"/v3/packages/{droplet.package_guid}")
    return {
        **common(droplet),
        "state": "STAGED",
        "error": None,
        "lifecycle": {"type": droplet.lifecycle_type, "data": droplet.lifecycle_data},
        "execution_metadata": UNUSED_BITS,
        "process_types": droplet.process_types,
        "checksum": None,
        "buildpacks": [],
        "stack": None,
        "image": None,
        "relationships": {"app": to_one(droplet.app_guid)},
        "metadata": metadata(droplet),
        "links": links,
    }


def list_droplets(call: Call) -> Response:
    """GET /v3/droplets."""
    with call.transaction() as transaction:
        return _DROPLETS.answer(call, transaction, _droplet)


def list_app_droplets(call: Call) -> Response:
    """GET /v3/apps/:guid/droplets."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        return _DROPLETS.answer(call, transaction, _droplet, Droplet.app_guid == app.guid)


def list_package_droplets(call: Call) -> Response:
    """GET /v3/packages/:guid/droplets."""
    with call.transaction() as transaction:
        package = transaction.get(Package, call.guid)
        return _DROPLETS.answer(call, transaction, _droplet, Droplet.package_guid == package.guid)


def show_droplet(call: Call) -> Response:
    """GET /v3/droplets/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_droplet(call, transaction.get(Droplet, call.guid)))


def update_droplet(call: Call) -> Response:
    """PATCH /v3/droplets/:guid: metadata only."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        droplet = transaction.get(Droplet, call.guid)
        update_metadata(droplet, message.metadata)
        transaction.session.flush()
        return JSONResponse(_droplet(call, droplet))


def delete_droplet(call: Call) -> Response:
    """DELETE /v3/droplets/:guid; an app whose current one it was has none then."""
    with call.transaction() as transaction:
        droplet = transaction.get(Droplet, call.guid)
        if droplet.app.current_droplet_guid == droplet.guid:
            droplet.app.current_droplet_guid = None
        transaction.session.delete(droplet)
        return accepted(call, transaction, "droplet.delete")


def show_current_droplet(call: Call) -> Response:
    """GET /v3/apps/:guid/droplets/current."""
    with call.transaction() as transaction:
        return JSONResponse(_droplet(call, _current(transaction, transaction.get(App, call.guid))))


def show_current_relationship(call: Call) -> Response:
    """GET /v3/apps/:guid/relationships/current_droplet."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        return _relationship(call, app, _current(transaction, app))


def set_current_droplet(call: Call) -> Response:
    """PATCH /v3/apps/:guid/relationships/current_droplet."""
    message = call.message(CurrentDroplet)
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        droplet = message.data and transaction.session.get(Droplet, message.data.guid)
        if not droplet or droplet.app_guid != app.guid:
            raise unprocessable("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
        app.current_droplet_guid = droplet.guid
        transaction.session.flush()
        return _relationship(call, app, droplet)


def _current(transaction: Transaction, app: App) -> Droplet:
    if app.current_droplet_guid is None:
        raise missing("Droplet")
    return transaction.get(Droplet, app.current_droplet_guid)


def _relationship(call: Call, app: App, droplet: Droplet) -> JSONResponse:
    path = f"/v3/apps/{app.guid}"
    links = {
        "self": call.link(f"{path}/relationships/current_droplet"),
        "related": call.link(f"{path}/droplets/current"),
    }
    return JSONResponse(to_one(droplet.guid) | {"links": links})
