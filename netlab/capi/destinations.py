"""The destinations of a route: which processes it leads to, at which port, and in what proportion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.errors import unprocessable
from netlab.capi.messages import (
    PORTS_MAX,
    DestinationApp,
    DestinationEntry,
    DestinationProcess,
    DestinationsInsert,
    DestinationsReplace,
)
from netlab.capi.models import App, Destination, Route
from netlab.capi.routes import mappings_changed, present_destination, route_mappings
from netlab.capi.weights import rescale


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
        _replace(transaction, route, entries)
        return _answer(call, route)


def _replace(transaction: Transaction, route: Route, entries: Sequence[DestinationEntry]) -> None:
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


def share(transaction: Transaction, route: Route, weights: Mapping[str, int | None]) -> None:
    """Have a route lead to apps, by their guids, with these weights; raises 422 if they do not come to 100.

    What they leave is shared by the apps without one, and by those that the route leads to already, as it was before.
    """
    entries = [_entry(destination) for destination in route.destinations]
    mapped = {entry.app.guid for entry in entries}
    entries += [DestinationEntry(app=DestinationApp(guid=guid)) for guid in weights if guid not in mapped]
    fixed = {guid: weight for guid, weight in weights.items() if weight is not None}
    rest = 100 - sum(fixed.values())
    others = [entry for entry in entries if entry.app.guid not in fixed]
    if rest < len(others) or (rest and not others):
        raise unprocessable(
            f"Destinations must have weights that add up to 100: those of '{route.fqdn}{route.path}' come to "
            f"{100 - rest}, and {len(others)} other destinations share what they leave"
        )
    groups = [(others, rest)] if others else []
    groups += [([entry for entry in entries if entry.app.guid == guid], weight) for guid, weight in fixed.items()]
    _replace(transaction, route, [entry for group, total in groups for entry in _rescaled(group, total)])


def leave(transaction: Transaction, route: Route, app: App) -> None:
    """Have a route lead to an app no longer; if there are weights, the others share its own as they did the rest."""
    others = [_entry(destination) for destination in route.destinations if destination.app_guid != app.guid]
    weighted = any(entry.weight is not None for entry in others)
    _replace(transaction, route, _rescaled(others, 100) if weighted else others)


def _entry(destination: Destination) -> DestinationEntry:
    return DestinationEntry(
        app=DestinationApp(guid=destination.app_guid, process=DestinationProcess(type=destination.process_type)),
        port=destination.port,
        weight=destination.weight,
    )


def _rescaled(entries: Sequence[DestinationEntry], total: int) -> list[DestinationEntry]:
    if total < len(entries):
        raise unprocessable(f"A weight of {total} cannot be shared by {len(entries)} destinations of one app")
    shares = rescale([entry.weight or 1 for entry in entries], total)
    return [entry.model_copy(update={"weight": weight}) for entry, weight in zip(entries, shares, strict=True)]


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
