"""The routes of a manifest: found or made by the names that people write, and mapped with their weights."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from netlab.capi.call import Transaction
from netlab.capi.destinations import insert, leave, share
from netlab.capi.domains import default_domain, usable_domains
from netlab.capi.errors import unprocessable
from netlab.capi.manifest import Application
from netlab.capi.messages import DestinationApp, DestinationEntry, checked_host, checked_path
from netlab.capi.models import App, Destination, Domain, Route, Space
from netlab.capi.routes import add_route, find_route

_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_FOREIGN = re.compile(r"[^a-z0-9-]+")


def route_named(transaction: Transaction, space: Space, text: str) -> Route:
    """The route that a person writes as `host.domain/path`, made if it is new; raises 422. The longest domain wins."""
    name, slash, path = _SCHEME.sub("", text, count=1).partition("/")
    labels = name.lower().rstrip(".").split(".")
    names = [".".join(labels[cut:]) for cut in range(len(labels))]
    usable = usable_domains(space.organization)
    found = transaction.session.scalars(select(Domain).where(Domain.name.in_(names), usable)).all()
    if not found:
        raise unprocessable(f"The route '{text}' did not match any existing domains.")
    domain = max(found, key=lambda each: len(each.name))
    host = ".".join(labels[: names.index(domain.name)])
    try:
        host, path = checked_host(host), checked_path(slash + path) if path else ""
    except ValueError as error:
        raise unprocessable(f"The route '{text}' is not one that can be made: its host or path {error}") from None
    return find_route(transaction, domain, host, path) or add_route(transaction, space, domain, host, path)


def map_routes(transaction: Transaction, space: Space, applications: Sequence[tuple[Application, App]]) -> None:
    """Map the routes of all applications of a manifest: only together do the weights of one route make sense."""
    wanted: dict[Route, dict[str, int | None]] = {}
    for application, app in applications:
        if application.no_route:
            _unmap(transaction, app)
        for entry in application.routes or ():
            weights = wanted.setdefault(route_named(transaction, space, entry.route), {})
            weights[app.guid] = entry.weight
        if application.default_route and not application.routes and not _mapped(transaction, app):
            domain = default_domain(transaction, space.organization)
            host = _FOREIGN.sub("-", app.name.lower()).strip("-")[:63] or "app"
            route = find_route(transaction, domain, host, "") or add_route(transaction, space, domain, host, "")
            wanted.setdefault(route, {})[app.guid] = None
    for route, weights in wanted.items():
        _map(transaction, route, weights)


def _map(transaction: Transaction, route: Route, weights: Mapping[str, int | None]) -> None:
    if any(weight is not None for weight in weights.values()):
        share(transaction, route, weights)
        return
    mapped = {destination.app_guid for destination in route.destinations if destination.process_type == "web"}
    entries = [DestinationEntry(app=DestinationApp(guid=guid)) for guid in weights if guid not in mapped]
    if entries:
        insert(transaction, route, entries)


def _mapped(transaction: Transaction, app: App) -> Sequence[Route]:
    """The routes that lead to an app."""
    mapped = Route.destinations.any(Destination.app_guid == app.guid)
    return transaction.session.scalars(select(Route).where(mapped).order_by(Route.position)).all()


def _unmap(transaction: Transaction, app: App) -> None:
    for route in _mapped(transaction, app):
        leave(transaction, route, app)
