"""Istio resources to xDS."""

import json

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.pilot.source.objects import Change, Key, Object
from netlab.pilot.source.store import Store
from netlab.pilot.translate import listeners, routes
from netlab.pilot.translate.index import Index, Touched
from netlab.pilot.translate.router import RouterTranslator, host_matches
from netlab.pilot.translate.sidecar import sidecar
from netlab.pilot.xds.resources import View
from netlab.pilot.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from netlab.protocols import mcp_collections as collections
from netlab.protocols import networking_pb2 as istio

GATEWAY = istio.Gateway(servers=[istio.Server(port=istio.Port(number=80, protocol="http", name="http"), hosts=["*"])])


def obj(collection: str, name: str, body, created: float = 0.0) -> Object:
    return Object(Key.parse(collection, name), body.SerializeToString().hex() + "v", created, body)


def gateway(body=GATEWAY, name="gw") -> Object:
    return obj(collections.GATEWAYS, name, body)


def service(host="h", *endpoints, port=8080) -> Object:
    body = istio.ServiceEntry(
        hosts=[host],
        ports=[istio.Port(number=port, protocol="http", name="http")],
        location=istio.ServiceEntry.MESH_INTERNAL,
        resolution=istio.ServiceEntry.STATIC,
        endpoints=[
            istio.ServiceEntry.Endpoint(address=a, ports={"http": p}, labels={"cfapp": label})
            for a, p, label in endpoints
        ],
    )
    return obj(collections.SERVICE_ENTRIES, f"se-{host}", body)


def rule(host="h", *subsets: str) -> Object:
    body = istio.DestinationRule(host=host, subsets=[istio.Subset(name=s, labels={"cfapp": s}) for s in subsets])
    return obj(collections.DESTINATION_RULES, f"dr-{host}", body)


def http(host="h", prefix="", *, port=8080, **subsets: int) -> istio.HTTPRoute:
    made = istio.HTTPRoute(
        route=[
            istio.HTTPRouteDestination(
                destination=istio.Destination(host=host, subset=s, port=istio.PortSelector(number=port)),
                weight=weight,
            )
            for s, weight in subsets.items()
        ]
    )
    if prefix:
        made.match.add().uri.prefix = prefix
    return made


def virtual(host="h", *http_routes, gateways=("gw",), name="", created=0.0) -> Object:
    body = istio.VirtualService(hosts=[host], gateways=gateways, http=http_routes)
    return obj(collections.VIRTUAL_SERVICES, name or f"vs-{host}", body, created)


def translated(*objects: Object) -> View:
    view, index = View("router"), Index()
    update = RouterTranslator(index).update(index.apply([Change(o.key, None, o) for o in objects]))
    view.update(update.put, update.removed)
    return view


def bodies(view: View, type_url: str, kind) -> dict:
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

    found = {}
    for name, resource in view.tables[type_url].resources.items():
        (wire,) = DeltaDiscoveryResponse.FromString(resource.wire).resources
        assert (wire.name, wire.version) == (name, resource.version)
        found[name] = kind.FromString(wire.resource.value)
    return found


def table(view: View) -> RouteConfiguration:
    return bodies(view, ROUTE, RouteConfiguration)["http.80"]


# ---- routers


def test_a_whole_route():
    view = translated(
        gateway(),
        service("h", ("10.0.2.1", 61001, "a"), ("10.0.2.2", 61002, "a"), ("10.0.2.1", 61003, "b")),
        rule("h", "a", "b"),
        virtual("h", http(a=60, b=40)),
    )
    assert list(view.tables[LISTENER].resources) == ["0.0.0.0_80"]
    assert set(view.tables[CLUSTER].resources) == {"outbound|8080|a|h", "outbound|8080|b|h"}
    clusters = bodies(view, CLUSTER, Cluster)
    assert clusters["outbound|8080|a|h"].type == Cluster.EDS
    endpoints = bodies(view, ENDPOINT, ClusterLoadAssignment)
    assert [
        (e.endpoint.address.socket_address.address, e.endpoint.address.socket_address.port_value)
        for e in endpoints["outbound|8080|a|h"].endpoints[0].lb_endpoints
    ] == [("10.0.2.1", 61001), ("10.0.2.2", 61002)]
    (host,) = table(view).virtual_hosts
    assert (host.name, list(host.domains)) == ("h:80", ["h", "h:80"])
    (route,) = host.routes
    assert [(c.name, c.weight.value) for c in route.route.weighted_clusters.clusters] == [
        ("outbound|8080|a|h", 60),
        ("outbound|8080|b|h", 40),
    ]
    assert route.route.HasField("timeout")
    assert route.route.timeout.seconds == 0


