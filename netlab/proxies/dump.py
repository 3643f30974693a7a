"""What stands in an Envoy's configuration dump, as rows that a person can read. Pure.

The dump is the answer of the admin API to `/config_dump?include_eds` (envoy.admin.v3.ConfigDump, as JSON).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Row = dict[str, Any]
_DIRECTIONS = {"inbound", "outbound"}


def versions(dump: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The version of each resource that came from Pilot, by type (`cds`, `lds`, `rds`, `srds`) and name.

    Endpoints are not among them: Envoy does not say which version of them it has.
    """
    found: dict[str, dict[str, str]] = {"cds": {}, "lds": {}, "rds": {}, "srds": {}}
    for entry in [*_entries(dump, "dynamic_active_clusters"), *_entries(dump, "dynamic_warming_clusters")]:
        found["cds"][entry["cluster"]["name"]] = entry.get("version_info", "")
    for entry in _entries(dump, "dynamic_listeners"):
        if "active_state" in entry:
            found["lds"][entry["name"]] = entry["active_state"].get("version_info", "")
    for entry in _entries(dump, "dynamic_route_configs"):
        found["rds"][entry["route_config"]["name"]] = entry.get("version_info", "")
    for entry in _entries(dump, "dynamic_scoped_route_configs"):
        for scope in entry.get("scoped_route_configs", ()):
            found["srds"][scope["name"]] = entry.get("version_info", "")
    return found


def refusals(dump: Mapping[str, Any]) -> dict[str, str]:
    """Why Envoy refused the last version of a resource, by the resource's name."""
    found = {}
    for config in dump["configs"]:
        for entries in config.values():
            for entry in entries if isinstance(entries, list) else ():
                error = entry.get("error_state") if isinstance(entry, dict) else None
                if error:
                    found[_name(entry, error)] = error.get("details", "")
    return found


def clusters(dump: Mapping[str, Any], apps: Mapping[str, str]) -> Iterator[Row]:
    """The clusters; `apps` names the apps by the process guids that subsets are called by."""
    for entry in _both(dump, "dynamic_active_clusters", "static_clusters"):
        cluster = entry["cluster"]
        direction, port, subset, host = _parts(cluster["name"])
        yield {
            "host": host,
            "port": port,
            "subset": subset,
            "direction": direction,
            "type": cluster.get("type", cluster.get("cluster_type", {}).get("name", "STATIC")),
            "app": apps.get(subset, ""),
            "name": cluster["name"],
        }


def listeners(dump: Mapping[str, Any]) -> Iterator[Row]:
    """The listeners, one row a filter chain: what it matches and where it leads."""
    for listener in _listeners(dump):
        where = _address(listener.get("address", {}))
        chains = [*listener.get("filter_chains", ())]
        if "default_filter_chain" in listener:
            chains.append({**listener["default_filter_chain"], "_default": True})
        for chain in chains:
            for name, config in _network_filters(chain):
                leads = _leads(name, config)
                if leads:
                    yield {
                        "listener": listener.get("name", ""),
                        "address": where,
                        "match": _match(chain),
                        "leads_to": leads,
                    }


def routes(dump: Mapping[str, Any], apps: Mapping[str, str]) -> Iterator[Row]:
    """The routes, one row each, in the order in which Envoy tries them."""
    for table in _tables(dump):
        for host in table.get("virtual_hosts", ()):
            for route in host.get("routes", ()):
                yield {
                    "table": table.get("name", ""),
                    "domains": host.get("domains", []),
                    "match": _route_match(route.get("match", {})),
                    "leads_to": _action(route, apps),
                    "clusters": [name for name, _ in _weighted(route)],
                    "name": route.get("name", ""),
                }


def endpoints(statuses: Mapping[str, Any], apps: Mapping[str, str]) -> Iterator[Row]:
    """The endpoints as Envoy sees them now; `statuses` is its answer to `/clusters?format=json`."""
    for cluster in statuses.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            stats = {stat["name"]: int(stat.get("value", 0)) for stat in host.get("stats", ())}
            health = host.get("health_status", {})
            _, _, subset, service = _parts(cluster["name"])
            yield {
                "endpoint": _address(host["address"]),
                "status": health.get("eds_health_status", "HEALTHY"),
                "ejected": bool(health.get("failed_outlier_check", False)),
                "requests": stats.get("rq_total", 0),
                "errors": stats.get("rq_error", 0),
                "connections": stats.get("cx_active", 0),
                "app": apps.get(subset, ""),
                "host": service,
                "cluster": cluster["name"],
            }


def secrets(dump: Mapping[str, Any]) -> Iterator[Row]:
    """The secrets Envoy holds or waits for; never their content."""
    for key in ("static_secrets", "dynamic_active_secrets", "dynamic_warming_secrets"):
        for entry in _entries(dump, key):
            yield {"name": entry["name"], "state": key.split("_")[-2], "version": entry.get("version_info", "")}


