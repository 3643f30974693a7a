"""The destinations of a route: which processes it leads to, at which port, and in what proportion."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.errors import unprocessable
from netlab.capi.messages import PORTS_MAX, DestinationEntry, DestinationsInsert, DestinationsReplace
from netlab.capi.models import App, Destination, Route
from netlab.capi.routes import mappings_changed, present_destination, route_mappings


def _answer(call: Call, route: Route) -> JSONResponse:
    path = f"/v3/routes/{route.guid}"
    return JSONResponse(
        {
            "destinations": [present_destination(destination) for destination in route.destinations],
            "links": {"self": call.link(f"{path}/destinations"), "route": call.link(path)},
        }
    )


def list_destinations(call: Call) -> Response:
    """GET /v3/routes/:guid/destinations."""
    with call.transaction() as transaction:
        return _answer(call, transaction.get(Route, call.guid))


def insert_destinations(call: Call) -> Response:
    """POST /v3/routes/:guid/destinations; one that is there already stays as it is."""
    message = call.message(DestinationsInsert)
    with call.transaction() as transaction:
        route = transaction.get(Route, call.guid)
        insert(transaction, route, message.destinations)
        return _answer(call, route)


def insert(transaction: Transaction, route: Route, entries: Sequence[DestinationEntry]) -> None:
    """Add the destinations that a route lacks, and tell everybody; raises 422 if one cannot be added."""
    if any(entry.weight is not None for entry in entries):
        raise unprocessable("Destinations: weighted destinations can only be used when replacing all destinations.")
    if any(destination.weight is not None for destination in route.destinations):
        raise unprocessable("Destinations cannot be inserted when there are weighted destinations already configured.")
    present = {_key(destination) for destination in route.destinations}
    wanted = [entry for entry in _distinct(entries) if entry.key not in present]
    apps = _apps(transaction, route, entries)
    before = route_mappings(transaction, route)
    for entry in wanted:
        _add(route, entry, apps)
    transaction.session.flush()
    _check_ports(transaction, wanted)
    mappings_changed(transaction, route, before)


def replace_destinations(call: Call) -> Response:
    """PATCH /v3/routes/:guid/destinations; those that stay keep their guid, and may get another weight."""
    message = call.message(DestinationsReplace)
    entries = _distinct(message.destinations)
    weights = [entry.weight for entry in entries if entry.weight is not None]
    if weights and len(weights) != len(entries):
        raise unprocessable("Destinations cannot contain both weighted and unweighted destinations.")
    if weights and sum(weights) != 100:
        raise unprocessable("Destinations must have weights that add up to 100.")
    with call.transaction() as transaction:
        route = transaction.get(Route, call.guid)
        apps = _apps(transaction, route, entries)
        before = route_mappings(transaction, route)
        wanted = {entry.key: entry for entry in entries}
        for destination in list(route.destinations):
            entry = wanted.pop(_key(destination), None)
            if entry is None:
                route.destinations.remove(destination)
            else:
                destination.weight = entry.weight
        for entry in wanted.values():
            _add(route, entry, apps)
        transaction.session.flush()
        _check_ports(transaction, entries)
        mappings_changed(transaction, route, before)
        return _answer(call, route)


def delete_destination(call: Call) -> Response:
    """DELETE /v3/routes/:guid/destinations/:destination_guid."""
    with call.transaction() as transaction:
        route = transaction.get(Route, call.guid)
        for destination in route.destinations:
            if destination.guid == call.parameters["destination_guid"]:
                break
        else:
            raise unprocessable(
                "Unable to unmap route from destination. Ensure the route has a destination with this guid."
            )
        remove(transaction, route, [destination])
        return Response(status_code=204)


def remove(transaction: Transaction, route: Route, destinations: Sequence[Destination]) -> None:
    """Take destinations from a route, and tell everybody; raises 422 if one has a weight."""
    if any(destination.weight is not None for destination in destinations):
        raise unprocessable("Weighted destinations cannot be deleted individually.")
    before = route_mappings(transaction, route)
    for destination in destinations:
        route.destinations.remove(destination)
    mappings_changed(transaction, route, before)


def _key(destination: Destination) -> tuple[str, str, int | None]:
    return destination.app_guid, destination.process_type, destination.port


def _distinct(entries: Sequence[DestinationEntry]) -> list[DestinationEntry]:
    """The entries; raises 422 if two are the same."""
    if len({entry.key for entry in entries}) != len(entries):
        raise unprocessable("Destinations cannot contain duplicate entries.")
    return list(entries)


def _apps(transaction: Transaction, route: Route, entries: Sequence[DestinationEntry]) -> dict[str, App]:
    """The apps of the entries; raises 422 if one is missing or in another space than the route."""
    guids = dict.fromkeys(entry.app.guid for entry in entries)
    apps = {app.guid: app for app in transaction.session.scalars(select(App).where(App.guid.in_(guids)))}
    absent = [f'"{guid}"' for guid in guids if guid not in apps]
    if absent:
        raise unprocessable(f"App(s) with guid(s) {', '.join(absent)} do not exist or you do not have access.")
    if any(app.space_guid != route.space_guid for app in apps.values()):
        raise unprocessable("Routes cannot be mapped to destinations in different spaces.")
    return apps


def _add(route: Route, entry: DestinationEntry, apps: dict[str, App]) -> None:
    route.destinations.append(
        Destination(
            app=apps[entry.app.guid],
            process_type=entry.process_type,
            port=entry.port,
            weight=entry.weight,
        )
    )


def _check_ports(transaction: Transaction, entries: Sequence[DestinationEntry]) -> None:
    for app_guid, process_type in {(entry.app.guid, entry.process_type) for entry in entries if entry.port}:
        ports = transaction.session.scalars(
            select(Destination.port)
            .where(Destination.app_guid == app_guid, Destination.process_type == process_type)
            .distinct()
        ).all()
        if len(ports) > PORTS_MAX:
            raise unprocessable(f"Process must have at most {PORTS_MAX} exposed ports.")
