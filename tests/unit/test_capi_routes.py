"""Routes and destinations: what the API accepts, and what Copilot and Diego are told of it."""

import pytest

from netlab.capi.changes import RefreshRoutes
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as copilot
from tests.unit.capi_bench import DOMAIN, Bench


@pytest.fixture
def bench():
    with Bench(istio_domains=[DOMAIN, "apps.internal"]) as bench:
        yield bench


def mapped(change):
    mapping = change.route_mapping
    return type(change).__name__, mapping.capi_process_guid, mapping.route_weight


def test_a_route_is_told_at_once(bench):
    route = bench.make_route("hello", "/a")
    assert route["url"] == "hello.mesh.example.test/a"
    assert route["links"]["destinations"]["href"].endswith(f"/v3/routes/{route['guid']}/destinations")
    (told,) = bench.copilot.take()
    assert told == copilot.UpsertRouteRequest(
        route=copilot.Route(guid=route["guid"], host="hello.mesh.example.test", path="/a")
    )
    response = bench.request("DELETE", f"/v3/routes/{route['guid']}")
    assert response.status_code == 202
    assert bench.copilot.take() == [copilot.DeleteRouteRequest(guid=route["guid"])]


def test_other_domains_are_none_of_copilots_business(bench):
    app = bench.make_app()
    route = bench.make_route("hello", domain="sys.example.test")
    bench.map(route, app)
    bench.call("DELETE", f"/v3/routes/{route['guid']}")
    assert bench.copilot.take() == []


@pytest.mark.parametrize(
    ("host", "path", "domain", "detail"),
    [
        (None, None, DOMAIN, "Missing host"),
        ("", None, DOMAIN, "Missing host"),
        ("a.b", None, DOMAIN, "Host must be either"),
        ("a b", None, DOMAIN, "Host must be either"),
        ("a\n", None, DOMAIN, "Host must be either"),
        ("é", None, DOMAIN, "Host must be either"),
        ("a" * 64, None, DOMAIN, "Host must be either"),
        ("a", "/", DOMAIN, "Path cannot be exactly '/'"),
        ("a", "x", DOMAIN, "Path must begin with a '/'"),
        ("a", "/x?y", DOMAIN, "Path cannot contain '?'"),
        ("a", "/" + "x" * 128, DOMAIN, "Path must be no more than 128"),
        ("a", "/x\ny", DOMAIN, "Path must consist of"),
        ("*", None, "apps.internal", "Wildcard hosts are not supported for internal domains."),
        ("a", "/x", "apps.internal", "Paths are not supported for internal domains."),
        ("api", None, "sys.example.test", "Route conflicts with a reserved system route."),
    ],
)
def test_bad_routes(bench, host, path, domain, detail):
    assert detail in bench.refused("POST", "/v3/routes", bench.route_body(host, path, domain))
    assert bench.copilot.take() == []


def test_routes_are_unique_whatever_their_case(bench):
    bench.make_route("Hello")
    bench.make_route("hello", "/x")
    detail = bench.refused("POST", "/v3/routes", bench.route_body("HELLO"))
    assert detail == "Route already exists with host 'hello' for domain 'mesh.example.test'."
    detail = bench.refused("POST", "/v3/routes", bench.route_body("hello", "/x"))
    assert detail == "Route already exists with host 'hello' and path '/x' for domain 'mesh.example.test'."


def test_a_host_belongs_to_one_space(bench):
    bench.make_route("hello")
    (organization,) = bench.get("/v3/organizations")["resources"]
    owner = {"organization": {"data": {"guid": organization["guid"]}}}
    other = bench.post("/v3/spaces", {"name": "other", "relationships": owner})
    body = bench.route_body("hello", "/x")
    body["relationships"]["space"]["data"]["guid"] = other["guid"]
    assert "reserved for another space" in bench.refused("POST", "/v3/routes", body)


def test_filters(bench):
    app = bench.make_app()
    first, second = bench.make_route("a", "/x"), bench.make_route("b")
    bench.map(second, app)
    found = {
        query: [route["host"] for route in bench.get(f"/v3/routes?{query}")["resources"]]
        for query in (
            "hosts=a",
            "paths=%2Fx",
            "hosts=a,b",
            f"domain_guids={bench.domain()}&hosts=b&paths=",
            f"app_guids={app['guid']}",
            "domain_guids=none",
            f"guids={first['guid']}",
        )
    }
    assert list(found.values()) == [["a"], ["a"], ["a", "b"], ["b"], ["b"], [], ["a"]]
    (route,) = bench.get(f"/v3/apps/{app['guid']}/routes")["resources"]
    assert route["destinations"][0]["app"] == {"guid": app["guid"], "process": {"type": "web"}}


