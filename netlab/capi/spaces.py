"""Spaces."""

from __future__ import annotations

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.apps import remove_app
from netlab.capi.call import Call, Transaction
from netlab.capi.documents import to_one, update_metadata
from netlab.capi.errors import unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import SpaceCreate, SpaceUpdate
from netlab.capi.models import Organization, Route, Space
from netlab.capi.presenting import ORGANIZATION, present_space
from netlab.capi.routes import remove_route

_SPACES = Listing(
    Space,
    {
        "guids": among(Space.guid),
        "names": among(Space.name),
        "organization_guids": among(Space.organization_guid),
    },
    orders=("created_at", "updated_at", "name"),
    inclusions={"org": ORGANIZATION, "organization": ORGANIZATION},
)


def list_spaces(call: Call) -> Response:
    """GET /v3/spaces."""
    with call.transaction() as transaction:
        return _SPACES.answer(call, transaction, present_space)


def show_space(call: Call) -> Response:
    """GET /v3/spaces/:guid."""
    with call.transaction() as transaction:
        return _SPACES.single(call, present_space, transaction.get(Space, call.guid))


def create_space(call: Call) -> Response:
    """POST /v3/spaces."""
    message = call.message(SpaceCreate)
    owner = message.relationships.organization.data
    with call.transaction() as transaction:
        organization = owner and transaction.session.get(Organization, owner.guid)
        if not organization:
            raise unprocessable("Invalid organization. Ensure the organization exists and you have access to it.")
        space = add_space(transaction, organization, message.name)
        update_metadata(space, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_space(call, space), 201)


def add_space(transaction: Transaction, organization: Organization, name: str) -> Space:
    """Make a space; raises 422 if the organization has one of that name."""
    _check_name(transaction, organization.guid, name)
    space = Space(name=name, organization_guid=organization.guid)
    transaction.session.add(space)
    transaction.session.flush()
    return space


def _check_name(transaction: Transaction, organization_guid: str, name: str) -> None:
    taken = select(Space.position).where(Space.organization_guid == organization_guid, Space.name == name)
    if transaction.session.scalar(taken):
        raise unprocessable("Name must be unique per organization")


def update_space(call: Call) -> Response:
    """PATCH /v3/spaces/:guid: name and metadata."""
    message = call.message(SpaceUpdate)
    with call.transaction() as transaction:
        space = transaction.get(Space, call.guid)
        if message.name is not None and message.name != space.name:
            _check_name(transaction, space.organization_guid, message.name)
            space.name = message.name
        update_metadata(space, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_space(call, space))


def delete_space(call: Call) -> Response:
    """DELETE /v3/spaces/:guid, with its apps and routes."""
    with call.transaction() as transaction:
        remove_space(transaction, transaction.get(Space, call.guid))
        return accepted(call, transaction, "space.delete")


def remove_space(transaction: Transaction, space: Space) -> None:
    """Delete a space with its apps and routes, and tell everybody."""
    session = transaction.session
    for app in list(space.apps):
        remove_app(transaction, app)
    for route in list(space.routes):
        remove_route(transaction, route)
    session.flush()
    session.expire(space)
    session.delete(space)


def delete_unmapped_routes(call: Call) -> Response:
    """DELETE /v3/spaces/:guid/routes?unmapped=true."""
    with call.transaction() as transaction:
        space = transaction.get(Space, call.guid)
        if call.query.get("unmapped") != "true":
            raise unprocessable(
                "Mass delete not supported for mapped routes. Use 'unmapped=true' parameter to delete all unmapped "
                "routes."
            )
        unmapped = select(Route).where(Route.space_guid == space.guid, ~Route.destinations.any())
        for route in transaction.session.scalars(unmapped).all():
            remove_route(transaction, route)
        return accepted(call, transaction, "space.delete_unmapped_routes")


def show_isolation_segment(call: Call) -> Response:
    """GET /v3/spaces/:guid/relationships/isolation_segment: there are none."""
    with call.transaction() as transaction:
        transaction.get(Space, call.guid)
        return JSONResponse(to_one(None) | {"links": {"self": call.link(call.path)}})
