"""Domains: shared ones, an organization's own, and internal ones."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import common, metadata, to_one, update_metadata
from netlab.capi.errors import unprocessable
from netlab.capi.listing import Listing, among
from netlab.capi.messages import DomainCreate, MetadataUpdate
from netlab.capi.models import Domain, Organization
from netlab.capi.routes import find_route, remove_route
from netlab.capi.spaces import accepted, default_domain, usable_domains

_DOMAINS = Listing(
    Domain,
    {
        "guids": among(Domain.guid),
        "names": among(Domain.name),
        "organization_guids": among(Domain.organization_guid),
    },
)


def _domain(call: Call, domain: Domain) -> dict[str, Any]:
    path = f"/v3/domains/{domain.guid}"
    links = {
        "self": call.link(path),
        "route_reservations": call.link(f"{path}/route_reservations"),
    }
    if domain.organization_guid is not None:
        links["organization"] = call.link(f"/v3/organizations/{domain.organization_guid}")
    return {
        **common(domain),
        "name": domain.name,
        "internal": domain.internal,
        "router_group": None,
        "supported_protocols": ["http"],
        "metadata": metadata(domain),
        "relationships": {
            "organization": to_one(domain.organization_guid),
            "shared_organizations": {"data": [{"guid": guid} for guid in domain.shared_organization_guids]},
        },
        "links": links,
    }


def list_domains(call: Call) -> Response:
    """GET /v3/domains."""
    with call.transaction() as transaction:
        return _DOMAINS.answer(call, transaction, _domain)


def list_organization_domains(call: Call) -> Response:
    """GET /v3/organizations/:guid/domains."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        return _DOMAINS.answer(call, transaction, _domain, usable_domains(organization))


def show_default_domain(call: Call) -> Response:
    """GET /v3/organizations/:guid/domains/default."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        return JSONResponse(_domain(call, default_domain(transaction, organization)))


def show_domain(call: Call) -> Response:
    """GET /v3/domains/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_domain(call, transaction.get(Domain, call.guid)))


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
        return JSONResponse(_domain(call, domain), 201)


def add_domain(
    transaction: Transaction, name: str, internal: bool, owner_guid: str | None, shared_guids: list[str]
) -> Domain:
    """Make a domain; raises 422 if the name is in use or an organization is missing."""
    session = transaction.session
    if session.scalar(select(Domain.position).where(Domain.name == name)):
        raise unprocessable(f'The domain name "{name}" is already in use')
    for guid in {*shared_guids, *([owner_guid] if owner_guid else [])}:
        if not session.scalar(select(Organization.position).where(Organization.guid == guid)):
            raise unprocessable(f"Organization with guid '{guid}' does not exist or you do not have access to it.")
    domain = Domain(name=name, internal=internal, organization_guid=owner_guid, shared_organization_guids=shared_guids)
    session.add(domain)
    session.flush()
    return domain


def update_domain(call: Call) -> Response:
    """PATCH /v3/domains/:guid."""
    message = call.message(MetadataUpdate)
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        update_metadata(domain, message.metadata)
        transaction.session.flush()
        return JSONResponse(_domain(call, domain))


def delete_domain(call: Call) -> Response:
    """DELETE /v3/domains/:guid; its routes go with it."""
    with call.transaction() as transaction:
        remove_domain(transaction, transaction.get(Domain, call.guid))
        return accepted(call, transaction, "domain.delete")


def remove_domain(transaction: Transaction, domain: Domain) -> None:
    """Delete a domain with its routes, and tell everybody."""
    for route in list(domain.routes):
        remove_route(transaction, route)
    # The routes that were just deleted must not be deleted again through the relationship.
    transaction.session.expire(domain)
    transaction.session.delete(domain)


def show_route_reservations(call: Call) -> Response:
    """GET /v3/domains/:guid/route_reservations: whether a host and path are taken."""
    with call.transaction() as transaction:
        domain = transaction.get(Domain, call.guid)
        host, path = call.query.get("host", ""), call.query.get("path", "")
        return JSONResponse({"matching_route": find_route(transaction, domain, host, path) is not None})
