"""Version 2 of the API: its documents, lists and refusals; what they do is version 3's."""

import pytest

from netlab.capi.v2.endpoints import ENDPOINTS
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols import copilot_pb2 as copilot
from tests.unit.capi_bench import DOMAIN, Bench


class V2Bench(Bench):
    """The bench with what most tests of version 2 need."""

    def v2_app(self, name="hello", **fields):
        return self.post("/v2/apps", {"name": name, "space_guid": self.space} | fields)

    def v2_route(self, host="hello", **fields):
        body = {"domain_guid": self.domain(), "space_guid": self.space, "host": host}
        return self.post("/v2/routes", body | fields)

    def put(self, path, body=None, **arguments):
        return self.call("PUT", path, body or {}, **arguments)

    def names(self, path):
        return [each["entity"]["name"] for each in self.get(path)["resources"]]

    def refusal(self, method, path, body=None, **arguments):
        """A request that must be refused: status, code and title; the description must say something."""
        response = self.request(method, path, json=body, **arguments)
        document = response.json()
        assert set(document) == {"description", "error_code", "code"}
        assert document["description"]
        return response.status_code, document["code"], document["error_code"]


@pytest.fixture
def bench():
    with V2Bench(istio_domains=[DOMAIN, "apps.internal"]) as bench:
        yield bench


def guid(document):
    return document["metadata"]["guid"]


def lrp(bench, app, index, state, **fields):
    version = bench.get(f"/v2/apps/{guid(app)}")["entity"]["version"]
    key = bbs.ActualLRPKey(process_guid=f"{guid(app)}-{version}", index=index)
    return bbs.ActualLRP(actual_lrp_key=key, state=state, **fields)


def test_every_url_in_a_document_leads_somewhere(bench):
    app, route = bench.v2_app(), bench.v2_route()
    bench.put(f"/v2/apps/{guid(app)}/routes/{guid(route)}")
    (organization,) = bench.get("/v2/organizations")["resources"]
    bench.post("/v2/private_domains", {"name": "own.test", "owning_organization_guid": guid(organization)})
    collections = [path for path in ENDPOINTS if path.count("/") == 2 and "GET" in ENDPOINTS[path]]
    followed = set()
    for collection in collections:
        for resource in bench.get(collection)["resources"]:
            urls = [value for name, value in resource["entity"].items() if name.endswith("_url")]
            for url in [resource["metadata"]["url"], *urls]:
                bench.get(url)
                followed.add(url.split("/")[2])
    assert followed >= {"organizations", "spaces", "stacks", "shared_domains", "private_domains", "apps", "routes"}


def test_an_app_is_the_one_of_version_3(bench):
    app = bench.v2_app(
        memory=64,
        disk_quota=128,
        instances=3,
        command="run",
        health_check_type="http",
        health_check_http_endpoint="/up",
        health_check_timeout=7,
        environment_json={"A": "1", "B": 2, "C": True, "D": None, "E": {"x": [1]}},
        ports=[9000],
        production=True,
    )
    path = f"/v3/apps/{guid(app)}"
    assert bench.get(f"{path}/environment_variables")["var"] == {
        "A": "1",
        "B": "2",
        "C": "true",
        "D": "",
        "E": '{"x": [1]}',
    }
    assert bench.get(path)["lifecycle"] == {"type": "netlab", "data": {"directory": None, "port": 9000}}
    process = bench.get(f"{path}/processes/web")
    assert (process["memory_in_mb"], process["disk_in_mb"], process["instances"]) == (64, 128, 3)
    assert (process["command"], process["health_check"]["type"]) == ("run", "http")
    assert process["health_check"]["data"].items() >= {"endpoint": "/up", "timeout": 7}.items()
    entity = app["entity"]
    assert (entity["state"], entity["package_state"], entity["ports"]) == ("STOPPED", "STAGED", [9000])
    assert entity["health_check_http_endpoint"] == "/up"
    changed = bench.put(f"/v2/apps/{guid(app)}", {"command": None, "health_check_type": "none", "name": "hi"})["entity"]
    assert (changed["command"], changed["health_check_type"], changed["name"]) == (None, "process", "hi")
    assert (changed["memory"], changed["health_check_timeout"]) == (64, 7)
    assert bench.put(f"/v2/apps/{guid(app)}", {"environment_json": {"Z": "1"}})["entity"]["environment_json"] == {
        "Z": "1"
    }
    assert bench.request("DELETE", f"/v2/apps/{guid(app)}").status_code == 204
    bench.get(path, status=404)


