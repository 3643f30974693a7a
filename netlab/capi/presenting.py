"""The documents of organizations, spaces and domains, which those of other resources can bring along."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from netlab.capi.call import Call
from netlab.capi.documents import common, metadata, to_one
from netlab.capi.errors import bad_query
from netlab.capi.models import Domain, Organization, Space


@dataclass(frozen=True)
class Inclusion:
    """One value of the parameter `include`: under which name the rows come along, which, and how they look."""

    name: str
    of: Callable[[Any], Any]
    present: Callable[[Call, Any], dict[str, Any]]


def chosen(call: Call, inclusions: Mapping[str, Inclusion]) -> list[Inclusion]:
    """What the query wants brought along; raises 400."""
    given = call.query.get("include")
    names = [] if given is None else [name.strip() for name in given.split(",")]
    for name in names:
        if name not in inclusions:
            valid = ", ".join(f"'{each}'" for each in inclusions)
            raise bad_query(f"Invalid included resource: '{name}'. Valid included resources are: {valid}")
        if names.count(name) > 1:
            raise bad_query(f"Duplicate included resource: '{name}'")
    return [inclusions[name] for name in names]


def included(call: Call, inclusions: Iterable[Inclusion], rows: Iterable[Any]) -> dict[str, Any]:
    """The part of a document that holds what comes along; empty if nothing was asked for."""
    found: dict[str, dict[str, Any]] = {}
    for inclusion in inclusions:
        documents = found.setdefault(inclusion.name, {})
        for row in rows:
            other = inclusion.of(row)
            if other is not None and other.guid not in documents:
                documents[other.guid] = inclusion.present(call, other)
    return {"included": {name: list(documents.values()) for name, documents in found.items()}} if found else {}


def present_organization(call: Call, organization: Organization) -> dict[str, Any]:
    """The document of an organization."""
    path = f"/v3/organizations/{organization.guid}"
    return {
        **common(organization),
        "name": organization.name,
        "suspended": organization.suspended,
        "relationships": {"quota": to_one(None)},
        "metadata": metadata(organization),
        "links": {
            "self": call.link(path),
            "domains": call.link(f"{path}/domains"),
            "default_domain": call.link(f"{path}/domains/default"),
        },
    }


def present_space(call: Call, space: Space) -> dict[str, Any]:
    """The document of a space."""
    path = f"/v3/spaces/{space.guid}"
    return {
        **common(space),
        "name": space.name,
        "relationships": {"organization": to_one(space.organization_guid), "quota": to_one(None)},
        "metadata": metadata(space),
        "links": {
            "self": call.link(path),
            "organization": call.link(f"/v3/organizations/{space.organization_guid}"),
            "features": call.link(f"{path}/features"),
            "apply_manifest": call.link(f"{path}/actions/apply_manifest", "POST"),
        },
    }


def present_domain(call: Call, domain: Domain) -> dict[str, Any]:
    """The document of a domain."""
    path = f"/v3/domains/{domain.guid}"
    links = {
        "self": call.link(path),
        "route_reservations": call.link(f"{path}/route_reservations"),
    }
    if domain.organization_guid is not None:
        links["organization"] = call.link(f"/v3/organizations/{domain.organization_guid}")
        links["shared_organizations"] = call.link(f"{path}/relationships/shared_organizations")
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


SPACE = Inclusion("spaces", lambda row: row.space, present_space)
ORGANIZATION = Inclusion("organizations", lambda row: row.organization, present_organization)
SPACE_ORGANIZATION = Inclusion("organizations", lambda row: row.space and row.space.organization, present_organization)
DOMAIN = Inclusion("domains", lambda row: row.domain, present_domain)