def test_a_gateway_without_routes_answers_404():
    (host,) = table(translated(gateway())).virtual_hosts
    assert host.name == "blackhole:80"
    assert host.routes[0].direct_response.status == 404


def test_without_gateway_there_is_nothing():
    view = translated(service("h"), rule("h", "a"), virtual("h", http(a=100)))
    assert not any(t.resources for t in view)


def test_a_route_without_endpoints_keeps_its_cluster():
    view = translated(gateway(), service("h"), rule("h", "a"), virtual("h", http(a=100)))
    assert not bodies(view, ENDPOINT, ClusterLoadAssignment)["outbound|8080|a|h"].endpoints


def test_a_route_to_nowhere_is_still_a_route():
    view = translated(gateway(), virtual("h", http(a=100)))
    assert table(view).virtual_hosts[0].routes[0].route.cluster == "outbound|8080|a|h"
    assert not view.tables[CLUSTER].resources


def test_internal_routes_are_not_on_routers():
    view = translated(gateway(), service("h"), virtual("h", http(a=100), gateways=()))
    assert table(view).virtual_hosts[0].name == "blackhole:80"


def test_routes_of_one_host_are_merged_with_the_catch_all_last():
    view = translated(
        gateway(),
        virtual("h", http(a=100), name="first", created=1),
        virtual("h", http(prefix="/x", b=100), name="second", created=2),
    )
    (host,) = table(view).virtual_hosts
    assert [r.route.cluster for r in host.routes] == ["outbound|8080|b|h", "outbound|8080|a|h"]


def test_route_names_say_host_and_path():
    view = translated(gateway(), virtual("h", http(prefix="/foo", a=100), http(b=100)))
    assert [r.name for r in table(view).virtual_hosts[0].routes] == ["h/foo", "h/"]


def test_a_gateway_serves_its_hosts_only():
    only = istio.Gateway(servers=[istio.Server(port=istio.Port(number=80, protocol="HTTP"), hosts=["*.example"])])
    view = translated(gateway(only), virtual("a.example", http(a=100)), virtual("b.test", http(a=100)))
    assert [h.name for h in table(view).virtual_hosts] == ["a.example:80"]
    assert host_matches("ns/*.example", "a.example")
    assert not host_matches("*.example", "example")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/foo", {"pathSeparatedPrefix": "/foo"}),
        ("/foo/", {"pathSeparatedPrefix": "/foo"}),
        ("/", {"prefix": "/"}),
        ("/a#b", {"prefix": "/a#b"}),
    ],
)
def test_prefixes_end_at_segments(prefix, expected):
    request = istio.HTTPMatchRequest(uri=istio.StringMatch(prefix=prefix))
    assert json_format.MessageToDict(routes.route_match(request)) == expected


def test_other_matches():
    request = istio.HTTPMatchRequest(
        uri=istio.StringMatch(exact="/x"),
        method=istio.StringMatch(exact="GET"),
        headers={"b": istio.StringMatch(regex="x.*"), "a": istio.StringMatch()},
        without_headers={"c": istio.StringMatch(prefix="y")},
        query_params={"q": istio.StringMatch(exact="1")},
        ignore_uri_case=True,
    )
    match = json_format.MessageToDict(routes.route_match(request))
    assert match["path"] == "/x"
    assert match["caseSensitive"] is False
    assert [h["name"] for h in match["headers"]] == [":method", "a", "b", "c"]
    assert match["headers"][1] == {"name": "a", "presentMatch": True}
    assert match["headers"][3]["invertMatch"]
    assert match["queryParameters"][0]["stringMatch"] == {"exact": "1"}


def test_retries():
    default = routes.retry_policy(None)
    assert default.num_retries.value == 2
    assert default.retry_host_predicate[0].name == "envoy.retry_host_predicates.previous_hosts"
    assert routes.retry_policy(istio.HTTPRetry(attempts=0)) is None
    own = routes.retry_policy(istio.HTTPRetry(attempts=3, retry_on="5xx, 429"))
    assert (own.num_retries.value, own.retry_on, list(own.retriable_status_codes)) == (
        3,
        "5xx,retriable-status-codes",
        [429],
    )


def test_traffic_policies():
    body = istio.DestinationRule(
        host="h",
        subsets=[istio.Subset(name="a", labels={"cfapp": "a"})],
        traffic_policy=istio.TrafficPolicy(
            load_balancer=istio.LoadBalancerSettings(simple=istio.LoadBalancerSettings.LEAST_CONN),
            connection_pool=istio.ConnectionPoolSettings(
                tcp=istio.ConnectionPoolSettings.TCPSettings(max_connections=7)
            ),
            outlier_detection=istio.OutlierDetection(consecutive_errors=3, min_health_percent=20),
        ),
    )
    view = translated(
        gateway(),
        service("h"),
        obj(collections.DESTINATION_RULES, "dr-h", body),
        virtual("h", http(a=100)),
    )
    (cluster,) = bodies(view, CLUSTER, Cluster).values()
    assert cluster.lb_policy == Cluster.LEAST_REQUEST
    assert cluster.circuit_breakers.thresholds[0].max_connections.value == 7
    assert cluster.outlier_detection.consecutive_gateway_failure.value == 3
    assert cluster.common_lb_config.healthy_panic_threshold.value == 20