def test_a_buildpack_is_kept(bench):
    app = bench.v2_app(buildpack="ruby", stack_guid=guid(bench.get("/v2/stacks?q=name:cflinuxfs3")["resources"][0]))
    assert app["entity"]["buildpack"] == "ruby"
    assert bench.get(f"/v3/apps/{guid(app)}")["lifecycle"]["data"] == {"buildpacks": ["ruby"], "stack": "cflinuxfs3"}
    assert bench.put(f"/v2/apps/{guid(app)}", {"buildpack": None})["entity"]["buildpack"] is None
    assert bench.get("/v2/stacks?q=name:other")["resources"] == []


def test_the_state_decides_what_runs(bench):
    app = bench.v2_app(state="STARTED")
    (desire,) = bench.diego.take()
    assert isinstance(desire, bbs.DesireLRPRequest)
    path = f"/v2/apps/{guid(app)}"
    bench.put(path, {"state": "STARTED"})
    assert bench.diego.take() == []
    bench.put(path, {"instances": 2, "state": "STARTED"})
    (update,) = bench.diego.take()
    assert update.update.instances == 2
    bench.put(path, {"memory": 32})
    renewed, removed = bench.diego.take()
    assert (renewed.desired_lrp.memory_mb, removed.process_guid) == (32, desire.desired_lrp.process_guid)
    bench.post(f"{path}/restage")
    assert len(bench.diego.take()) == 2
    bench.put(path, {"state": "STOPPED", "memory": 16})
    (stopped,) = bench.diego.take()
    assert isinstance(stopped, bbs.RemoveDesiredLRPRequest)


def test_instances_stats_and_summaries(bench):
    app, route = bench.v2_app(instances=3), bench.v2_route(path="/p")
    path = f"/v2/apps/{guid(app)}"
    bench.put(f"{path}/routes/{guid(route)}")
    assert bench.refusal("GET", f"{path}/instances") == (400, 220001, "CF-InstancesError")
    assert bench.refusal("GET", f"{path}/stats") == (400, 200003, "CF-AppStoppedStatsError")
    assert bench.get(f"{path}/summary")["running_instances"] == 0
    bench.put(path, {"state": "STARTED"})
    net = bbs.ActualLRPNetInfo(address="10.0.2.1", ports=[bbs.PortMapping(container_port=8080, host_port=61000)])
    bench.diego.lrps = [
        lrp(bench, app, 0, "RUNNING", actual_lrp_net_info=net),
        lrp(bench, app, 1, "CRASHED", crash_reason="exit 1"),
    ]
    found = bench.get(f"{path}/instances")
    assert {index: each["state"] for index, each in found.items()} == {"0": "RUNNING", "1": "CRASHED", "2": "DOWN"}
    assert found["1"]["details"] == "exit 1"
    stats = bench.get(f"{path}/stats")
    assert (stats["0"]["stats"]["host"], stats["0"]["stats"]["port"]) == ("10.0.2.1", 61000)
    assert stats["0"]["stats"]["uris"] == [f"hello.{DOMAIN}/p"]
    assert stats["1"] == {"state": "CRASHED", "uptime": 0, "details": "exit 1"}
    summary = bench.get(f"{path}/summary")
    assert (summary["guid"], summary["instances"], summary["running_instances"]) == (guid(app), 3, 1)
    (shown,) = summary["routes"]
    assert (shown["host"], shown["path"], shown["domain"]["name"]) == ("hello", "/p", DOMAIN)
    assert DOMAIN in [each["name"] for each in summary["available_domains"]]
    (listed,) = bench.get(f"/v2/spaces/{bench.space}/summary")["apps"]
    assert (listed["urls"], listed["running_instances"]) == ([f"hello.{DOMAIN}/p"], 1)
    bench.diego.lrps = None
    assert bench.refusal("GET", f"{path}/instances") == (503, 220002, "CF-InstancesUnavailable")
    assert bench.refusal("GET", f"{path}/stats") == (503, 200002, "CF-StatsUnavailable")
    assert bench.get(f"{path}/summary")["running_instances"] == -1
    env = bench.get(f"{path}/env")
    assert env["application_env_json"]["VCAP_APPLICATION"]["application_uris"] == [f"hello.{DOMAIN}/p"]


