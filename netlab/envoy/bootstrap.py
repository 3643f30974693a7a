"""Bootstrap files for the two kinds of Envoy in the mesh, as proto3 JSON (`envoy -c file.json`).

Both get clusters, endpoints, listeners and routes from Pilot by delta ADS v3 and hold no name to resolve. A router
also has static listeners: its health check and its admin page. Addresses are `ip:port` unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PILOT_CLUSTER = "pilot-sd"
ADMIN_CLUSTER = "admin"
HEALTH_PORT = 8002
HEALTH_PATH = "/healthcheck"
ADMIN_PORT = 8001
SIDECAR_INBOUND_PORT = 15001
_TYPE = "type.googleapis.com/"
_MAX_CONNECTIONS = 50_000


def router_bootstrap(node_name: str, address: str, pilot_address: str, admin_path: Path | str) -> dict[str, Any]:
    """An ingress Envoy: node `router~<address>~<node_name>~x`, health check on 0.0.0.0:8002.

    `address` is the router's own IP; `admin_path` the unix socket of the admin API, which the router also
    serves on 127.0.0.1:8001.
    """
    bootstrap = _bootstrap(f"router~{address}~{node_name}~x", "istio-router", {}, pilot_address, admin_path)
    resources = bootstrap["static_resources"]
    resources["clusters"].append(_pipe_cluster(ADMIN_CLUSTER, admin_path))
    resources["listeners"] = [
        _listener("admin", "127.0.0.1", ADMIN_PORT, {"cluster": ADMIN_CLUSTER, "timeout": "0s"}),
        # Envoy starts static listeners only once Pilot's first answer is in force, so a router that has no routes
        # yet stays out of the load balancer's rotation.
        _listener("health", "0.0.0.0", HEALTH_PORT, None, [_health_check_filter()]),
    ]
    return bootstrap


def sidecar_bootstrap(
    container_address: str,
    guid: str,
    pilot_address: str,
    admin_path: Path | str,
    app_ports: Sequence[int],
    labels: Mapping[str, str],
) -> dict[str, Any]:
    """An app's Envoy: node `sidecar~<container_address>~<guid>~x`; every listener comes from Pilot.

    `app_ports` are the ports that the app listens on, `labels` those of its endpoints (`cfapp`); Pilot reads
    both from the node's metadata.
    """
    metadata = {"POD_PORTS": list(app_ports), "LABELS": dict(labels)}
    node_id = f"sidecar~{container_address}~{guid}~x"
    return _bootstrap(node_id, "proxy-cluster", metadata, pilot_address, admin_path)


def _bootstrap(
    node_id: str, cluster: str, metadata: Mapping[str, Any], pilot_address: str, admin_path: Path | str
) -> dict[str, Any]:
    # Waiting without limit for Pilot's first answer is what makes "ready" mean "configured".
    from_ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {"id": node_id, "cluster": cluster, "metadata": dict(metadata)},
        "admin": {"address": {"pipe": {"path": str(admin_path)}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": PILOT_CLUSTER,
                            # Envoy's own default backs off to 30 s; a restarted Pilot must not wait for that.
                            "retry_policy": {"retry_back_off": {"base_interval": "0.050s", "max_interval": "0.500s"}},
                        }
                    }
                ],
            },
            "lds_config": from_ads,
            "cds_config": from_ads,
        },
        "static_resources": {"clusters": [_pilot_cluster(pilot_address)]},
        # The counters of a cluster are made when it first carries a request: thousands of idle ones cost nothing.
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": _TYPE + "envoy.extensions.resource_monitors.downstream_connections.v3."
                        "DownstreamConnectionsConfig",
                        "max_active_downstream_connections": _MAX_CONNECTIONS,
                    },
                }
            ]
        },
        "application_log_config": {
            "log_format": {"json_format": {"time": "%E.%f", "level": "%l", "logger": "%n", "message": "%j"}}
        },
    }


def _pilot_cluster(pilot_address: str) -> dict[str, Any]:
    host, _, port = pilot_address.rpartition(":")
    return {
        "name": PILOT_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": _one_endpoint(PILOT_CLUSTER, _socket(host, int(port))),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {
                        # A Pilot whose machine vanished closes nothing; only a missing ping tells.
                        "connection_keepalive": {"interval": "5s", "timeout": "2s"}
                    }
                },
            }
        },
    }


def _pipe_cluster(name: str, path: Path | str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.250s",
        "load_assignment": _one_endpoint(name, {"pipe": {"path": str(path)}}),
    }


def _one_endpoint(name: str, address: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": dict(address)}}]}],
    }


def _socket(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _health_check_filter() -> dict[str, Any]:
    return {
        "name": "envoy.filters.http.health_check",
        "typed_config": {
            "@type": _TYPE + "envoy.extensions.filters.http.health_check.v3.HealthCheck",
            "pass_through_mode": False,
            "headers": [{"name": ":path", "string_match": {"exact": HEALTH_PATH}}],
        },
    }


def _listener(
    name: str,
    address: str,
    port: int,
    route: Mapping[str, Any] | None,
    filters: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """A static HTTP listener that routes everything to `route`, or answers 404 to it without one."""
    action = {"route": dict(route)} if route else {"direct_response": {"status": 404}}
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": _TYPE + "envoy.extensions.filters.http.router.v3.Router"},
    }
    manager = {
        "@type": _TYPE + "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "name": name,
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}],
        },
        "http_filters": [*filters, router],
    }
    return {
        "name": name,
        "address": _socket(address, port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