def bootstrap(dump: Mapping[str, Any]) -> dict[str, Any]:
    """What Envoy was started with."""
    for config in dump["configs"]:
        if "bootstrap" in config:
            found: dict[str, Any] = config["bootstrap"]
            return found
    return {}


def _entries(dump: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    return [entry for config in dump["configs"] for entry in config.get(key, ())]


def _both(dump: Mapping[str, Any], *keys: str) -> Iterator[Mapping[str, Any]]:
    for key in keys:
        yield from _entries(dump, key)


def _name(entry: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    for body in (error.get("failed_configuration", {}), *(v for v in entry.values() if isinstance(v, dict)), entry):
        name = body.get("name") or body.get("cluster_name")
        if name:
            return str(name)
    return "?"


def _listeners(dump: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in _entries(dump, "dynamic_listeners"):
        if "active_state" in entry:
            yield entry["active_state"]["listener"]
    for entry in _entries(dump, "static_listeners"):
        yield entry["listener"]


def _tables(dump: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for entry in _both(dump, "dynamic_route_configs", "static_route_configs"):
        yield entry["route_config"]
    for entry in _entries(dump, "dynamic_scoped_route_configs"):
        for scope in entry.get("scoped_route_configs", ()):
            # A scope that names its table by RDS has it among the route configurations above.
            if "route_configuration" in scope:
                yield scope["route_configuration"]


def _parts(cluster: str) -> tuple[str, str, str, str]:
    """Direction, port, subset and host of Istio's `direction|port|subset|host`; any other name is a host."""
    parts = cluster.split("|")
    if len(parts) == 4 and parts[0] in _DIRECTIONS:
        return parts[0], parts[1], parts[2], parts[3]
    return "", "", "", cluster


def _address(address: Mapping[str, Any]) -> str:
    if "pipe" in address:
        return str(address["pipe"]["path"])
    socket = address.get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', '')}"


def _network_filters(chain: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for each in chain.get("filters", ()):
        yield each["name"].rsplit(".", 1)[-1], each.get("typed_config", {})


def _match(chain: Mapping[str, Any]) -> str:
    match = chain.get("filter_chain_match", {})
    words = []
    if "destination_port" in match:
        words.append(f"port {match['destination_port']}")
    if match.get("server_names"):
        words.append(f"SNI {', '.join(match['server_names'])}")
    if match.get("transport_protocol"):
        words.append(str(match["transport_protocol"]))
    words += [f"{p['address_prefix']}/{p['prefix_len']}" for p in match.get("prefix_ranges", ())]
    return "; ".join(words) or ("what nothing else matches" if chain.get("_default") else "all")


def _leads(name: str, config: Mapping[str, Any]) -> str:
    if name == "http_connection_manager":
        if "rds" in config:
            return f"routes {config['rds']['route_config_name']}"
        if "scoped_routes" in config:
            return f"routes by host, scope {config['scoped_routes']['name']}"
        if "route_config" in config:
            return f"routes {config['route_config'].get('name', 'of its own')}"
        return "health check"
    if name == "tcp_proxy":
        return f"cluster {config.get('cluster', '(weighted)')}"
    return ""


def _route_match(match: Mapping[str, Any]) -> str:
    words = ["any path"]
    for key, text in (("prefix", "{}*"), ("path_separated_prefix", "{} and below"), ("path", "{} exactly")):
        if key in match:
            words = [text.format(match[key])]
    if "safe_regex" in match:
        words = [f"~ {match['safe_regex']['regex']}"]
    words += [f"header {header['name']}" for header in match.get("headers", ())]
    words += [f"query {query['name']}" for query in match.get("query_parameters", ())]
    return ", ".join(words)


def _weighted(route: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The clusters that a route leads to, each with its weight (100 for the only one)."""
    action = route.get("route", {})
    if "weighted_clusters" in action:
        return [(each["name"], each.get("weight", 0)) for each in action["weighted_clusters"]["clusters"]]
    return [(action["cluster"], 100)] if "cluster" in action else []


def _destination(cluster: str, apps: Mapping[str, str]) -> str:
    """A cluster as a person calls it: its app, or the port of the app that a sidecar stands beside."""
    direction, port, subset, host = _parts(cluster)
    if direction == "inbound":
        return f"the app's port {port}"
    return apps.get(subset, subset or host)


def _action(route: Mapping[str, Any], apps: Mapping[str, str]) -> str:
    if "direct_response" in route:
        return f"answer {route['direct_response'].get('status', '')}"
    if "redirect" in route:
        return "redirect"
    weighted = _weighted(route)
    if len(weighted) == 1:
        return _destination(weighted[0][0], apps)
    return ", ".join(f"{weight} % {_destination(cluster, apps)}" for cluster, weight in weighted)