def test_both_ways_to_map_a_route_tell_copilot(bench):
    app, other, route = bench.v2_app(), bench.v2_app("other"), bench.v2_route()
    (upsert,) = bench.copilot.take()
    assert upsert.route.host == f"hello.{DOMAIN}"
    by_app = f"/v2/apps/{guid(app)}/routes/{guid(route)}"
    by_route = f"/v2/routes/{guid(route)}/apps/{guid(other)}"
    assert guid(bench.put(by_app)) == guid(app)
    assert guid(bench.put(by_route)) == guid(route)
    bench.put(by_route)
    assert [type(change) for change in bench.copilot.take()] == [copilot.MapRouteRequest] * 2
    assert bench.names(f"/v2/routes/{guid(route)}/apps") == ["hello", "other"]
    assert [guid(each) for each in bench.get(f"/v2/apps/{guid(app)}/routes")["resources"]] == [guid(route)]
    for path in (by_app, by_route, by_route):
        assert bench.request("DELETE", path).status_code == 204
    assert [type(change) for change in bench.copilot.take()] == [copilot.UnmapRouteRequest] * 2
    assert bench.request("DELETE", f"/v2/routes/{guid(route)}").status_code == 204
    assert [type(change) for change in bench.copilot.take()] == [copilot.DeleteRouteRequest]


def test_route_mappings(bench):
    app, route = bench.v2_app(), bench.v2_route()
    body = {"app_guid": guid(app), "route_guid": guid(route)}
    mapping = bench.post("/v2/route_mappings", body)
    assert bench.refusal("POST", "/v2/route_mappings", body) == (400, 210006, "CF-RouteMappingTaken")
    other = bench.post("/v2/route_mappings", body | {"app_port": 9000})
    assert [other["entity"]["app_port"], mapping["entity"]["app_port"]] == [9000, None]
    assert bench.get(f"/v2/apps/{guid(app)}")["entity"]["ports"] == [8080, 9000]
    for query in (f"app_guid:{guid(app)}", f"route_guid:{guid(route)}"):
        assert bench.get("/v2/route_mappings", params={"q": query})["total_results"] == 2
    for path in (f"/v2/apps/{guid(app)}", f"/v2/routes/{guid(route)}"):
        assert bench.get(f"{path}/route_mappings")["total_results"] == 2
    bench.call("DELETE", mapping["metadata"]["url"])
    assert bench.refusal("GET", mapping["metadata"]["url"]) == (404, 210007, "CF-RouteMappingNotFound")
    for wrong, error in ({"app_guid": "no"}, "CF-AppNotFound"), ({"route_guid": "no"}, "CF-RouteNotFound"):
        assert bench.refusal("POST", "/v2/route_mappings", body | wrong)[2] == error


