"""Organizations."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Transaction
from netlab.capi.documents import to_one, update_metadata
from netlab.capi.domains import remove_domain, shared_with, unshare
from netlab.capi.errors import organization_deletion_failed, unprocessable
from netlab.capi.jobs import attempted
from netlab.capi.listing import Listing, among
from netlab.capi.messages import OrganizationCreate, OrganizationUpdate
from netlab.capi.models import App, Domain, Organization, Process, Route, Space
from netlab.capi.presenting import present_organization
from netlab.capi.spaces import remove_space

_ORGANIZATIONS = Listing(
    Organization,
    {"guids": among(Organization.guid), "names": among(Organization.name)},
    orders=("created_at", "updated_at", "name"),
)


def list_organizations(call: Call) -> Response:
    """GET /v3/organizations."""
    with call.transaction() as transaction:
        return _ORGANIZATIONS.answer(call, transaction, present_organization)


def show_organization(call: Call) -> Response:
    """GET /v3/organizations/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(present_organization(call, transaction.get(Organization, call.guid)))


def create_organization(call: Call) -> Response:
    """POST /v3/organizations."""
    message = call.message(OrganizationCreate)
    with call.transaction() as transaction:
        organization = add_organization(transaction, message.name)
        organization.suspended = bool(message.suspended)
        update_metadata(organization, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_organization(call, organization), 201)


def add_organization(transaction: Transaction, name: str) -> Organization:
    """Make an organization; raises 422 if the name is taken."""
    _check_name(transaction, name)
    organization = Organization(name=name)
    transaction.session.add(organization)
    transaction.session.flush()
    return organization


def _check_name(transaction: Transaction, name: str) -> None:
    if transaction.session.scalar(select(Organization.position).where(Organization.name == name)):
        raise unprocessable(f"Organization '{name}' already exists.")


def update_organization(call: Call) -> Response:
    """PATCH /v3/organizations/:guid: name, metadata, and the mark `suspended`, which keeps nobody out here."""
    message = call.message(OrganizationUpdate)
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        if message.name is not None and message.name != organization.name:
            _check_name(transaction, message.name)
            organization.name = message.name
        if message.suspended is not None:
            organization.suspended = message.suspended
        update_metadata(organization, message.metadata)
        transaction.session.flush()
        return JSONResponse(present_organization(call, organization))


def delete_organization(call: Call) -> Response:
    """DELETE /v3/organizations/:guid, with all that it holds; the job fails if others use a domain of it."""
    with call.transaction() as transaction:
        transaction.get(Organization, call.guid)
    return attempted(
        call,
        "organization.delete",
        lambda transaction: _remove_organization(transaction, transaction.get(Organization, call.guid)),
    )


def _remove_organization(transaction: Transaction, organization: Organization) -> None:
    shared = [domain.name for domain in organization.domains if domain.shared_organization_guids]
    if shared:
        reasons = "\n".join(
            f"Domain '{name}' is shared with other organizations. Unshare before deleting." for name in shared
        )
        raise organization_deletion_failed(organization.name, reasons)
    session = transaction.session
    for space in list(organization.spaces):
        remove_space(transaction, space)
    for domain in list(organization.domains):
        remove_domain(transaction, domain)
    for domain in session.scalars(select(Domain).where(shared_with(organization))).all():
        unshare(domain, organization.guid)
    session.flush()
    session.expire(organization)
    session.delete(organization)


def show_usage(call: Call) -> Response:
    """GET /v3/organizations/:guid/usage_summary."""
    with call.transaction() as transaction:
        organization = transaction.get(Organization, call.guid)
        usage = usage_summary(transaction, Space.organization_guid == organization.guid)
        count = select(func.count()).select_from(Domain).where(Domain.organization_guid == organization.guid)
        usage["domains"] = transaction.session.scalar(count)
        path = f"/v3/organizations/{organization.guid}"
        links = {"self": call.link(f"{path}/usage_summary"), "organization": call.link(path)}
        return JSONResponse({"usage_summary": usage, "links": links})


def show_default_isolation_segment(call: Call) -> Response:
    """GET /v3/organizations/:guid/relationships/default_isolation_segment: there are none."""
    with call.transaction() as transaction:
        transaction.get(Organization, call.guid)
        return JSONResponse(to_one(None) | {"links": {"self": call.link(call.path)}})


def usage_summary(transaction: Transaction, condition: Any) -> dict[str, Any]:
    """What the apps and routes of the spaces that meet a condition take."""
    session = transaction.session
    running = (
        select(func.coalesce(func.sum(Process.instances), 0), func.coalesce(_MEMORY, 0))
        .join(App, App.guid == Process.app_guid)
        .join(Space, Space.guid == App.space_guid)
        .where(App.state == "STARTED", condition)
    )
    instances, memory = session.execute(running).one()
    routes = session.scalar(select(func.count()).select_from(Route).join(Space).where(condition))
    return {
        "started_instances": int(instances),
        "memory_in_mb": int(memory),
        "routes": routes,
        "service_instances": 0,
        "reserved_ports": 0,
        "per_app_tasks": 0,
        "service_keys": 0,
    }


_MEMORY = func.sum(Process.instances * Process.memory_in_mb)
