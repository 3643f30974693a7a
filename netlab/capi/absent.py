"""Collections of Cloud Foundry that are empty here: clients ask for them and go on."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import JSONResponse, Response

from netlab.capi.call import Call, Handler
from netlab.capi.errors import missing
from netlab.capi.listing import constant
from netlab.capi.models import App, Process, Record, Space

COLLECTIONS: Mapping[str, str] = {
    "audit_events": "Event",
    "buildpacks": "Buildpack",
    "feature_flags": "Feature flag",
    "isolation_segments": "Isolation segment",
    "organization_quotas": "Organization quota",
    "security_groups": "Security group",
    "service_brokers": "Service broker",
    "service_credential_bindings": "Service credential binding",
    "service_instances": "Service instance",
    "service_offerings": "Service offering",
    "service_plans": "Service plan",
    "service_route_bindings": "Service route binding",
    "space_quotas": "Space quota",
    "tasks": "Task",
}
"""How each collection and a resource of it are called."""
_OF: Mapping[str, type[Record]] = {
    "/v3/apps/{guid}/revisions": App,
    "/v3/apps/{guid}/revisions/deployed": App,
    "/v3/apps/{guid}/sidecars": App,
    "/v3/apps/{guid}/tasks": App,
    "/v3/processes/{guid}/sidecars": Process,
    "/v3/spaces/{guid}/running_security_groups": Space,
    "/v3/spaces/{guid}/staging_security_groups": Space,
}


def _none(call: Call) -> Response:
    return constant(call, [])


def _absent(noun: str) -> Handler:
    def handler(_call: Call) -> Response:
        raise missing(noun)

    return handler


def _none_of(kind: type[Record]) -> Handler:
    def handler(call: Call) -> Response:
        with call.transaction() as transaction:
            transaction.get(kind, call.guid)
        return constant(call, [])

    return handler


def _permissions(call: Call) -> Response:
    with call.transaction() as transaction:
        transaction.get(App, call.guid)
        return JSONResponse({"read_basic_data": True, "read_sensitive_data": True})


ENDPOINTS: Mapping[str, Mapping[str, Handler]] = {
    **{f"/v3/{name}": {"GET": _none} for name in COLLECTIONS},
    **{f"/v3/{name}/{{guid}}": {"GET": _absent(noun)} for name, noun in COLLECTIONS.items()},
    **{path: {"GET": _none_of(kind)} for path, kind in _OF.items()},
    "/v3/isolation_segments/{guid}/organizations": {"GET": _absent("Isolation segment")},
    "/v3/apps/{guid}/permissions": {"GET": _permissions},
}