def test_weights_are_version_3s_alone(bench):
    app, route = bench.v2_app(), bench.v2_route()
    bench.replace({"guid": guid(route)}, ({"guid": guid(app)}, 100))
    unmap = f"/v2/apps/{guid(app)}/routes/{guid(route)}"
    assert bench.refusal("DELETE", unmap) == (400, 1002, "CF-InvalidRelation")
    bench.put(unmap)
    other = bench.v2_app("other")
    assert bench.refusal("PUT", f"/v2/apps/{guid(other)}/routes/{guid(route)}") == (400, 1002, "CF-InvalidRelation")


def test_an_app_of_another_space_cannot_be_mapped(bench):
    organization = bench.post("/v2/organizations", {"name": "other"})
    space = bench.post("/v2/spaces", {"name": "dev", "organization_guid": guid(organization)})
    app, route = bench.v2_app(space_guid=guid(space)), bench.v2_route()
    path = f"/v2/routes/{guid(route)}/apps/{guid(app)}"
    assert bench.refusal("PUT", path) == (400, 1002, "CF-InvalidRelation")
    assert bench.names(f"/v2/organizations/{guid(organization)}/spaces") == ["dev"]
    assert bench.names(f"/v2/spaces/{guid(space)}/apps") == ["hello"]


def test_routes_that_cannot_be(bench):
    bench.v2_route("taken")
    bench.v2_route("taken", path="/p")
    (internal,) = bench.get("/v2/shared_domains?q=name:apps.internal")["resources"]
    own = {"domain_guid": guid(internal)}
    cases = [
        ({}, 210003, "CF-RouteHostTaken"),
        ({"path": "/p"}, 210004, "CF-RoutePathTaken"),
        ({"host": "a b"}, 210001, "CF-RouteInvalid"),
        ({"host": ""}, 210001, "CF-RouteInvalid"),
        ({"path": "p"}, 130004, "CF-PathInvalid"),
        ({"path": "/"}, 130004, "CF-PathInvalid"),
        ({"port": 1024}, 210001, "CF-RouteInvalid"),
        (own | {"path": "/p"}, 210001, "CF-RouteInvalid"),
        (own | {"host": "*"}, 210001, "CF-RouteInvalid"),
        ({"domain_guid": "no"}, 1002, "CF-InvalidRelation"),
        ({"space_guid": "no"}, 1002, "CF-InvalidRelation"),
        ({"space_guid": 3}, 1001, "CF-MessageParseError"),
        ({"host": ["a"]}, 1001, "CF-MessageParseError"),
    ]
    body = {"domain_guid": bench.domain(), "space_guid": bench.space, "host": "taken"}
    for wrong, *error in cases:
        assert bench.refusal("POST", "/v2/routes", body | wrong) == (400, *error), wrong
    assert bench.refusal("POST", "/v2/routes?generate_port=true", body)[1:] == (210001, "CF-RouteInvalid")
    assert bench.get("/v2/routes")["total_results"] == 2


def test_reservations(bench):
    bench.v2_route("taken", path="/p")
    reserved = f"/v2/routes/reserved/domain/{bench.domain()}"
    for path, status in [
        ("/host/taken?path=/p", 204),
        ("?host=taken&path=/p", 204),
        ("/host/taken", 404),
        ("/host/free", 404),
    ]:
        assert bench.request("GET", reserved + path).status_code == status
    assert bench.request("GET", "/v2/routes/reserved/domain/no/host/taken").status_code == 404


