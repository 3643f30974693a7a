"""Organizations, spaces and jobs of version 2."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call
from netlab.capi.listing import among
from netlab.capi.models import App, Job, Organization, Route, Space
from netlab.capi.organizations import add_organization
from netlab.capi.routes import remove_route
from netlab.capi.spaces import add_space
from netlab.capi.v2.apps import APPS, present_app
from netlab.capi.v2.documents import entity, job
from netlab.capi.v2.errors import find, related, taking
from netlab.capi.v2.listing import Listing
from netlab.capi.v2.messages import OrganizationCreate, SpaceCreate, read
from netlab.capi.v2.routes import ROUTES, present_route

_ORGANIZATIONS = Listing(Organization, {"name": among(Organization.name)}, orders=("name",))
_SPACES = Listing(
    Space,
    {"name": among(Space.name), "organization_guid": among(Space.organization_guid)},
    orders=("name",),
)
_NO_JOB = {
    "metadata": {"guid": "0", "url": "/v2/jobs/0", "created_at": "1970-01-01T00:00:00Z"},
    "entity": {"guid": "0", "status": "finished"},
}


def _organization(organization: Organization) -> dict[str, Any]:
    url = f"/v2/organizations/{organization.guid}"
    return entity(
        organization,
        url,
        name=organization.name,
        billing_enabled=False,
        quota_definition_guid=None,
        status="active",
        default_isolation_segment_guid=None,
        spaces_url=f"{url}/spaces",
        domains_url=f"{url}/domains",
        private_domains_url=f"{url}/private_domains",
    )


def _space(space: Space) -> dict[str, Any]:
    url = f"/v2/spaces/{space.guid}"
    return entity(
        space,
        url,
        name=space.name,
        organization_guid=space.organization_guid,
        space_quota_definition_guid=None,
        isolation_segment_guid=None,
        allow_ssh=False,
        organization_url=f"/v2/organizations/{space.organization_guid}",
        apps_url=f"{url}/apps",
        routes_url=f"{url}/routes",
        domains_url=f"{url}/domains",
        service_instances_url=f"{url}/service_instances",
        events_url=f"{url}/events",
        security_groups_url=f"{url}/security_groups",
    )


def list_organizations(call: Call) -> Response:
    """GET /v2/organizations."""
    with call.transaction() as transaction:
        return _ORGANIZATIONS.answer(call, transaction, _organization)


def show_organization(call: Call) -> Response:
    """GET /v2/organizations/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_organization(find(transaction, Organization, call.guid)))


def create_organization(call: Call) -> Response:
    """POST /v2/organizations."""
    message = read(call, OrganizationCreate, Organization)
    with call.transaction() as transaction, taking(Organization, message.name):
        return JSONResponse(_organization(add_organization(transaction, message.name)), 201)


def list_organization_spaces(call: Call) -> Response:
    """GET /v2/organizations/:guid/spaces."""
    with call.transaction() as transaction:
        organization = find(transaction, Organization, call.guid)
        return _SPACES.answer(call, transaction, _space, Space.organization_guid == organization.guid)


def list_spaces(call: Call) -> Response:
    """GET /v2/spaces."""
    with call.transaction() as transaction:
        return _SPACES.answer(call, transaction, _space)


def show_space(call: Call) -> Response:
    """GET /v2/spaces/:guid."""
    with call.transaction() as transaction:
        return JSONResponse(_space(find(transaction, Space, call.guid)))


def create_space(call: Call) -> Response:
    """POST /v2/spaces."""
    message = read(call, SpaceCreate, Space)
    with call.transaction() as transaction, taking(Space, message.name):
        organization = related(transaction, Organization, message.organization_guid)
        return JSONResponse(_space(add_space(transaction, organization, message.name)), 201)


def list_space_apps(call: Call) -> Response:
    """GET /v2/spaces/:guid/apps."""
    with call.transaction() as transaction:
        space = find(transaction, Space, call.guid)
        return APPS.answer(call, transaction, lambda app: present_app(transaction, app), App.space_guid == space.guid)


def list_space_routes(call: Call) -> Response:
    """GET /v2/spaces/:guid/routes."""
    with call.transaction() as transaction:
        space = find(transaction, Space, call.guid)
        return ROUTES.answer(call, transaction, present_route, Route.space_guid == space.guid)


def delete_unmapped_routes(call: Call) -> Response:
    """DELETE /v2/spaces/:guid/unmapped_routes."""
    with call.transaction() as transaction:
        space = find(transaction, Space, call.guid)
        unmapped = select(Route).where(Route.space_guid == space.guid, ~Route.destinations.any())
        for route in transaction.session.scalars(unmapped).all():
            remove_route(transaction, route)
        return Response(status_code=204)


def show_job(call: Call) -> Response:
    """GET /v2/jobs/:guid; a job that is not known counts as finished, as in Cloud Foundry."""
    with call.transaction() as transaction:
        record = transaction.session.get(Job, call.guid)
        return JSONResponse(job(record) if record else _NO_JOB)
