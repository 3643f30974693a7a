"""Which handler answers what in version 2."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.responses import Response

from netlab.capi.call import Call, Handler
from netlab.capi.models import App, Organization, Record, Space
from netlab.capi.v2 import apps, domains, instances, mappings, routes, spaces, stacks
from netlab.capi.v2.errors import find, no_such
from netlab.capi.v2.listing import constant

_ABSENT: Mapping[str, tuple[str, str, int]] = {
    "buildpacks": ("buildpack", "NotFound", 10000),
    "events": ("event", "EventNotFound", 230002),
    "quota_definitions": ("quota definition", "QuotaDefinitionNotFound", 240001),
    "security_groups": ("security group", "SecurityGroupNotFound", 300002),
    "service_bindings": ("service binding", "ServiceBindingNotFound", 90004),
    "service_brokers": ("service broker", "ServiceBrokerNotFound", 270004),
    "service_instances": ("service instance", "ServiceInstanceNotFound", 60004),
    "service_keys": ("service key", "ServiceKeyNotFound", 360003),
    "service_plan_visibilities": ("service plan visibility", "ServicePlanVisibilityNotFound", 260003),
    "service_plans": ("service plan", "ServicePlanNotFound", 110003),
    "services": ("service", "ServiceNotFound", 120003),
    "space_quota_definitions": ("space quota definition", "SpaceQuotaDefinitionNotFound", 310007),
    "user_provided_service_instances": ("service instance", "UserProvidedServiceInstanceNotFound", 340001),
}
"""Collections that are empty here: how a resource of them is called, and the error if somebody asks for one."""


def _none(_call: Call) -> Response:
    return constant([])


def _none_of(kind: type[Record]) -> Handler:
    def handler(call: Call) -> Response:
        with call.transaction() as transaction:
            find(transaction, kind, call.guid)
        return constant([])

    return handler


def _absent(noun: str, title: str, code: int) -> Handler:
    def handler(call: Call) -> Response:
        raise no_such(noun, title, code, call.guid)

    return handler


ENDPOINTS: Mapping[str, Mapping[str, Handler]] = {
    "/v2/organizations": {"GET": spaces.list_organizations, "POST": spaces.create_organization},
    "/v2/organizations/{guid}": {"GET": spaces.show_organization},
    "/v2/organizations/{guid}/spaces": {"GET": spaces.list_organization_spaces},
    "/v2/organizations/{guid}/domains": {"GET": domains.list_organization_domains},
    "/v2/organizations/{guid}/private_domains": {"GET": domains.list_organization_private_domains},
    "/v2/organizations/{guid}/space_quota_definitions": {"GET": _none_of(Organization)},
    "/v2/spaces": {"GET": spaces.list_spaces, "POST": spaces.create_space},
    "/v2/spaces/{guid}": {"GET": spaces.show_space},
    "/v2/spaces/{guid}/summary": {"GET": instances.show_space_summary},
    "/v2/spaces/{guid}/apps": {"GET": spaces.list_space_apps},
    "/v2/spaces/{guid}/routes": {"GET": spaces.list_space_routes},
    "/v2/spaces/{guid}/domains": {"GET": domains.list_space_domains},
    "/v2/spaces/{guid}/unmapped_routes": {"DELETE": spaces.delete_unmapped_routes},
    "/v2/spaces/{guid}/events": {"GET": _none_of(Space)},
    "/v2/spaces/{guid}/security_groups": {"GET": _none_of(Space)},
    "/v2/spaces/{guid}/service_instances": {"GET": _none_of(Space)},
    "/v2/stacks": {"GET": stacks.list_stacks},
    "/v2/stacks/{guid}": {"GET": stacks.show_stack},
    "/v2/domains": {"GET": domains.list_domains},
    "/v2/domains/{guid}": {"GET": domains.show_domain},
    "/v2/shared_domains": {"GET": domains.list_shared_domains, "POST": domains.create_shared_domain},
    "/v2/shared_domains/{guid}": {"GET": domains.show_shared_domain, "DELETE": domains.delete_shared_domain},
    "/v2/private_domains": {"GET": domains.list_private_domains, "POST": domains.create_private_domain},
    "/v2/private_domains/{guid}": {"GET": domains.show_private_domain, "DELETE": domains.delete_private_domain},
    "/v2/apps": {"GET": apps.list_apps, "POST": apps.create_app},
    "/v2/apps/{guid}": {"GET": apps.show_app, "PUT": apps.update_app, "DELETE": apps.delete_app},
    "/v2/apps/{guid}/restage": {"POST": apps.restage_app},
    "/v2/apps/{guid}/bits": {"PUT": instances.upload_bits},
    "/v2/apps/{guid}/env": {"GET": instances.show_env},
    "/v2/apps/{guid}/instances": {"GET": instances.show_instances},
    "/v2/apps/{guid}/stats": {"GET": instances.show_stats},
    "/v2/apps/{guid}/summary": {"GET": instances.show_summary},
    "/v2/apps/{guid}/events": {"GET": _none_of(App)},
    "/v2/apps/{guid}/service_bindings": {"GET": _none_of(App)},
    "/v2/apps/{guid}/routes": {"GET": routes.list_app_routes},
    "/v2/apps/{guid}/routes/{route_guid}": {"PUT": routes.map_to_route, "DELETE": routes.unmap_from_route},
    "/v2/apps/{guid}/route_mappings": {"GET": mappings.list_app_mappings},
    "/v2/routes": {"GET": routes.list_routes, "POST": routes.create_route},
    "/v2/routes/{guid}": {"GET": routes.show_route, "DELETE": routes.delete_route},
    "/v2/routes/{guid}/apps": {"GET": routes.list_route_apps},
    "/v2/routes/{guid}/apps/{app_guid}": {"PUT": routes.map_to_app, "DELETE": routes.unmap_from_app},
    "/v2/routes/{guid}/route_mappings": {"GET": mappings.list_route_mappings},
    "/v2/routes/reserved/domain/{domain_guid}": {"GET": routes.show_reserved},
    "/v2/routes/reserved/domain/{domain_guid}/host/{host}": {"GET": routes.show_reserved},
    "/v2/route_mappings": {"GET": mappings.list_mappings, "POST": mappings.create_mapping},
    "/v2/route_mappings/{guid}": {"GET": mappings.show_mapping, "DELETE": mappings.delete_mapping},
    "/v2/resource_match": {"PUT": instances.match_resources},
    "/v2/jobs/{guid}": {"GET": spaces.show_job},
    **{f"/v2/{name}": {"GET": _none} for name in _ABSENT},
    **{f"/v2/{name}/{{guid}}": {"GET": _absent(*absent)} for name, absent in _ABSENT.items()},
}
