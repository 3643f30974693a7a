"""The refusals that only version 2 knows, with the Cloud Controller's codes, titles and wording."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from netlab.capi.call import Row, Transaction
from netlab.capi.errors import ApiError
from netlab.capi.models import App, Destination, Domain, Organization, Record, Route, Space

_UNPROCESSABLE = 10008


class _Kind(NamedTuple):
    """How a kind of resource is called: in "The app is invalid", in CF-AppNotFound, and where its codes begin."""

    noun: str
    title: str
    invalid: int
    taken: int
    missing: int


_KINDS: Mapping[type[Record], _Kind] = {
    App: _Kind("app", "App", 100001, 100002, 100004),
    Organization: _Kind("organization info", "Organization", 30001, 30002, 30003),
    Space: _Kind("app space info", "Space", 40001, 40002, 40004),
    Domain: _Kind("domain", "Domain", 130001, 130003, 130002),
    Route: _Kind("route", "Route", 210001, 210003, 210002),
    Destination: _Kind("route mapping", "RouteMapping", 1002, 210006, 210007),
}


def invalid(kind: type[Record], *details: str) -> ApiError:
    """The body asks for what cannot be."""
    if kind is Destination:
        return invalid_relation("; ".join(details))
    found = _KINDS[kind]
    return ApiError(
        400, found.invalid, f"CF-{found.title}Invalid", f"The {found.noun} is invalid: {', '.join(details)}"
    )


def missing(kind: type[Record], guid: str) -> ApiError:
    """There is no resource of the kind with that guid."""
    found = _KINDS[kind]
    noun = found.noun.removesuffix(" info")
    return ApiError(404, found.missing, f"CF-{found.title}NotFound", f"The {noun} could not be found: {guid}")


def no_such(noun: str, title: str, code: int, guid: str) -> ApiError:
    """There is no resource of a kind of which netlab has none at all."""
    return ApiError(404, code, f"CF-{title}", f"The {noun} could not be found: {guid}")


def host_taken(host: str) -> ApiError:
    """The domain has a route of that host."""
    return ApiError(400, 210003, "CF-RouteHostTaken", f"The host is taken: {host}")


def path_taken(path: str) -> ApiError:
    """The domain has a route of that host and path."""
    return ApiError(400, 210004, "CF-RoutePathTaken", f"The path is taken: {path}")


def path_invalid(detail: str) -> ApiError:
    """A route's path is none."""
    return ApiError(400, 130004, "CF-PathInvalid", f"The path is invalid: {detail}")


def memory_invalid() -> ApiError:
    """An app's memory is none."""
    text = "You have specified an invalid amount of memory for your application."
    return ApiError(400, 100006, "CF-AppMemoryInvalid", text)


def docker_disabled() -> ApiError:
    """Images do not run here."""
    return ApiError(400, 320003, "CF-DockerDisabled", "Docker support has not been enabled.")


def mapping_taken(route_guid: str, app_guid: str) -> ApiError:
    """The route leads to the app already."""
    text = f"The route mapping is taken: Route {route_guid} is mapped to app {app_guid}"
    return ApiError(400, 210006, "CF-RouteMappingTaken", text)


def invalid_relation(detail: str) -> ApiError:
    """Two resources cannot be related so."""
    return ApiError(400, 1002, "CF-InvalidRelation", detail)


def no_relation(kind: type[Record], guid: str) -> ApiError:
    """The body names a resource that is not there."""
    return invalid_relation(f"Could not find VCAP::CloudController::{_KINDS[kind].title} with guid: {guid}")


def not_empty(associations: str, table: str) -> ApiError:
    """Something must be deleted first."""
    text = f"Please delete the {associations} associations for your {table}."
    return ApiError(400, 10006, "CF-AssociationNotEmpty", text)


def wrong_body(detail: str) -> ApiError:
    """The body is not made as it should be."""
    return ApiError(400, 1001, "CF-MessageParseError", f"Request invalid due to parse error: {detail}")


def instances_error(app: str) -> ApiError:
    """A stopped app has no instances."""
    text = f"Instances error: Request failed for app: {app} as the app is in stopped state."
    return ApiError(400, 220001, "CF-InstancesError", text)


def instances_unavailable() -> ApiError:
    """The BBS does not answer."""
    text = "Instances information unavailable: the BBS does not answer"
    return ApiError(503, 220002, "CF-InstancesUnavailable", text)


def stopped_stats(app: str) -> ApiError:
    """A stopped app has no stats."""
    text = f"Could not fetch stats for stopped app: {app}"
    return ApiError(400, 200003, "CF-AppStoppedStatsError", text)


def find(transaction: Transaction, kind: type[Row], guid: str) -> Row:
    """The row of this guid; raises 404 with the kind's own code."""
    row = transaction.session.get(kind, guid)
    if row is None:
        raise missing(kind, guid)
    return row


def related(transaction: Transaction, kind: type[Row], guid: str) -> Row:
    """The row of a guid in a body; raises 400."""
    row = transaction.session.get(kind, guid)
    if row is None:
        raise no_relation(kind, guid)
    return row


@contextmanager
def refusing(kind: type[Record]) -> Generator[None]:
    """Within the block what version 3 calls unprocessable is said as version 2 does, for this kind of resource."""
    try:
        yield
    except ApiError as error:
        if error.code == _UNPROCESSABLE:
            raise invalid(kind, *error.details) from None
        raise


@contextmanager
def taking(kind: type[Record], name: str) -> Generator[None]:
    """Within the block what version 3 calls unprocessable can only be that another such resource has the name."""
    try:
        yield
    except ApiError as error:
        if error.code != _UNPROCESSABLE:
            raise
        found = _KINDS[kind]
        noun = found.noun.removesuffix(" info")
        text = f"The {noun} name is taken: {name}"
        raise ApiError(400, found.taken, f"CF-{found.title}NameTaken", text) from None
