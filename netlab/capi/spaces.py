"""Organizations, spaces and jobs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, cast, or_, select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common, to_one
from netlab.capi.errors import missing, unprocessable
from netlab.capi.listing import Listing, among
from netlab.capi.messages import OrganizationCreate, SpaceCreate
from netlab.capi.models import Domain, Job, Organization, Space

_ORGANIZATIONS = Listing(
    Organization,
    {"guids": among(Organization.guid), "names": among(Organization.name)},
    orders=("created_at", "updated_at", "name"),
)
_SPACES = Listing(
    Space,
    {
        "guids": among(Space.guid),
        "names": among(Space.name),
        "organization_guids": among(Space.organization_guid),
    },
    orders=("created_at", "updated_at", "name"),
)


def accepted(call: Call, transaction: Transaction, operation: str) -> Response:
    """The answer to a deletion: a job, complete already, that the Location header names."""
    job = Job(operation=operation)
    transaction.session.add(job)
    transaction.session.flush()
    return Response(status_code=202, headers={"location": call.url(f"/v3/jobs/{job.guid}")})


def show_job(call: Call) -> Response:
    """GET /v3/jobs/:guid."""
    with call.transaction() as transaction:
        job = transaction.get(Job, call.guid)
        return JSONResponse(
            {
                **common(job),
                "operation": job.operation,
                "state": job.state,
                "errors": [],
                "warnings": [],
                "links": {"self": call.link(f"/v3/jobs/{job.guid}")},
            }
        )


def _organization(call: Call, organization: Organization) -> dict[str, Any]:
    path = f"/v3/organizations/{organization.guid}"
    return {
        **common(organization),
        "name": organization.name,
        "suspended": False,
        "relationships": {"quota": to_one(None)},
        "metadata": {"labels": {}, "annotations": {}},
        "links": {
            "self": call.link(path),
            "domains": call.link(f"{path}/domains"),
            "default_domain": call.link(f"{path}/domains/default"),
        },
    }


def list_organizations(call: Call) -> Response:
    """GET /v3/organizations."""
    with call.transaction() as transaction:
        return _ORGANIZATIONS.answer(call, transaction, _organization)


def show_organization(call: Call) -> Response:
    """GET /v3/organizations/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_organization(call, transaction.get(Organization, call.guid)))


def create_organization(call: Call) -> Response:
    """POST /v3/organizations."""
    message = call.message(OrganizationCreate)
    with call.transaction() as transaction:
        return JSONResponse(_organization(call, add_organization(transaction, message.name)), 201)


def add_organization(transaction: Transaction, name: str) -> Organization:
    """Make an organization; raises 422 if the name is taken."""
    if transaction.session.scalar(select(Organization.position).where(Organization.name == name)):
        raise unprocessable(f"Organization '{name}' already exists.")
    organization = Organization(name=name)
    transaction.session.add(organization)
    transaction.session.flush()
    return organization


def usable_domains(organization: Organization) -> Any:
    """The condition for the domains that an organization may use: shared ones, its own, those shared with it."""
    # A JSON array of guids, searched as text: needs no dialect's own function.
    return or_(
        Domain.organization_guid.is_(None),
        Domain.organization_guid == organization.guid,
        cast(Domain.shared_organization_guids, String).contains(organization.guid),
    )


def default_domain(transaction: Transaction, organization: Organization) -> Domain:
    """The first external domain that the organization may use."""
    domain = transaction.session.scalar(
        select(Domain).where(~Domain.internal, usable_domains(organization)).order_by(Domain.position).limit(1)
    )
    if domain is None:
        raise missing("Domain")
    return domain


def _space(call: Call, space: Space) -> dict[str, Any]:
    return {
        **common(space),
        "name": space.name,
        "relationships": {"organization": to_one(space.organization_guid), "quota": to_one(None)},
        "metadata": {"labels": {}, "annotations": {}},
        "links": {
            "self": call.link(f"/v3/spaces/{space.guid}"),
            "organization": call.link(f"/v3/organizations/{space.organization_guid}"),
        },
    }


def list_spaces(call: Call) -> Response:
    """GET /v3/spaces."""
    with call.transaction() as transaction:
        return _SPACES.answer(call, transaction, _space)


def show_space(call: Call) -> Response:
    """GET /v3/spaces/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_space(call, transaction.get(Space, call.guid)))


def create_space(call: Call) -> Response:
    """POST /v3/spaces."""
    message = call.message(SpaceCreate)
    owner = message.relationships.organization.data
    with call.transaction() as transaction:
        organization = owner and transaction.session.scalar(select(Organization).where(Organization.guid == owner.guid))
        if not organization:
            raise unprocessable("Invalid organization. Ensure the organization exists and you have access to it.")
        return JSONResponse(_space(call, add_space(transaction, organization, message.name)), 201)


def add_space(transaction: Transaction, organization: Organization, name: str) -> Space:
    """Make a space; raises 422 if the organization has one of that name."""
    taken = select(Space.position).where(Space.organization_guid == organization.guid, Space.name == name)
    if transaction.session.scalar(taken):
        raise unprocessable("Name must be unique per organization")
    space = Space(name=name, organization_guid=organization.guid)
    transaction.session.add(space)
    transaction.session.flush()
    return space