# ---- what changes


def test_an_endpoint_change_touches_only_eds():
    store, index, view = Store(), Index(), View("router")
    translator = RouterTranslator(index)

    def apply(*objects):
        update = translator.update(index.apply(store.update(0, objects, [])))
        return view.update(update.put, update.removed)

    apply(gateway(), service("h", ("10.0.2.1", 61001, "a")), rule("h", "a"), virtual("h", http(a=100)))
    assert apply(service("h", ("10.0.2.1", 61009, "a"))) == {ENDPOINT: 1}
    assert apply(service("h", ("10.0.2.1", 61009, "a"))) == {}
    assert set(apply(virtual("i", http("i", a=100)), service("i"), rule("i", "a"))) == {
        CLUSTER,
        ENDPOINT,
        ROUTE,
    }


def test_a_service_that_comes_later_gets_its_cluster():
    index, view = Index(), View("router")
    translator = RouterTranslator(index)
    for item in (gateway(), virtual("h", http("other", a=100)), rule("other", "a"), service("other")):
        update = translator.update(index.apply([Change(item.key, None, item)]))
        view.update(update.put, update.removed)
    assert list(view.tables[CLUSTER].resources) == ["outbound|8080|a|other"]


_HOSTS = ("h", "i", "j")
_ACTIONS = st.one_of(
    st.builds(
        lambda h, p: service(h, *[("10.0.2.1", 61000 + x, "a") for x in p]),
        st.sampled_from(_HOSTS),
        st.lists(st.integers(0, 3), max_size=2),
    ),
    st.builds(lambda h, s: rule(h, *s), st.sampled_from(_HOSTS), st.sampled_from(["a", "ab", ""])),
    st.builds(
        lambda h, d, g: virtual(h, http(d, a=100), gateways=g),
        st.sampled_from(_HOSTS),
        st.sampled_from(_HOSTS),
        st.sampled_from([("gw",), (), ("other",)]),
    ),
    st.builds(
        lambda n: gateway(
            istio.Gateway(servers=[istio.Server(port=istio.Port(number=n, protocol="http"), hosts=["*"])])
        ),
        st.sampled_from([80, 8080]),
    ),
    st.sampled_from(_HOSTS).map(lambda h: Key.parse(collections.VIRTUAL_SERVICES, f"vs-{h}")),
    st.sampled_from(_HOSTS).map(lambda h: Key.parse(collections.SERVICE_ENTRIES, f"se-{h}")),
    st.just(Key.parse(collections.GATEWAYS, "gw")),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(_ACTIONS, max_size=12))
def test_step_by_step_gives_the_same_as_all_at_once(actions):
    store, index, view = Store(), Index(), View("router")
    translator = RouterTranslator(index)
    for action in actions:
        put, removed = ([], [action]) if isinstance(action, Key) else ([action], [])
        update = translator.update(index.apply(store.update(0, put, removed)))
        view.update(update.put, update.removed)
    fresh = translated(*store)
    for one, other in zip(view, fresh, strict=True):
        assert {n: r.version for n, r in one.resources.items()} == {n: r.version for n, r in other.resources.items()}


def test_nothing_touched_is_nothing_to_do():
    update = RouterTranslator(Index()).update(Touched())
    assert not update.put
    assert not update.removed


# ---- sidecars


def test_a_sidecar_has_its_ports_and_a_black_hole():
    found = sidecar([8080, 9090])
    assert set(found[CLUSTER]) == {"inbound|8080||", "inbound|9090||", "BlackHoleCluster"}
    cluster = Cluster.FromString(found[CLUSTER]["inbound|8080||"])
    address = cluster.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address
    assert (address.address, address.port_value) == ("127.0.0.1", 8080)

    listener = json.loads(json_format.MessageToJson(listeners.virtual_inbound([8080, 9090])))
    assert listener["address"]["socketAddress"]["portValue"] == 15001
    assert listener["listenerFilters"][0]["name"] == "envoy.filters.listener.original_dst"
    assert [c["filterChainMatch"]["destinationPort"] for c in listener["filterChains"]] == [8080, 9090]
    (black_hole,) = listener["defaultFilterChain"]["filters"]
    assert black_hole["typedConfig"]["cluster"] == "BlackHoleCluster"
