"""Every endpoint that needs a token: its path, and which handler answers which method."""

from __future__ import annotations

from collections.abc import Mapping

from netlab.capi import apps, deployments, destinations, domains, jobs, organizations, processes, routes, spaces, stacks
from netlab.capi.call import Handler
from netlab.capi.v2 import endpoints as v2

ENDPOINTS: Mapping[str, Mapping[str, Handler]] = {
    "/v3/organizations": {"GET": organizations.list_organizations, "POST": organizations.create_organization},
    "/v3/organizations/{guid}": {
        "GET": organizations.show_organization,
        "PATCH": organizations.update_organization,
        "DELETE": organizations.delete_organization,
    },
    "/v3/organizations/{guid}/usage_summary": {"GET": organizations.show_usage},
    "/v3/organizations/{guid}/relationships/default_isolation_segment": {
        "GET": organizations.show_default_isolation_segment
    },
    "/v3/organizations/{guid}/domains": {"GET": domains.list_organization_domains},
    "/v3/organizations/{guid}/domains/default": {"GET": domains.show_default_domain},
    "/v3/spaces": {"GET": spaces.list_spaces, "POST": spaces.create_space},
    "/v3/spaces/{guid}": {"GET": spaces.show_space, "PATCH": spaces.update_space, "DELETE": spaces.delete_space},
    "/v3/spaces/{guid}/routes": {"DELETE": spaces.delete_unmapped_routes},
    "/v3/spaces/{guid}/features": {"GET": spaces.list_features},
    "/v3/spaces/{guid}/features/{name}": {"GET": spaces.show_feature, "PATCH": spaces.update_feature},
    "/v3/spaces/{guid}/relationships/isolation_segment": {"GET": spaces.show_isolation_segment},
    "/v3/domains": {"GET": domains.list_domains, "POST": domains.create_domain},
    "/v3/domains/{guid}": {
        "GET": domains.show_domain,
        "PATCH": domains.update_domain,
        "DELETE": domains.delete_domain,
    },
    "/v3/domains/{guid}/relationships/shared_organizations": {"POST": domains.share_domain},
    "/v3/domains/{guid}/relationships/shared_organizations/{organization_guid}": {"DELETE": domains.unshare_domain},
    "/v3/domains/{guid}/route_reservations": {"GET": domains.show_route_reservations},
    "/v3/apps": {"GET": apps.list_apps, "POST": apps.create_app},
    "/v3/apps/{guid}": {"GET": apps.show_app, "PATCH": apps.update_app, "DELETE": apps.delete_app},
    "/v3/apps/{guid}/actions/start": {"POST": apps.start_app},
    "/v3/apps/{guid}/actions/stop": {"POST": apps.stop_app},
    "/v3/apps/{guid}/actions/restart": {"POST": apps.restart_app},
    "/v3/apps/{guid}/env": {"GET": apps.show_env},
    "/v3/apps/{guid}/environment_variables": {
        "GET": apps.show_environment,
        "PATCH": apps.update_environment,
    },
    "/v3/apps/{guid}/ssh_enabled": {"GET": apps.show_ssh_enabled},
    "/v3/apps/{guid}/routes": {"GET": routes.list_app_routes},
    "/v3/apps/{guid}/processes": {"GET": processes.list_app_processes},
    "/v3/apps/{guid}/processes/{type}": {
        "GET": processes.show_process,
        "PATCH": processes.update_process,
    },
    "/v3/apps/{guid}/processes/{type}/actions/scale": {"POST": processes.scale_process},
    "/v3/apps/{guid}/processes/{type}/stats": {"GET": processes.show_stats},
    "/v3/deployments": {"GET": deployments.list_deployments, "POST": deployments.create_deployment},
    "/v3/deployments/{guid}": {"GET": deployments.show_deployment},
    "/v3/deployments/{guid}/actions/cancel": {"POST": deployments.cancel_deployment},
    "/v3/processes": {"GET": processes.list_processes},
    "/v3/processes/{guid}": {"GET": processes.show_process, "PATCH": processes.update_process},
    "/v3/processes/{guid}/actions/scale": {"POST": processes.scale_process},
    "/v3/processes/{guid}/stats": {"GET": processes.show_stats},
    "/v3/routes": {"GET": routes.list_routes, "POST": routes.create_route},
    "/v3/routes/{guid}": {
        "GET": routes.show_route,
        "PATCH": routes.update_route,
        "DELETE": routes.delete_route,
    },
    "/v3/routes/{guid}/destinations": {
        "GET": destinations.list_destinations,
        "POST": destinations.insert_destinations,
        "PATCH": destinations.replace_destinations,
    },
    "/v3/routes/{guid}/destinations/{destination_guid}": {"DELETE": destinations.delete_destination},
    "/v3/stacks": {"GET": stacks.list_stacks},
    "/v3/stacks/{guid}": {"GET": stacks.show_stack},
    "/v3/jobs/{guid}": {"GET": jobs.show_job},
    **v2.ENDPOINTS,
}
