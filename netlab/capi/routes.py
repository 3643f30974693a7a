"""Routes: a host and a path of a domain, and what becomes of Copilot and Diego when they change."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import aliased
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.changes import RefreshRoutes, Weights, mapping_changes
from netlab.capi.config import CapiConfig
from netlab.capi.desired import copilot_route, route_weights
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import MetadataUpdate, RouteCreate
from netlab.capi.models import App, Destination, Domain, Process, Route, Space
from netlab.capi.presenting import DOMAIN, SPACE, SPACE_ORGANIZATION
from netlab.protocols import copilot_pb2 as copilot

_RESERVED = frozenset({"api", "bbs", "copilot", "login", "pilot", "uaa"})
_ROUTES = Listing(
    Route,
    {
        "guids": among(Route.guid),
        "hosts": among(Route.host),
        "paths": among(Route.path),
        "space_guids": among(Route.space_guid),
        "domain_guids": among(Route.domain_guid),
        "organization_guids": lambda guids: Route.space.has(Space.organization_guid.in_(guids)),
        "ports": lambda _ports: Route.guid.is_(None),
        "app_guids": lambda guids: Route.destinations.any(Destination.app_guid.in_(guids)),
    },
    inclusions={"domain": DOMAIN, "space": SPACE, "space.organization": SPACE_ORGANIZATION},
)


def present_destination(destination: Destination) -> dict[str, Any]:
    """A destination as the documents of routes and destinations show it."""
    return {
        "guid": destination.guid,
        "app": {"guid": destination.app_guid, "process": {"type": destination.process_type}},
        "weight": destination.weight,
        "port": destination.port if destination.port is not None else destination.app.port,
        "protocol": "http1",
    }


def present_route(call: Call, route: Route) -> dict[str, Any]:
    """The document of a route."""
    path = f"/v3/routes/{route.guid}"
    return {
        **common(route),
        "protocol": "http",
        "host": route.host,
        "path": route.path,
        "port": None,
        "url": route.fqdn + route.path,
        "destinations": [present_destination(destination) for destination in route.destinations],
        "metadata": metadata(route),
        "relationships": {"space": to_one(route.space_guid), "domain": to_one(route.domain_guid)},
        "links": {
            "self": call.link(path),
            "space": call.link(f"/v3/spaces/{route.space_guid}"),
            "domain": call.link(f"/v3/domains/{route.domain_guid}"),
            "destinations": call.link(f"{path}/destinations"),
        },
    }


def list_routes(call: Call) -> Response:
    """GET /v3/routes."""
    with call.transaction() as transaction:
        return _ROUTES.answer(call, transaction, present_route)


def list_app_routes(call: Call) -> Response:
    """GET /v3/apps/:guid/routes."""
    with call.transaction() as transaction:
        app = transaction.get(App, call.guid)
        mapped = Route.destinations.any(Destination.app_guid == app.guid)
        return _ROUTES.answer(call, transaction, present_route, mapped)


def show_route(call: Call) -> Response:
    """GET /v3/routes/:guid."""
    with call.transaction() as transaction:
        return _ROUTES.single(call, present_route, transaction.get(Route, call.guid))


def create_route(call: Call) -> Response:
    """POST /v3/routes; Copilot hears of it at once."""
    message = call.message(RouteCreate)
    host, path = message.host or "", message.path or ""
    with call.transaction() as transaction:
        session = transaction.session
        space_data, domain_data = message.relationships.space.data, message.relationships.domain.data
        space = space_data and session.get(Space, space_data.guid)
        if not space:
            raise unprocessable("Invalid space. Ensure that the space exists and you have access to it.")
        domain = domain_data and session.get(Domain, domain_data.guid)
        if not domain or not may_use(space, domain):
            raise unprocessable("Invalid domain. Ensure that the domain exists and you have access to it.")
        route = add_route(transaction, space, domain, host, path)
        update_metadata(route, message.metadata)
        session.flush()
        return JSONResponse(present_route(call, route), 201)


def add_route(transaction: Transaction, space: Space, domain: Domain, host: str, path: str) -> Route:
    """Make a route, without destinations, and tell Copilot; raises 422 if there cannot be such a route."""
    _check_route(transaction, space, domain, host, path)
    offset = _free_vip(transaction) if domain.internal else None
    route = Route(host=host, path=path, domain=domain, space=space, destinations=[], vip_offset=offset)
    transaction.session.add(route)
    transaction.session.flush()
    if in_mesh(transaction.config, route):
        transaction.copilot.append(
            copilot.UpsertRouteRequest(
                route=copilot_route(route.guid, route.fqdn, path, domain.internal, offset, transaction.config)
            )
        )
    return route


def may_use(space: Space, domain: Domain) -> bool:
    """Whether routes of a space may be of a domain: a shared one, its organization's own, or one shared with that."""
    return (
        domain.organization_guid in (None, space.organization_guid)
        or space.organization_guid in domain.shared_organization_guids
    )


