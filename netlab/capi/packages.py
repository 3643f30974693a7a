"""Packages: what clients upload. The bits are taken and not kept: an app's bits are a directory of the machine."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import bits_uploaded, unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import MetadataUpdate, PackageCreate, ResourceMatches
from netlab.capi.models import App, Package, Space

UNUSED_BITS = "netlab runs no uploaded bits: an app is a command in a directory of the machine, or the demo app"
_PACKAGES = Listing(
    Package,
    {
        "guids": among(Package.guid),
        "types": among(Package.type),
        "states": among(Package.state),
        "app_guids": among(Package.app_guid),
        "space_guids": lambda guids: Package.app.has(App.space_guid.in_(guids)),
        "organization_guids": lambda guids: Package.app.has(App.space.has(Space.organization_guid.in_(guids))),
    },
)
READY = "READY"


def _package(call: Call, package: Package) -> dict[str, Any]:
    path = f"/v3/packages/{package.guid}"
    return {
        **common(package),
        "type": package.type,
        "data": {"error": None, "checksum": {"type": "sha256", "value": None}},
        "state": package.state,
        "relationships": {"app": to_one(package.app_guid)},
        "metadata": metadata(package),
        "links": {
            "self": call.link(path),
            "upload": call.link(f"{path}/upload", "POST"),
            "app": call.link(f"/v3/apps/{package.app_guid}"),
        },
    }


def list_packages(call: Call) -> Response:
    """GET /v3/packages."""
    with call.transaction() as transaction:
        return _PACKAGES.answer(call, transaction, _package)


def list_app_packages(call: Call) -> Response:
    """GET /v3/apps/:guid/packages."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        return _PACKAGES.answer(call, transaction, _package, Package.app_guid == app.guid)


def show_package(call: Call) -> Response:
    """GET /v3/packages/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_package(call, transaction.get(Package, call.guid)))


def create_package(call: Call) -> Response:
    """POST /v3/packages: of bits only, as images do not run here."""
    message = call.message(PackageCreate)
    with call.transaction() as transaction:
        reference = message.relationships.app.data
        app = reference and transaction.session.get(App, reference.guid)
        if not app:
            raise unprocessable("App is invalid. Ensure it exists and you have access to it.")
        package = Package(app=app, labels={}, annotations={})
        update_metadata(package, message.metadata)
        transaction.session.add(package)
        transaction.session.flush()
        return JSONResponse(_package(call, package), 201)


def upload_bits(call: Call) -> Response:
    """POST /v3/packages/:guid/upload; whatever it is, the package is ready."""
    with call.transaction() as transaction:
        package = transaction.get(Package, call.guid)
        if package.state == READY:
            raise bits_uploaded()
        package.state = READY
        call.warnings.append(UNUSED_BITS)
        transaction.session.flush()
        return JSONResponse(_package(call, package))


def update_package(call: Call) -> Response:
    """PATCH /v3/packages/:guid: metadata only."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        package = transaction.get(Package, call.guid)
        update_metadata(package, message.metadata)
        transaction.session.flush()
        return JSONResponse(_package(call, package))


def delete_package(call: Call) -> Response:
    """DELETE /v3/packages/:guid."""
    with call.transaction() as transaction:
        transaction.session.delete(transaction.get(Package, call.guid))
        return accepted(call, transaction, "package.delete")


def match_resources(call: Call) -> Response:
    """POST /v3/resource_matches: no file is here already, as none is kept."""
    call.message(ResourceMatches)
    return JSONResponse({"resources": []}, 201)