def test_internal_routes_get_the_first_free_address_and_keep_it(bench):
    routes = [bench.make_route(host, domain="apps.internal") for host in "abc"]
    assert [change.route.vip for change in bench.copilot.take()] == ["127.128.0.1", "127.128.0.2", "127.128.0.3"]
    bench.call("DELETE", f"/v3/routes/{routes[0]['guid']}")
    bench.call("DELETE", f"/v3/routes/{routes[1]['guid']}")
    bench.copilot.take()
    bench.make_route("d", domain="apps.internal")
    bench.make_route("e", domain="apps.internal")
    assert [(c.route.vip, c.route.internal) for c in bench.copilot.take()] == [
        ("127.128.0.1", True),
        ("127.128.0.2", True),
    ]


def test_addresses_run_out():
    with Bench(istio_domains=["apps.internal"], internal_route_vip_range="127.128.0.0/30") as bench:
        bench.make_route("a", domain="apps.internal")
        bench.make_route("b", domain="apps.internal")
        detail = bench.refused("POST", "/v3/routes", bench.route_body("c", domain="apps.internal"))
        assert "no more VIPs" in detail


def test_mapping_is_told_exactly_once(bench):
    app, route = bench.make_app(), bench.make_route()
    bench.copilot.take()
    first = bench.map(route, app)
    again = bench.map(route, app)
    assert first == again
    assert [mapped(change) for change in bench.copilot.take()] == [("MapRouteRequest", app["guid"], 1)]
    (destination,) = first["destinations"]
    assert (destination["port"], destination["weight"]) == (8080, None)
    path = f"/v3/routes/{route['guid']}/destinations/{destination['guid']}"
    assert bench.request("DELETE", path).status_code == 204
    bench.refused("DELETE", path)
    assert [mapped(change) for change in bench.copilot.take()] == [("UnmapRouteRequest", app["guid"], 1)]


def test_two_ports_of_one_app_are_one_mapping(bench):
    app, route = bench.make_app(), bench.make_route()
    bench.copilot.take()
    bench.map(route, app, port=9000)
    both = bench.map(route, app)
    assert [mapped(change)[2] for change in bench.copilot.take()] == [1, 2]
    for destination in both["destinations"]:
        bench.call("DELETE", f"/v3/routes/{route['guid']}/destinations/{destination['guid']}")
    told = [mapped(change) for change in bench.copilot.take()]
    assert told == [("MapRouteRequest", app["guid"], 1), ("UnmapRouteRequest", app["guid"], 1)]


def test_weights(bench):
    a, b, c = (bench.make_app(name) for name in "abc")
    route = bench.make_route()
    bench.map(route, a)
    bench.copilot.take()
    bench.replace(route, (a, 80), (b, 20))
    told = [mapped(change) for change in bench.copilot.take()]
    assert told == [("MapRouteRequest", a["guid"], 80), ("MapRouteRequest", b["guid"], 20)]
    bench.replace(route, (b, 20), (c, 80))
    told = [mapped(change) for change in bench.copilot.take()]
    assert told == [("MapRouteRequest", c["guid"], 80), ("UnmapRouteRequest", a["guid"], 80)]
    path = f"/v3/routes/{route['guid']}/destinations"
    assert "already configured" in bench.refused("POST", path, {"destinations": [{"app": {"guid": a["guid"]}}]})
    first = bench.get(path)["destinations"][0]["guid"]
    assert "cannot be deleted individually" in bench.refused("DELETE", f"{path}/{first}")
    bench.replace(route)
    assert [mapped(change)[0] for change in bench.copilot.take()] == ["UnmapRouteRequest"] * 2


@pytest.mark.parametrize(
    ("weights", "detail"),
    [
        ((60, 30), "add up to 100"),
        ((100, None), "both weighted and unweighted"),
        ((0, 100), "greater than or equal to 1"),
        ((101, 1), "less than or equal to 100"),
        ((50.5, 49.5), "integer"),
    ],
)
def test_bad_weights(bench, weights, detail):
    apps = bench.make_app("a"), bench.make_app("b")
    route = bench.make_route()
    bench.copilot.take()
    document = bench.replace(route, *zip(apps, weights, strict=True), status=422)
    assert detail in document["errors"][0]["detail"]
    assert bench.copilot.take() == []