@pytest.mark.parametrize(
    ("body", "code", "title"),
    [
        ({"name": 3}, 1001, "CF-MessageParseError"),
        ({"name": None}, 1001, "CF-MessageParseError"),
        ({"memory": "64M"}, 1001, "CF-MessageParseError"),
        ({"environment_json": []}, 1001, "CF-MessageParseError"),
        ({"name": "nul\0"}, 1001, "CF-MessageParseError"),
        ({"memory": 0}, 100006, "CF-AppMemoryInvalid"),
        ({"instances": -1}, 100001, "CF-AppInvalid"),
        ({"state": "RUNNING"}, 100001, "CF-AppInvalid"),
        ({"environment_json": {"VCAP_X": "1"}}, 100001, "CF-AppInvalid"),
        ({"ports": [80]}, 100001, "CF-AppInvalid"),
        ({"ports": [8080], "buildpack": "ruby"}, 100001, "CF-AppInvalid"),
        ({"name": ""}, 100001, "CF-AppInvalid"),
        ({"name": "taken"}, 100002, "CF-AppNameTaken"),
        ({"docker_image": "busybox"}, 320003, "CF-DockerDisabled"),
        ({"space_guid": "no"}, 1002, "CF-InvalidRelation"),
        ({"stack_guid": "no"}, 1002, "CF-InvalidRelation"),
    ],
)
def test_apps_that_cannot_be(bench, body, code, title):
    bench.v2_app("taken")
    whole = {"name": "x", "space_guid": bench.space} | body
    assert bench.refusal("POST", "/v2/apps", whole) == (400, code, title)
    assert bench.names("/v2/apps") == ["taken"]
    app = bench.v2_app("x")
    if body != {"name": None}:
        assert bench.refusal("PUT", f"/v2/apps/{guid(app)}", body) == (400, code, title)
    assert bench.get(f"/v2/apps/{guid(app)}")["entity"] == app["entity"]


def test_bodies_that_are_none(bench):
    for content in (b"{", b"[]", b"\xff"):
        response = bench.request("POST", "/v2/apps", content=content)
        assert (response.status_code, response.json()["code"]) == (400, 1001)
    parse_error = "Request invalid due to parse error: Field: name, Error: Missing field name"
    assert bench.post("/v2/apps", {"space_guid": bench.space}, status=400)["description"] == parse_error


@pytest.mark.parametrize(
    ("path", "code", "title"),
    [
        ("apps", 100004, "CF-AppNotFound"),
        ("routes", 210002, "CF-RouteNotFound"),
        ("spaces", 40004, "CF-SpaceNotFound"),
        ("organizations", 30003, "CF-OrganizationNotFound"),
        ("domains", 130002, "CF-DomainNotFound"),
        ("shared_domains", 130002, "CF-DomainNotFound"),
        ("private_domains", 130002, "CF-DomainNotFound"),
        ("stacks", 250003, "CF-StackNotFound"),
        ("services", 120003, "CF-ServiceNotFound"),
    ],
)
def test_missing_resources(bench, path, code, title):
    assert bench.refusal("GET", f"/v2/{path}/none") == (404, code, title)


def test_refusals_before_any_handler(bench):
    assert bench.refusal("GET", "/v2/none") == (404, 10000, "CF-NotFound")
    assert bench.refusal("PATCH", "/v2/apps") == (404, 10000, "CF-NotFound")
    bad = {"authorization": "bearer no"}
    assert bench.refusal("GET", "/v2/apps", headers=bad) == (401, 1000, "CF-InvalidAuthToken")
    read_only = {"authorization": f"bearer {bench.tokens(scope='cloud_controller.read')['access_token']}"}
    assert bench.refusal("POST", "/v2/apps", {}, headers=read_only) == (403, 10007, "CF-InsufficientScope")


def test_pages_and_queries(bench):
    for number in range(5):
        bench.v2_app(f"app-{number}")
    query = [("q", "name IN app-0,app-1,app-2"), ("q", f"space_guid:{bench.space}"), ("results-per-page", "2")]
    first = bench.get("/v2/apps", params=[*query, ("order-direction", "desc"), ("order-by", "name")])
    assert [each["entity"]["name"] for each in first["resources"]] == ["app-2", "app-1"]
    assert (first["total_results"], first["total_pages"], first["prev_url"]) == (3, 2, None)
    second = bench.get(first["next_url"])
    assert [each["entity"]["name"] for each in second["resources"]] == ["app-0"]
    assert second["next_url"] is None
    assert bench.get(second["prev_url"])["resources"] == first["resources"]
    assert bench.names(f"/v2/apps?q=name:app-1;space_guid:{bench.space}") == ["app-1"]
    assert bench.get("/v2/routes?q=path:&q=host:x&q=port:0")["total_results"] == 0
    for wrong in ("q=surprise:1", "q=name", "q=name>1", "page=0", "results-per-page=101", "order-direction=up"):
        assert bench.refusal("GET", f"/v2/apps?{wrong}") == (400, 10005, "CF-BadQueryParameter")


