"""Clusters and their endpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from envoy.config.cluster.v3 import circuit_breaker_pb2, outlier_detection_pb2
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3 import address_pb2, config_source_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.type.v3 import percent_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import UInt32Value

from netlab.pilot.translate.names import BLACK_HOLE, Target, inbound_cluster
from netlab.protocols import networking_pb2 as istio

_UNLIMITED = UInt32Value(value=2**32 - 1)
_CONNECT_TIMEOUT = Duration(nanos=500_000_000)

_LB_POLICIES = {
    istio.LoadBalancerSettings.ROUND_ROBIN: Cluster.ROUND_ROBIN,
    istio.LoadBalancerSettings.LEAST_CONN: Cluster.LEAST_REQUEST,
    istio.LoadBalancerSettings.RANDOM: Cluster.RANDOM,
}


def from_ads() -> config_source_pb2.ConfigSource:
    """A reference to the ADS stream; Envoy waits for the answer as long as it takes."""
    return config_source_pb2.ConfigSource(
        ads=config_source_pb2.AggregatedConfigSource(),
        resource_api_version=config_source_pb2.ApiVersion.V3,
        initial_fetch_timeout=Duration(),
    )


def outbound(target: Target, service: istio.ServiceEntry, rules: Sequence[istio.DestinationRule]) -> Cluster:
    """The cluster of a target: EDS for a STATIC service, STRICT_DNS for a DNS one."""
    cluster = _cluster(target.cluster)
    if service.resolution == istio.ServiceEntry.DNS:
        cluster.type = Cluster.STRICT_DNS
        cluster.load_assignment.CopyFrom(load_assignment(target, service, rules))
    else:
        cluster.type = Cluster.EDS
        cluster.eds_cluster_config.eds_config.CopyFrom(from_ads())
        cluster.eds_cluster_config.service_name = target.cluster
    for policy in _policies(target, rules):
        _apply_policy(cluster, policy)
    return cluster


def inbound(port: int) -> Cluster:
    """The cluster of an app's own port, on the loopback it shares with its sidecar."""
    name = inbound_cluster(port)
    cluster = _cluster(name)
    cluster.type = Cluster.STATIC
    cluster.load_assignment.cluster_name = name
    cluster.load_assignment.endpoints.add().lb_endpoints.append(_lb_endpoint("127.0.0.1", port))
    return cluster


def black_hole() -> Cluster:
    """The cluster without endpoints, for connections that nobody is meant to make."""
    return Cluster(name=BLACK_HOLE, type=Cluster.STATIC, connect_timeout=_CONNECT_TIMEOUT)


def load_assignment(
    target: Target, service: istio.ServiceEntry, rules: Sequence[istio.DestinationRule]
) -> ClusterLoadAssignment:
    """The endpoints of a target: those of the service that carry the subset's labels and serve the port."""
    port = next((p for p in service.ports if p.number == target.port), None)
    labels = _subset_labels(target.subset, rules)
    assignment = ClusterLoadAssignment(cluster_name=target.cluster)
    if port is None or labels is None:
        return assignment
    locality = assignment.endpoints.add()
    for endpoint in service.endpoints:
        number = endpoint.ports.get(port.name, 0) if endpoint.ports else port.number
        if number and all(endpoint.labels.get(k) == v for k, v in labels.items()):
            locality.lb_endpoints.append(_lb_endpoint(endpoint.address, number, endpoint.weight or 1))
    if not locality.lb_endpoints:
        del assignment.endpoints[:]
    return assignment


def _cluster(name: str) -> Cluster:
    return Cluster(
        name=name,
        connect_timeout=_CONNECT_TIMEOUT,
        # Envoy's own limits (1,024 requests, 3 retries at once) answer 503 under loads that are no trouble.
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(
            thresholds=[
                circuit_breaker_pb2.CircuitBreakers.Thresholds(
                    max_connections=_UNLIMITED,
                    max_pending_requests=_UNLIMITED,
                    max_requests=_UNLIMITED,
                    max_retries=_UNLIMITED,
                )
            ]
        ),
        # With few instances "panic" would send requests to those known to be bad.
        common_lb_config=Cluster.CommonLbConfig(healthy_panic_threshold=percent_pb2.Percent(value=0)),
    )


