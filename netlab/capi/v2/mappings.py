"""Route mappings: version 2's name for the destinations of routes that lead to web processes."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.destinations import remove
from netlab.capi.listing import among
from netlab.capi.models import App, Destination, Route
from netlab.capi.v2.documents import deleted, entity
from netlab.capi.v2.errors import find, mapping_taken, refusing
from netlab.capi.v2.listing import Listing
from netlab.capi.v2.messages import MappingCreate, read
from netlab.capi.v2.routes import leads_to, map_route

_MAPPINGS = Listing(Destination, {"app_guid": among(Destination.app_guid), "route_guid": among(Destination.route_guid)})


def _mapping(destination: Destination) -> dict[str, Any]:
    return entity(
        destination,
        f"/v2/route_mappings/{destination.guid}",
        app_port=destination.port,
        app_guid=destination.app_guid,
        route_guid=destination.route_guid,
        app_url=f"/v2/apps/{destination.app_guid}",
        route_url=f"/v2/routes/{destination.route_guid}",
    )


def list_mappings(call: Call) -> Response:
    """GET /v2/route_mappings."""
    with call.transaction() as transaction:
        return _MAPPINGS.answer(call, transaction, _mapping)


def list_app_mappings(call: Call) -> Response:
    """GET /v2/apps/:guid/route_mappings."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        return _MAPPINGS.answer(call, transaction, _mapping, Destination.app_guid == app.guid)


def list_route_mappings(call: Call) -> Response:
    """GET /v2/routes/:guid/route_mappings."""
    with call.transaction() as transaction:
        route = find(transaction, Route, call.guid)
        return _MAPPINGS.answer(call, transaction, _mapping, Destination.route_guid == route.guid)


def show_mapping(call: Call) -> Response:
    """GET /v2/route_mappings/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_mapping(find(transaction, Destination, call.guid)))


def create_mapping(call: Call) -> Response:
    """POST /v2/route_mappings."""
    message = read(call, MappingCreate, Destination)
    with call.transaction() as transaction:
        route = find(transaction, Route, message.route_guid)
        app = find(transaction, App, message.app_guid)
        if any(leads_to(each, app, message.app_port) for each in route.destinations):
            raise mapping_taken(route.guid, app.guid)
        made = map_route(transaction, route, app, message.app_port)
        return JSONResponse(_mapping(made), 201, {"location": f"/v2/route_mappings/{made.guid}"})


def delete_mapping(call: Call) -> Response:
    """DELETE /v2/route_mappings/:guid."""
    with call.transaction() as transaction, refusing(Destination):
        destination = find(transaction, Destination, call.guid)
        remove(transaction, destination.route, [destination])
        return deleted(call, transaction, "route_mapping.delete")