@pytest.mark.parametrize(
    ("entry", "detail"),
    [
        ({"app": {"guid": "none"}}, 'App(s) with guid(s) "none" do not exist'),
        ({"app": {"guid": "none"}, "port": 80}, "Destinations.0.port"),
        ({"app": {"guid": "none"}, "port": 65536}, "Destinations.0.port"),
        ({"app": {"guid": "none"}, "weight": 50}, "only be used when replacing all"),
        ({"app": {}}, "Destinations.0.app.guid can't be blank"),
        ({"app": {"guid": "x"}, "extra": 1}, "Unknown field(s): 'destinations.0.extra'"),
        (7, "Destinations.0 must be an object"),
    ],
)
def test_bad_destinations(bench, entry, detail):
    route = bench.make_route()
    path = f"/v3/routes/{route['guid']}/destinations"
    assert detail in bench.refused("POST", path, {"destinations": [entry]})


def test_limits_of_destinations(bench):
    app, route = bench.make_app(), bench.make_route()
    path = f"/v3/routes/{route['guid']}/destinations"
    entries = [{"app": {"guid": app["guid"]}, "port": 9000 + port} for port in range(11)]
    assert "at most 10 exposed ports" in bench.refused("POST", path, {"destinations": entries})
    assert bench.get(path)["destinations"] == []
    assert "duplicate" in bench.refused("POST", path, {"destinations": entries[:1] * 2})
    bench.refused("POST", path, {"destinations": []})
    bench.refused("POST", path, {"destinations": entries[:1] * 101})
    bench.replace(route)


def test_life_of_an_app_as_its_peers_see_it(bench):
    app, route = bench.make_app(), bench.make_route("hello", "/p")
    bench.map(route, app)
    bench.copilot.take()
    guid = app["guid"]
    bench.post(f"/v3/apps/{guid}/actions/start")
    bench.post(f"/v3/apps/{guid}/actions/start")
    (association,) = bench.copilot.take()
    (desire,) = bench.diego.take()
    lrp = desire.desired_lrp
    version = bench.get(f"/v3/processes/{guid}")["version"]
    assert lrp.process_guid == f"{guid}-{version}"
    assert list(association.capi_diego_process_association.diego_process_guids) == [lrp.process_guid]
    assert b'"hostnames":["hello.mesh.example.test/p"],"port":8080' in lrp.routes.routes["cf-router"]

    bench.post(f"/v3/processes/{guid}/actions/scale", {"instances": 2})
    (update,) = bench.diego.take()
    assert (update.process_guid, update.update.instances) == (lrp.process_guid, 2)
    assert not update.update.HasField("routes")
    bench.map(bench.make_route("more"), app)
    assert bench.diego.take() == [RefreshRoutes(guid)]

    bench.copilot.take()
    bench.post(f"/v3/apps/{guid}/actions/restart")
    (association,) = bench.copilot.take()
    desire, remove = bench.diego.take()
    assert desire.desired_lrp.process_guid != lrp.process_guid
    assert desire.desired_lrp.instances == 2
    assert remove == bbs.RemoveDesiredLRPRequest(process_guid=lrp.process_guid)
    assert list(association.capi_diego_process_association.diego_process_guids) == [desire.desired_lrp.process_guid]

    bench.post(f"/v3/apps/{guid}/actions/stop")
    assert bench.copilot.take() == [copilot.DeleteCapiDiegoProcessAssociationRequest(capi_process_guid=guid)]
    assert [type(change) for change in bench.diego.take()] == [bbs.RemoveDesiredLRPRequest]
    bench.call("DELETE", f"/v3/apps/{guid}")
    assert [mapped(change)[0] for change in bench.copilot.take()] == ["UnmapRouteRequest"] * 2
    assert bench.diego.take() == []


def test_deleting_a_running_app_and_its_route(bench):
    app, route = bench.make_app(), bench.make_route()
    bench.map(route, app)
    bench.post(f"/v3/apps/{app['guid']}/actions/start")
    bench.copilot.take(), bench.diego.take()
    bench.call("DELETE", f"/v3/routes/{route['guid']}")
    assert [type(change).__name__ for change in bench.copilot.take()] == ["UnmapRouteRequest", "DeleteRouteRequest"]
    assert bench.diego.take() == [RefreshRoutes(app["guid"])]
    bench.call("DELETE", f"/v3/apps/{app['guid']}")
    assert [type(change).__name__ for change in bench.copilot.take()] == ["DeleteCapiDiegoProcessAssociationRequest"]
    assert [type(change).__name__ for change in bench.diego.take()] == ["RemoveDesiredLRPRequest"]
