"""Routes of version 2, and which apps they lead to."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.destinations import insert, remove
from netlab.capi.listing import among
from netlab.capi.messages import DestinationApp, DestinationEntry
from netlab.capi.models import App, Destination, Domain, Route, Space
from netlab.capi.routes import add_route, find_route, may_use, remove_route
from netlab.capi.v2.apps import APPS, present_app
from netlab.capi.v2.documents import deleted, entity
from netlab.capi.v2.domains import domain_url
from netlab.capi.v2.errors import find, host_taken, invalid, path_taken, refusing, related
from netlab.capi.v2.listing import Listing
from netlab.capi.v2.messages import RouteCreate, read

_NO_TCP = "Port is supported for domains of TCP router groups only."


def _ports(ports: Any) -> ColumnElement[bool]:
    """Routes have no ports here; `q=port:0`, which old clients send, means those without."""
    return Route.guid.is_not(None) if set(ports) <= {"", "0"} else Route.guid.is_(None)


ROUTES = Listing(
    Route,
    {
        "host": among(Route.host),
        "domain_guid": among(Route.domain_guid),
        "organization_guid": lambda guids: Route.space.has(Space.organization_guid.in_(guids)),
        "path": among(Route.path),
        "port": _ports,
    },
)


def present_route(route: Route) -> dict[str, Any]:
    """The document of a route."""
    url = f"/v2/routes/{route.guid}"
    return entity(
        route,
        url,
        host=route.host,
        path=route.path,
        domain_guid=route.domain_guid,
        space_guid=route.space_guid,
        service_instance_guid=None,
        port=None,
        domain_url=domain_url(route.domain),
        space_url=f"/v2/spaces/{route.space_guid}",
        apps_url=f"{url}/apps",
        route_mappings_url=f"{url}/route_mappings",
    )


def list_routes(call: Call) -> Response:
    """GET /v2/routes."""
    with call.transaction() as transaction:
        return ROUTES.answer(call, transaction, present_route)


def show_route(call: Call) -> Response:
    """GET /v2/routes/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(present_route(find(transaction, Route, call.guid)))


def create_route(call: Call) -> Response:
    """POST /v2/routes."""
    message = read(call, RouteCreate, Route)
    host, path = message.host or "", message.path or ""
    with call.transaction() as transaction, refusing(Route):
        space = related(transaction, Space, message.space_guid)
        domain = related(transaction, Domain, message.domain_guid)
        if message.port or call.query.get("generate_port", "").lower() == "true":
            raise invalid(Route, _NO_TCP)
        if not may_use(space, domain):
            raise invalid(Route, "The domain is not one that the space's organization may use")
        if find_route(transaction, domain, host, path) is not None:
            raise path_taken(path) if path else host_taken(host)
        route = add_route(transaction, space, domain, host, path)
        return JSONResponse(present_route(route), 201, {"location": f"/v2/routes/{route.guid}"})


def delete_route(call: Call) -> Response:
    """DELETE /v2/routes/:guid; with async=true the answer is a job."""
    with call.transaction() as transaction:
        remove_route(transaction, find(transaction, Route, call.guid))
        return deleted(call, transaction, "route.delete")


def show_reserved(call: Call) -> Response:
    """GET /v2/routes/reserved/domain/:domain_guid[/host/:host]: 204 if there is such a route, else 404."""
    with call.transaction() as transaction:
        domain = transaction.session.get(Domain, call.parameters["domain_guid"])
        host = call.parameters.get("host", call.query.get("host", ""))
        taken = domain is not None and find_route(transaction, domain, host, call.query.get("path", ""))
        return Response(status_code=204 if taken else 404)


def list_route_apps(call: Call) -> Response:
    """GET /v2/routes/:guid/apps."""
    with call.transaction() as transaction:
        route = find(transaction, Route, call.guid)
        mapped = App.destinations.any(Destination.route_guid == route.guid)
        return APPS.answer(call, transaction, lambda app: present_app(transaction, app), mapped)


def list_app_routes(call: Call) -> Response:
    """GET /v2/apps/:guid/routes."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        mapped = Route.destinations.any(Destination.app_guid == app.guid)
        return ROUTES.answer(call, transaction, present_route, mapped)


def map_to_app(call: Call) -> Response:
    """PUT /v2/routes/:guid/apps/:app_guid; nothing happens if the route leads there already."""
    with call.transaction() as transaction:
        route = find(transaction, Route, call.guid)
        map_route(transaction, route, find(transaction, App, call.parameters["app_guid"]))
        return JSONResponse(present_route(route), 201)


def map_to_route(call: Call) -> Response:
    """PUT /v2/apps/:guid/routes/:route_guid; nothing happens if the route leads there already."""
    with call.transaction() as transaction:
        app = find(transaction, App, call.guid)
        map_route(transaction, find(transaction, Route, call.parameters["route_guid"]), app)
        return JSONResponse(present_app(transaction, app), 201)


def unmap_from_app(call: Call) -> Response:
    """DELETE /v2/routes/:guid/apps/:app_guid; nothing happens if the route does not lead there."""
    return _unmap(call, call.guid, call.parameters["app_guid"])


def unmap_from_route(call: Call) -> Response:
    """DELETE /v2/apps/:guid/routes/:route_guid; nothing happens if the route does not lead there."""
    return _unmap(call, call.parameters["route_guid"], call.guid)


def _unmap(call: Call, route_guid: str, app_guid: str) -> Response:
    with call.transaction() as transaction, refusing(Destination):
        route, app = find(transaction, Route, route_guid), find(transaction, App, app_guid)
        remove(transaction, route, [each for each in route.destinations if leads_to(each, app)])
        return Response(status_code=204)


def map_route(transaction: Transaction, route: Route, app: App, port: int | None = None) -> Destination:
    """Have a route lead to an app's web process, unless it does; raises 400 if it cannot."""
    if not any(leads_to(each, app, port) for each in route.destinations):
        with refusing(Destination):
            insert(transaction, route, [DestinationEntry(app=DestinationApp(guid=app.guid), port=port)])
    return next(each for each in route.destinations if leads_to(each, app, port))


def leads_to(destination: Destination, app: App, port: int | None = None) -> bool:
    """Whether a destination is an app's web process, at any port or at this one."""
    return (
        destination.app_guid == app.guid
        and destination.process_type == "web"
        and (port is None or port == (destination.port or app.port))
    )
