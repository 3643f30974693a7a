"""What an ingress router is to have, kept up to date with the configuration.

The work of an update is that of the hosts it touches: their virtual hosts and clusters are made anew, the rest is
kept as it was made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from netlab.pilot.source.objects import Key
from netlab.pilot.translate import clusters, listeners, routes
from netlab.pilot.translate.index import Index, Touched, bound_gateways
from netlab.pilot.translate.names import Target, gateway_routes, listener
from netlab.pilot.translate.wire import serialized
from netlab.pilot.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from netlab.protocols import networking_pb2 as istio

_PLAIN = ("HTTP", "HTTP2", "GRPC")


class Update(NamedTuple):
    """Resources to put and names to remove, by type."""

    put: dict[str, dict[str, bytes]]
    removed: dict[str, set[str]]


class _Port(NamedTuple):
    """A port that the gateways open for plain HTTP, with the gateways and host patterns it serves."""

    bind: str
    number: int
    servers: tuple[tuple[Key, tuple[str, ...]], ...]


@dataclass
class RouterTranslator:
    """Translates an index for the routers that all its gateways apply to."""

    index: Index
    _ports: dict[int, _Port] = field(default_factory=dict)
    _hosts: defaultdict[int, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """Virtual hosts by port and host, as entries of the port's table."""
    _targets: dict[str, frozenset[Target]] = field(default_factory=dict)
    """Where a host's routes lead."""
    _referrers: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The hosts whose routes lead to a host."""
    _clusters: defaultdict[str, set[Target]] = field(default_factory=lambda: defaultdict(set))
    """The targets of a host that have a cluster."""

    def update(self, touched: Touched) -> Update:
        """Translate what was touched; resources that came out as they were may be among the result."""
        put: dict[str, dict[str, bytes]] = defaultdict(dict)
        removed: dict[str, set[str]] = defaultdict(set)
        dirty_ports: set[int] = set()
        route_hosts = set(touched.routes)
        for host in touched.services:
            route_hosts |= self._referrers.get(host, set())
        if touched.gateways:
            dirty_ports |= self._update_ports(put, removed)
            route_hosts |= set(self.index.route_hosts())
        services = set(touched.services)
        for host in route_hosts:
            services |= self._update_routes(host, dirty_ports)
        for host in services:
            self._update_clusters(host, put, removed)
        for number in dirty_ports & self._ports.keys():
            table = routes.route_configuration(number, (entry for _, entry in sorted(self._hosts[number].items())))
            put[ROUTE][gateway_routes(number)] = table
        return Update(put, removed)

    def _update_ports(self, put: dict[str, dict[str, bytes]], removed: dict[str, set[str]]) -> set[int]:
        """Make the gateways' listeners anew; returns the ports whose tables are to be made anew."""
        old, self._ports = self._ports, _ports(self.index)
        for number, port in old.items():
            if number not in self._ports:
                removed[ROUTE].add(gateway_routes(number))
                self._hosts.pop(number, None)
            if number not in self._ports or self._ports[number].bind != port.bind:
                removed[LISTENER].add(listener(port.bind, number))
        for number, port in self._ports.items():
            put[LISTENER][listener(port.bind, number)] = serialized(listeners.gateway(port.bind, number))
        return set(self._ports)

    def _update_routes(self, host: str, dirty_ports: set[int]) -> set[str]:
        """Make a host's virtual hosts anew; returns the hosts that its routes lead, or led, to."""
        targets: set[Target] = set()
        items = self.index.routes(host)
        for number, port in self._ports.items():
            bound = [
                cast("istio.VirtualService", item.body) for item in items if _serves(port, bound_gateways(item), host)
            ]
            made, used = routes.virtual_host(host, number, bound, self._port_of(number))
            targets |= used
            before = self._hosts[number].pop(host, None)
            entry = routes.as_entry(made) if made.routes else None
            if entry:
                self._hosts[number][host] = entry
            if before != entry:
                dirty_ports.add(number)
        old = self._targets.pop(host, frozenset())
        if targets:
            self._targets[host] = frozenset(targets)
        gone, fresh = {t.host for t in old}, {t.host for t in targets}
        for other in gone - fresh:
            self._referrers[other].discard(host)
            if not self._referrers[other]:
                del self._referrers[other]
        for other in fresh:
            self._referrers[other].add(host)
        return gone | fresh if old != targets else set()

    def _update_clusters(self, host: str, put: dict[str, dict[str, bytes]], removed: dict[str, set[str]]) -> None:
        """Make the clusters of a host that routes lead to, with their endpoints, and drop the others."""
        service, rules = self.index.service(host), self.index.rules(host)
        wanted = {
            target
            for referrer in self._referrers.get(host, ())
            for target in self._targets[referrer]
            if target.host == host
        }
        if service is None:
            wanted = set()
        for target in self._clusters.pop(host, set()) - wanted:
            removed[CLUSTER].add(target.cluster)
            removed[ENDPOINT].add(target.cluster)
        if service is None or not wanted:
            return
        self._clusters[host] = wanted
        for target in wanted:
            cluster = clusters.outbound(target, service, rules)
            put[CLUSTER][target.cluster] = serialized(cluster)
            if cluster.type == Cluster.EDS:
                put[ENDPOINT][target.cluster] = serialized(clusters.load_assignment(target, service, rules))

    def _port_of(self, gateway_port: int) -> routes.PortOf:
        def port_of(host: str) -> int:
            service = self.index.service(host)
            return service.ports[0].number if service and len(service.ports) == 1 else gateway_port

        return port_of


def _ports(index: Index) -> dict[int, _Port]:
    """The plain HTTP ports of the gateways without selector, in their order of precedence."""
    found: dict[int, _Port] = {}
    for item in sorted(index.gateways.values(), key=lambda item: item.order):
        gateway = cast("istio.Gateway", item.body)
        if gateway.selector:
            continue
        for server in gateway.servers:
            number = server.port.number
            if server.port.protocol.upper() not in _PLAIN:
                continue
            entry = (item.key, tuple(server.hosts))
            known = found.get(number, _Port(server.bind or "0.0.0.0", number, ()))
            found[number] = known._replace(servers=(*known.servers, entry))
    return found


def _serves(port: _Port, gateways: Iterable[Key], host: str) -> bool:
    bound = set(gateways)
    return any(
        gateway in bound and any(host_matches(pattern, host) for pattern in hosts) for gateway, hosts in port.servers
    )


def host_matches(pattern: str, host: str) -> bool:
    """Whether a gateway's host pattern (`*`, `*.example`, a name; maybe after `<namespace>/`) covers a host."""
    wanted = pattern.rpartition("/")[2].lower()
    if wanted.startswith("*"):
        return host.endswith(wanted[1:])
    return wanted == host
