"""Weights and Istio resources: pure, so checked without any process."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from netlab.copilot.generate import fixed_resources, host_resources
from netlab.copilot.model import Backend, Destination, HostKey, HostView, PathRoute
from netlab.copilot.weights import percentages
from netlab.protocols import networking_pb2 as istio

HOST = "hello.mesh.example.test"


def backend(n: int, port: int = 8080) -> Backend:
    return Backend(f"10.0.2.{n}", 61000 + n, f"10.255.{n}.2", port)


def destination(process: str, *backends: Backend, weight: int = 1, port: int = 8080) -> Destination:
    return Destination(process, weight, port, backends)


def resources(*paths: PathRoute, internal: bool = False, vip: str = "") -> list:
    return [n.body for n in host_resources(HostView(HostKey(HOST, internal), vip, paths))]


# ---- weights


@given(st.lists(st.integers(1, 128), min_size=1, max_size=100))
def test_percentages_sum_to_100_starve_nobody_and_keep_the_order(weights):
    shares = percentages(weights)
    assert sum(shares) == 100
    assert min(shares) >= 1
    for (a, x), (b, y) in itertools.combinations(zip(weights, shares, strict=True), 2):
        if a > b:
            assert x >= y
        elif a < b:
            assert x <= y
        else:
            assert abs(x - y) <= 1


@given(st.lists(st.integers(1, 128), min_size=1, max_size=300))
def test_percentages_sum_to_100_for_any_number(weights):
    shares = percentages(weights)
    assert sum(shares) == 100
    assert min(shares) >= 0


@given(st.lists(st.integers(1, 128), min_size=1, max_size=20))
def test_percentages_are_near_their_due_unless_raised_to_1(weights):
    total = sum(weights)
    if all(w * 100 >= total for w in weights):
        assert all(abs(s - w * 100 / total) < 1 for s, w in zip(percentages(weights), weights, strict=True))


def test_percentages_of_known_cases():
    assert percentages([]) == []
    assert percentages([7]) == [100]
    assert percentages([1, 1, 1]) == [34, 33, 33]
    assert percentages([1, 9]) == [10, 90]
    assert percentages([1, 128, 128]) == [1, 50, 49]


# ---- resources


def test_one_app_on_a_bare_host():
    vs, rule, entry = resources(PathRoute("", (destination("app", backend(1), backend(2)),)))
    assert vs == istio.VirtualService(
        hosts=[HOST],
        gateways=["cloudfoundry-ingress"],
        http=[
            istio.HTTPRoute(
                route=[
                    istio.HTTPRouteDestination(
                        destination=istio.Destination(host=HOST, subset="app", port=istio.PortSelector(number=8080)),
                        weight=100,
                    )
                ]
            )
        ],
    )
    assert rule == istio.DestinationRule(host=HOST, subsets=[istio.Subset(name="app", labels={"cfapp": "app"})])
    assert entry == istio.ServiceEntry(
        hosts=[HOST],
        ports=[istio.Port(number=8080, protocol="http", name="http")],
        location=istio.ServiceEntry.MESH_INTERNAL,
        resolution=istio.ServiceEntry.STATIC,
        endpoints=[
            istio.ServiceEntry.Endpoint(address=f"10.0.2.{n}", ports={"http": 61000 + n}, labels={"cfapp": "app"})
            for n in (1, 2)
        ],
    )


def test_names():
    view = HostView(HostKey(HOST, False), "", (PathRoute("", (destination("app"),)),))
    assert [n.name for n in host_resources(view)] == [
        f"copilot-service-for-{HOST}",
        f"copilot-rule-for-{HOST}",
        f"copilot-service-entry-for-{HOST}",
    ]
    internal = HostView(HostKey(HOST, True), "127.128.0.1", view.paths)
    assert [n.name for n in host_resources(internal)] == [
        f"internal/copilot-service-for-{HOST}",
        f"internal/copilot-rule-for-{HOST}",
        f"internal/copilot-service-entry-for-{HOST}",
    ]


def test_the_longest_path_comes_first_and_the_bare_host_last():
    vs, *_ = resources(
        PathRoute("", (destination("a", backend(1)),)),
        PathRoute("/foo", (destination("b", backend(2)),)),
        PathRoute("/foo/bar", (destination("c", backend(3)),)),
    )
    assert [(r.match[0].uri.prefix if r.match else "", r.route[0].destination.subset) for r in vs.http] == [
        ("/foo/bar", "c"),
        ("/foo", "b"),
        ("", "a"),
    ]


def test_weights_are_of_the_live_destinations_only():
    vs, *_ = resources(PathRoute("", (destination("a", backend(1)), destination("b"), destination("c", backend(3)))))
    assert [(r.destination.subset, r.weight) for r in vs.http[0].route] == [("a", 50), ("c", 50)]


def test_a_route_without_live_destination_stays_with_no_endpoint():
    vs, _, entry = resources(PathRoute("", (destination("a", port=9000), destination("b"))))
    assert [(r.destination.subset, r.destination.port.number, r.weight) for r in vs.http[0].route] == [
        ("a", 9000, 50),
        ("b", 8080, 50),
    ]
    assert not entry.endpoints
    assert [p.number for p in entry.ports] == [8080, 9000]


def test_a_host_without_mapping_has_nothing():
    assert resources(PathRoute("", ())) == []
    assert resources() == []


def test_a_process_on_two_paths_has_one_subset_and_its_endpoints_once():
    app = destination("a", backend(1))
    vs, rule, entry = resources(PathRoute("", (app,)), PathRoute("/x", (app,)))
    assert len(vs.http) == 2
    assert len(rule.subsets) == 1
    assert len(entry.endpoints) == 1


def test_every_port_has_its_own_name():
    *_, entry = resources(PathRoute("", (destination("a", backend(1)), destination("b", backend(2, 9000), port=9000))))
    assert [(p.number, p.name) for p in entry.ports] == [(8080, "http"), (9000, "http-9000")]
    assert [dict(e.ports) for e in entry.endpoints] == [{"http": 61001}, {"http-9000": 61002}]


def test_an_internal_route():
    vs, _, entry = resources(PathRoute("", (destination("a", backend(1)),)), internal=True, vip="127.128.0.7")
    assert not vs.gateways
    assert vs.http[0].timeout.seconds == 15
    assert (vs.http[0].retries.attempts, vs.http[0].retries.retry_on) == (3, "5xx")
    assert list(entry.addresses) == ["127.128.0.7"]
    assert [(e.address, dict(e.ports)) for e in entry.endpoints] == [("10.255.1.2", {"http": 8080})]


def test_what_is_there_without_routes():
    gateway, sidecar = fixed_resources(80)
    assert gateway.name == "cloudfoundry-ingress"
    assert gateway.body.servers[0].port.number == 80
    assert sidecar.name == "cloudfoundry-default-sidecar"
    assert list(sidecar.body.egress[0].hosts) == ["~/*"]


@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_input_does_not_matter(order):
    def made(names):
        return resources(PathRoute("", tuple(destination(n, backend(1), backend(2)) for n in names)))

    assert made(order) == made("abcd")