def _check_route(transaction: Transaction, space: Space, domain: Domain, host: str, path: str) -> None:
    if domain.internal and host == "*":
        raise unprocessable("Wildcard hosts are not supported for internal domains.")
    if domain.internal and path:
        raise unprocessable("Paths are not supported for internal domains.")
    if not host and domain.organization_guid is None:
        raise unprocessable("Missing host. Routes in shared domains must have a host defined.")
    if len(host) + 1 + len(domain.name) > 253:
        raise unprocessable("Host combined with domain name must be no more than 253 characters.")
    if domain.name == transaction.config.system_domain and host in _RESERVED:
        raise unprocessable("Route conflicts with a reserved system route.")
    if find_route(transaction, domain, host, path) is not None:
        also = f" and path '{path}'" if path else ""
        raise unprocessable(f"Route already exists with host '{host}'{also} for domain '{domain.name}'.")
    elsewhere = select(Route.position).where(
        Route.domain_guid == domain.guid, Route.host == host, Route.space_guid != space.guid
    )
    if transaction.session.scalar(elsewhere.limit(1)):
        raise unprocessable(
            f"Routes for this host and domain have been reserved for another space: '{host}.{domain.name}'."
        )


def find_route(transaction: Transaction, domain: Domain, host: str, path: str) -> Route | None:
    """The route of this host and path, if the domain has it."""
    return transaction.session.scalar(
        select(Route).where(Route.domain_guid == domain.guid, Route.host == host.lower(), Route.path == path)
    )


def _free_vip(transaction: Transaction) -> int:
    """The first free 1-based offset in the range of the internal routes; raises 422 if there is none."""
    session = transaction.session
    if not session.scalar(select(exists().where(Route.vip_offset == 1))):
        free = 1
    else:
        following = aliased(Route)
        gap = session.scalar(
            select(func.min(Route.vip_offset + 1)).where(
                Route.vip_offset.is_not(None),
                ~exists().where(and_(following.vip_offset == Route.vip_offset + 1)),
            )
        )
        free = gap or 1
    if free > transaction.config.internal_route_vip_range.num_addresses - 2:
        raise unprocessable("There are no more VIPs available for internal routes.")
    return free


def update_route(call: Call) -> Response:
    """PATCH /v3/routes/:guid: metadata only."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        route = transaction.get(Route, call.guid)
        update_metadata(route, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_route(call, route))


def delete_route(call: Call) -> Response:
    """DELETE /v3/routes/:guid; Copilot hears of it at once."""
    with call.transaction() as transaction:
        remove_route(transaction, transaction.get(Route, call.guid))
        return accepted(call, transaction, "route.delete")


def in_mesh(config: CapiConfig, route: Route) -> bool:
    """Whether Copilot is told of a route."""
    return config.in_mesh(route.domain.name, route.domain.internal)


def route_mappings(transaction: Transaction, route: Route) -> Weights:
    """The mappings of a route as the database has them, unwritten changes included."""
    transaction.session.flush()
    return route_weights(transaction.session, Destination.route_guid == route.guid).get(route.guid, {})


def mappings_changed(transaction: Transaction, route: Route, before: Weights) -> None:
    """Tell Copilot how the mappings of a route differ from before, and Diego which processes lost or won it."""
    after = route_mappings(transaction, route)
    if in_mesh(transaction.config, route):
        transaction.copilot += mapping_changes(route.guid, before, after)
    refresh_routes(transaction, dict.fromkeys([*before, *after]))


def refresh_routes(transaction: Transaction, process_guids: dict[str, None]) -> None:
    """Have Diego told of the present routes of those processes that run."""
    if process_guids:
        started = transaction.session.scalars(
            select(Process.guid).join(Process.app).where(Process.guid.in_(process_guids), App.state == "STARTED")
        )
        transaction.diego += [RefreshRoutes(guid) for guid in started]


def remove_route(transaction: Transaction, route: Route) -> None:
    """Delete a route with its destinations, and tell everybody."""
    before = route_mappings(transaction, route)
    route.destinations.clear()
    mappings_changed(transaction, route, before)
    if in_mesh(transaction.config, route):
        transaction.copilot.append(copilot.DeleteRouteRequest(guid=route.guid))
    transaction.session.delete(route)
    transaction.session.flush()
