"""Domains of version 2: shared and private ones are two collections, and a third holds all."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.domains import add_domain, remove_domain, usable_domains
from netlab.capi.listing import among
from netlab.capi.models import Domain, Organization, Space
from netlab.capi.v2.documents import deleted, entity
from netlab.capi.v2.errors import find, missing, not_empty, related, taking
from netlab.capi.v2.listing import Listing
from netlab.capi.v2.messages import PrivateDomainCreate, SharedDomainCreate, read

_SHARED = Domain.organization_guid.is_(None)
_DOMAINS = Listing(Domain, {"name": among(Domain.name)}, orders=("name",))
_OWNED = Listing(
    Domain,
    {"name": among(Domain.name), "owning_organization_guid": among(Domain.organization_guid)},
    orders=("name",),
)


def domain_url(domain: Domain) -> str:
    """Where a domain is, which says of which sort it is."""
    return f"/v2/{'shared' if domain.organization_guid is None else 'private'}_domains/{domain.guid}"


def _domain(domain: Domain) -> dict[str, Any]:
    owner = domain.organization_guid
    if owner is None:
        own: dict[str, Any] = {"internal": domain.internal, "router_group_guid": None, "router_group_type": None}
    else:
        own = {"owning_organization_guid": owner, "owning_organization_url": f"/v2/organizations/{owner}"}
    return entity(domain, domain_url(domain), name=domain.name, **own)


def _any_domain(domain: Domain) -> dict[str, Any]:
    fields = {"name": domain.name, "owning_organization_guid": domain.organization_guid}
    if domain.organization_guid is not None:
        fields["owning_organization_url"] = f"/v2/organizations/{domain.organization_guid}"
    return entity(domain, f"/v2/domains/{domain.guid}", **fields)


def list_domains(call: Call) -> Response:
    """GET /v2/domains."""
    with call.transaction() as transaction:
        return _OWNED.answer(call, transaction, _any_domain)


def show_domain(call: Call) -> Response:
    """GET /v2/domains/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_any_domain(find(transaction, Domain, call.guid)))


def list_shared_domains(call: Call) -> Response:
    """GET /v2/shared_domains."""
    with call.transaction() as transaction:
        return _DOMAINS.answer(call, transaction, _domain, _SHARED)


def list_private_domains(call: Call) -> Response:
    """GET /v2/private_domains."""
    with call.transaction() as transaction:
        return _OWNED.answer(call, transaction, _domain, ~_SHARED)


def list_organization_domains(call: Call) -> Response:
    """GET /v2/organizations/:guid/domains: those that it may use."""
    with call.transaction() as transaction:
        organization = find(transaction, Organization, call.guid)
        return _OWNED.answer(call, transaction, _any_domain, usable_domains(organization))


def list_organization_private_domains(call: Call) -> Response:
    """GET /v2/organizations/:guid/private_domains: its own and those that are shared with it."""
    with call.transaction() as transaction:
        organization = find(transaction, Organization, call.guid)
        return _OWNED.answer(call, transaction, _domain, ~_SHARED, usable_domains(organization))


def list_space_domains(call: Call) -> Response:
    """GET /v2/spaces/:guid/domains: those that its organization may use."""
    with call.transaction() as transaction:
        space = find(transaction, Space, call.guid)
        return _OWNED.answer(call, transaction, _any_domain, usable_domains(space.organization))


def show_shared_domain(call: Call) -> Response:
    """GET /v2/shared_domains/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_domain(_find(transaction, call.guid, shared=True)))


def show_private_domain(call: Call) -> Response:
    """GET /v2/private_domains/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_domain(_find(transaction, call.guid, shared=False)))


def create_shared_domain(call: Call) -> Response:
    """POST /v2/shared_domains."""
    message = read(call, SharedDomainCreate, Domain)
    with call.transaction() as transaction:
        return _create(transaction, message.name, internal=bool(message.internal), owner_guid=None)


def create_private_domain(call: Call) -> Response:
    """POST /v2/private_domains."""
    message = read(call, PrivateDomainCreate, Domain)
    with call.transaction() as transaction:
        owner = related(transaction, Organization, message.owning_organization_guid)
        return _create(transaction, message.name, internal=False, owner_guid=owner.guid)


def delete_shared_domain(call: Call) -> Response:
    """DELETE /v2/shared_domains/:guid."""
    return _delete(call, shared=True)


def delete_private_domain(call: Call) -> Response:
    """DELETE /v2/private_domains/:guid."""
    return _delete(call, shared=False)


def _find(transaction: Transaction, guid: str, *, shared: bool) -> Domain:
    domain = find(transaction, Domain, guid)
    if (domain.organization_guid is None) != shared:
        raise missing(Domain, guid)
    return domain


def _create(transaction: Transaction, name: str, *, internal: bool, owner_guid: str | None) -> Response:
    with taking(Domain, name):
        domain = add_domain(transaction, name, internal, owner_guid, [])
    return JSONResponse(_domain(domain), 201, {"location": domain_url(domain)})


def _delete(call: Call, *, shared: bool) -> Response:
    """Delete a domain; with recursive=true its routes too, else it must have none."""
    with call.transaction() as transaction:
        domain = _find(transaction, call.guid, shared=shared)
        if domain.routes and call.query.get("recursive") != "true":
            raise not_empty("routes", "domains")
        remove_domain(transaction, domain)
        return deleted(call, transaction, "domain.delete")
