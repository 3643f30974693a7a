"""Domains: shared ones, an organization's own, and internal ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, cast, or_, select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import update_metadata
from netlab.capi.errors import missing, unprocessable
from netlab.capi.jobs import accepted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import DomainCreate, MetadataUpdate, SharedOrganizations
from netlab.capi.models import Domain, Organization, Route, Space
from netlab.capi.presenting import present_domain
from netlab.capi.routes import find_route, remove_route

_DOMAINS = Listing(
    Domain,
    {
        "guids": among(Domain.guid),
        "names": among(Domain.name),
        "organization_guids": among(Domain.organization_guid),
    },
)


def shared_with(organization: Organization) -> Any:
    """The condition for the domains of others that are shared with an organization."""
    # A JSON array of guids, searched as text: needs no dialect's own function.
    return cast(Domain.shared_organization_guids, String).contains(organization.guid)


def usable_domains(organization: Organization) -> Any:
    """The condition for the domains that an organization may use: shared ones, its own, those shared with it."""
    return or_(
        Domain.organization_guid.is_(None),
        Domain.organization_guid == organization.guid,
        shared_with(organization),
    )


def default_domain(transaction: Transaction, organization: Organization) -> Domain:
    """The first external domain that the organization may use."""
    domain = transaction.session.scalar(
        select(Domain).where(~Domain.internal, usable_domains(organization)).order_by(Domain.position).limit(1)
    )
    if domain is None:
        raise missing("Domain")
    return domain


def list_domains(call: Call) -> Response:
    """GET /v3/domains."""
    with call.transaction() as transaction:
        return _DOMAINS.answer(call, transaction, present_domain)


def list_organization_domains(call: Call) -> Response:
    """GET /v3/organizations/:guid/domains."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        return _DOMAINS.answer(call, transaction, present_domain, usable_domains(organization))


def show_default_domain(call: Call) -> Response:
    """GET /v3/organizations/:guid/domains/default."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        return JSONResponse(present_domain(call, default_domain(transaction, organization)))


def show_domain(call: Call) -> Response:
    """GET /v3/domains/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(present_domain(call, transaction.get(Domain, call.guid)))


def create_domain(call: Call) -> Response:
    """POST /v3/domains."""
    message = call.message(DomainCreate)
    relationships = message.relationships
    owner = relationships.organization.data if relationships and relationships.organization else None
    shared = (
        [resource.guid for resource in relationships.shared_organizations.data]
        if relationships and relationships.shared_organizations
        else []
    )
    if message.internal and owner is not None:
        raise unprocessable("Cannot associate an internal domain with an organization")
    if shared and owner is None:
        raise unprocessable("Relationships cannot contain shared_organizations without an owning organization")
    with call.transaction() as transaction:
        domain = add_domain(transaction, message.name, bool(message.internal), owner.guid if owner else None, shared)
        update_metadata(domain, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_domain(call, domain), 201)


def add_domain(
    transaction: Transaction, name: str, internal: bool, owner_guid: str | None, shared_guids: list[str]
) -> Domain:
    """Make a domain; raises 422 if the name is in use or an organization is missing."""
    session = transaction.session
    if session.scalar(select(Domain.position).where(Domain.name == name)):
        raise unprocessable(f'The domain name "{name}" is already in use')
    labels = name.split(".")
    parents = [".".join(labels[cut:]) for cut in range(1, len(labels) - 1)]
    private = select(Domain.name).where(
        Domain.name.in_(parents),
        Domain.organization_guid.is_not(None),
        Domain.organization_guid != owner_guid if owner_guid else Domain.guid.is_not(None),
    )
    if reserved := session.scalar(private.limit(1)):
        raise unprocessable(
            f'The domain name "{name}" cannot be created because "{reserved}" is already reserved by another domain'
        )
    for guid in {*shared_guids, *([owner_guid] if owner_guid else [])}:
        _check_organization(transaction, guid)
    domain = Domain(name=name, internal=internal, organization_guid=owner_guid, shared_organization_guids=shared_guids)
    session.add(domain)
    session.flush()
    return domain


def _check_organization(transaction: Transaction, guid: str) -> Organization:
    organization = transaction.session.get(Organization, guid)
    if organization is None:
        raise unprocessable(f"Organization with guid '{guid}' does not exist, or you do not have access to it.")
    return organization


def update_domain(call: Call) -> Response:
    """PATCH /v3/domains/:guid."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        update_metadata(domain, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_domain(call, domain))


def delete_domain(call: Call) -> Response:
    """DELETE /v3/domains/:guid; its routes go with it."""
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        if domain.shared_organization_guids:
            raise unprocessable("This domain is shared with other organizations. Unshare before deleting.")
        remove_domain(transaction, domain)
        return accepted(call, transaction, "domain.delete")


def remove_domain(transaction: Transaction, domain: Domain) -> None:
    """Delete a domain with its routes, and tell everybody."""
    for route in list(domain.routes):
        remove_route(transaction, route)
    # The routes that were just deleted must not be deleted again through the relationship.
    transaction.session.expire(domain)
    transaction.session.delete(domain)


def share_domain(call: Call) -> Response:
    """POST /v3/domains/:guid/relationships/shared_organizations."""
    message = call.message(SharedOrganizations)
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        if domain.organization_guid is None:
            raise unprocessable(
                "Domains can not be shared with other organizations unless they are scoped to an organization."
            )
        for resource in message.data:
            _check_organization(transaction, resource.guid)
        added = [resource.guid for resource in message.data if resource.guid != domain.organization_guid]
        domain.shared_organization_guids = list(dict.fromkeys([*domain.shared_organization_guids, *added]))
        transaction.session.flush()
        return JSONResponse({"data": [{"guid": guid} for guid in domain.shared_organization_guids]})


def unshare_domain(call: Call) -> Response:
    """DELETE /v3/domains/:guid/relationships/shared_organizations/:organization_guid."""
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        organization = _check_organization(transaction, call.parameters["organization_guid"])
        if organization.guid not in domain.shared_organization_guids:
            raise unprocessable(
                f"Unable to unshare domain from organization with name '{organization.name}'. "
                "Ensure the domain is shared to this organization."
            )
        used = (
            select(Route.position)
            .join(Space)
            .where(Route.domain_guid == domain.guid, Space.organization_guid == organization.guid)
        )
        if transaction.session.scalar(used.limit(1)):
            raise unprocessable(
                "This domain has associated routes in this organization. Delete the routes before unsharing."
            )
        unshare(domain, organization.guid)
        return Response(status_code=204)


def unshare(domain: Domain, organization_guid: str) -> None:
    """Share a domain no longer with an organization."""
    domain.shared_organization_guids = [guid for guid in domain.shared_organization_guids if guid != organization_guid]


def show_route_reservations(call: Call) -> Response:
    """GET /v3/domains/:guid/route_reservations: whether a host and path are taken."""
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        host, path = call.query.get("host", ""), call.query.get("path", "")
        return JSONResponse({"matching_route": find_route(transaction, domain, host, path) is not None})