def test_domains(bench):
    assert bench.names("/v2/shared_domains") == [DOMAIN, "apps.internal", "sys.example.test"]
    (organization,) = bench.get("/v2/organizations")["resources"]
    own = {"name": "own.test", "owning_organization_guid": guid(organization)}
    private = bench.post("/v2/private_domains", own)
    assert bench.names(f"/v2/organizations/{guid(organization)}/private_domains") == ["own.test"]
    assert bench.names(f"/v2/spaces/{bench.space}/domains")[-1] == "own.test"
    shared = bench.post("/v2/shared_domains", {"name": "all.test", "internal": True})
    assert shared["entity"]["internal"] is True
    assert bench.refusal("GET", f"/v2/shared_domains/{guid(private)}")[1] == 130002
    assert bench.refusal("POST", "/v2/shared_domains", {"name": "own.test"})[2] == "CF-DomainNameTaken"
    assert bench.refusal("POST", "/v2/shared_domains", {"name": "no dot"})[2] == "CF-DomainInvalid"
    bench.post("/v2/routes", {"domain_guid": guid(private), "space_guid": bench.space, "host": "a"})
    url = private["metadata"]["url"]
    assert bench.refusal("DELETE", url) == (400, 10006, "CF-AssociationNotEmpty")
    done = bench.call("DELETE", f"{url}?recursive=true&async=true", status=202)
    assert bench.get(done["metadata"]["url"])["entity"]["status"] == "finished"
    assert bench.get("/v2/routes")["total_results"] == 0


def test_names_of_organizations_and_spaces_are_taken_once(bench):
    (organization,) = bench.get("/v2/organizations")["resources"]
    assert bench.refusal("POST", "/v2/organizations", {"name": "netlab"}) == (400, 30002, "CF-OrganizationNameTaken")
    body = {"name": "dev", "organization_guid": guid(organization)}
    assert bench.refusal("POST", "/v2/spaces", body) == (400, 40002, "CF-SpaceNameTaken")
    assert bench.refusal("POST", "/v2/spaces", body | {"organization_guid": "no"}) == (400, 1002, "CF-InvalidRelation")


def test_unmapped_routes_are_deleted_together(bench):
    app, kept = bench.v2_app(), bench.v2_route("kept")
    bench.v2_route("gone")
    bench.put(f"/v2/apps/{guid(app)}/routes/{guid(kept)}")
    bench.call("DELETE", f"/v2/spaces/{bench.space}/unmapped_routes")
    assert [guid(each) for each in bench.get(f"/v2/spaces/{bench.space}/routes")["resources"]] == [guid(kept)]


def test_bits_are_taken_and_not_used(bench):
    app = bench.v2_app()
    files = {"application": ("application.zip", b"PK" + b"\0" * (2 << 20), "application/zip")}
    path = f"/v2/apps/{guid(app)}/bits?async=true"
    response = bench.request("PUT", path, data={"resources": "[]"}, files=files)
    assert response.status_code == 201
    assert "netlab%20runs%20no%20uploaded%20bits" in response.headers["x-cf-warnings"]
    assert bench.get(response.json()["metadata"]["url"])["entity"]["status"] == "finished"
    assert bench.put("/v2/resource_match", [{"sha1": "x", "size": 1}]) == []
    assert bench.refusal("PUT", "/v2/resource_match", {}) == (400, 1001, "CF-MessageParseError")
    assert bench.refusal("PUT", "/v2/apps/none/bits") == (404, 100004, "CF-AppNotFound")