def _lb_endpoint(address: str, port: int, weight: int = 1) -> endpoint_components_pb2.LbEndpoint:
    return endpoint_components_pb2.LbEndpoint(
        endpoint=endpoint_components_pb2.Endpoint(
            address=address_pb2.Address(socket_address=address_pb2.SocketAddress(address=address, port_value=port))
        ),
        load_balancing_weight=UInt32Value(value=weight),
    )


def _subset_labels(subset: str, rules: Iterable[istio.DestinationRule]) -> dict[str, str] | None:
    """The labels that make a subset; none are needed without a subset, and None is for one that is not defined."""
    if not subset:
        return {}
    return next((dict(s.labels) for rule in rules for s in rule.subsets if s.name == subset), None)


def _policies(target: Target, rules: Sequence[istio.DestinationRule]) -> list[istio.TrafficPolicy]:
    """The traffic policies that apply, from the most general to the most special."""
    found = [rule.traffic_policy for rule in rules[:1] if rule.HasField("traffic_policy")]
    for policy in list(found):
        found.extend(
            istio.TrafficPolicy(
                load_balancer=special.load_balancer if special.HasField("load_balancer") else None,
                connection_pool=special.connection_pool if special.HasField("connection_pool") else None,
                outlier_detection=special.outlier_detection if special.HasField("outlier_detection") else None,
            )
            for special in policy.port_level_settings
            if special.port.number == target.port
        )
    subset = next((s for rule in rules for s in rule.subsets if s.name == target.subset), None)
    if subset and subset.HasField("traffic_policy"):
        found.append(subset.traffic_policy)
    return found


def _apply_policy(cluster: Cluster, policy: istio.TrafficPolicy) -> None:
    balancer = policy.load_balancer
    if balancer.HasField("simple") and balancer.simple in _LB_POLICIES:
        cluster.lb_policy = _LB_POLICIES[balancer.simple]
    elif balancer.HasField("consistent_hash"):
        cluster.lb_policy = Cluster.RING_HASH
        minimum = balancer.consistent_hash.minimum_ring_size or 1024
        cluster.ring_hash_lb_config.minimum_ring_size.value = minimum
    limits = cluster.circuit_breakers.thresholds[0]
    tcp, http = policy.connection_pool.tcp, policy.connection_pool.http
    if tcp.max_connections:
        limits.max_connections.value = tcp.max_connections
    if tcp.HasField("connect_timeout"):
        cluster.connect_timeout.CopyFrom(tcp.connect_timeout)
    if http.http1_max_pending_requests:
        limits.max_pending_requests.value = http.http1_max_pending_requests
    if http.http2_max_requests:
        limits.max_requests.value = http.http2_max_requests
    if http.max_retries:
        limits.max_retries.value = http.max_retries
    if policy.HasField("outlier_detection"):
        _apply_outlier_detection(cluster, policy.outlier_detection)


def _apply_outlier_detection(cluster: Cluster, settings: istio.OutlierDetection) -> None:
    detection = outlier_detection_pb2.OutlierDetection(
        enforcing_success_rate=UInt32Value(value=0),
        enforcing_consecutive_5xx=UInt32Value(value=0),
        enforcing_consecutive_gateway_failure=UInt32Value(value=100),
    )
    if settings.consecutive_errors:
        detection.consecutive_gateway_failure.value = settings.consecutive_errors
    if settings.HasField("interval"):
        detection.interval.CopyFrom(settings.interval)
    if settings.HasField("base_ejection_time"):
        detection.base_ejection_time.CopyFrom(settings.base_ejection_time)
    if settings.max_ejection_percent:
        detection.max_ejection_percent.value = settings.max_ejection_percent
    cluster.outlier_detection.CopyFrom(detection)
    cluster.common_lb_config.healthy_panic_threshold.value = settings.min_health_percent
