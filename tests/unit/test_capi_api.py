"""The API's documents: roots, lists, errors, and the life of each resource."""

import pytest

from tests.unit.capi_bench import DOMAIN, Bench


@pytest.fixture
def bench():
    with Bench(istio_domains=[DOMAIN, "apps.internal"]) as bench:
        yield bench


def test_roots_need_no_token(bench):
    links = bench.send("GET", f"{bench.config.api_url}/").json()["links"]
    assert links["cloud_controller_v3"]["href"] == "https://api.sys.example.test/v3"
    assert links["login"]["href"] == links["uaa"]["href"] == "https://uaa.sys.example.test"
    info = bench.send("GET", f"{bench.config.api_url}/v2/info").json()
    assert info["token_endpoint"] == "https://uaa.sys.example.test"
    assert bench.send("GET", f"{bench.config.api_url}/v3").json()["links"]["apps"]


def test_a_client_can_start_at_once(bench):
    (organization,) = bench.get("/v3/organizations")["resources"]
    (space,) = bench.get("/v3/spaces")["resources"]
    assert (organization["name"], space["name"]) == ("netlab", "dev")
    domains = {each["name"]: each for each in bench.get("/v3/domains")["resources"]}
    assert list(domains) == [DOMAIN, "apps.internal", "sys.example.test"]
    assert [each["internal"] for each in domains.values()] == [False, True, False]
    default = bench.get(f"/v3/organizations/{organization['guid']}/domains/default")
    assert default["name"] == DOMAIN


def test_every_answer_names_its_request(bench):
    own = bench.request("GET", "/v3/apps").headers["x-vcap-request-id"]
    assert len(own) == 36
    marked = bench.request("GET", "/v3/nothing", headers={"x-vcap-request-id": "mine"})
    assert marked.headers["x-vcap-request-id"].startswith("mine::")
    assert marked.json() == {"errors": [{"code": 10000, "title": "CF-NotFound", "detail": "Unknown request"}]}


@pytest.mark.parametrize("kind", ["App", "Route", "Domain", "Organization", "Space", "Process", "Job"])
def test_missing_resources(bench, kind):
    (error,) = bench.get(f"/v3/{kind.lower()}s/none".replace("processs", "processes"), status=404)["errors"]
    assert (error["code"], error["title"]) == (10010, "CF-ResourceNotFound")
    assert error["detail"] == f"{kind} not found"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"null", b"\xff", b'{"name": NaN}', b"[" * 100_000])
def test_unparsable_bodies(bench, body):
    response = bench.request("POST", "/v3/apps", content=body)
    assert response.status_code == 400
    assert response.json()["errors"][0]["title"] == "CF-MessageParseError"


def test_a_body_may_not_be_endless(bench):
    assert bench.request("POST", "/v3/apps", content=b" " * (1 << 20) + b"{}").status_code == 413


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"name": 3}, "Name must be a string"),
        ({"name": ""}, "Name string should have at least 1 character"),
        ({"name": "x", "relationships": {}}, "Relationships.space can't be blank"),
        ({"name": "x", "relationships": {"space": {"data": None}}}, "Invalid space. Ensure that the space"),
        ({"name": "x", "surprise": 1}, "Unknown field(s): 'surprise'"),
        ({"name": "nul\0"}, "Text must not contain NUL"),
        ({"name": "x\ud800"}, "Text must not contain NUL"),
        ({"environment_variables": {"VCAP_X": "1"}}, "names that start with VCAP_ are reserved"),
        ({"environment_variables": {"PORT": "1"}}, "cannot set PORT"),
        ({"environment_variables": {"A=B": "1"}}, "must not be empty nor contain '='"),
        ({"environment_variables": {"A": 1}}, "must be a string"),
        ({"lifecycle": {"type": "docker", "data": {}}}, "Lifecycle type must be one of: netlab, buildpack"),
        ({"lifecycle": {"type": "netlab", "data": {"port": 1}}}, "Lifecycle data port"),
        ({"lifecycle": {"type": "netlab", "data": {"directory": "bits"}}}, "must be an absolute path"),
    ],
)
def test_bad_apps(bench, body, detail):
    whole = bench.app_body("x") | body
    document = bench.post("/v3/apps", whole, status=422)
    assert detail in " ".join(error["detail"] for error in document["errors"])


def test_app_life(bench):
    app = bench.make_app(environment_variables={"A": "1"}, metadata={"labels": {"k": "v"}})
    path = f"/v3/apps/{app['guid']}"
    assert app["state"] == "STOPPED"
    assert app["lifecycle"] == {"type": "netlab", "data": {"directory": None, "port": 8080}}
    assert app["links"]["start"] == {"href": bench.config.api_url + path + "/actions/start", "method": "POST"}
    assert bench.refused("POST", "/v3/apps", bench.app_body("hello")) == "App with the name 'hello' already exists."
    bench.call("PATCH", path, {"name": "hi", "metadata": {"labels": {"k": None, "l": "w"}}})
    bench.call("PATCH", f"{path}/environment_variables", {"var": {"A": None, "B": "2"}})
    assert bench.get(f"{path}/environment_variables")["var"] == {"B": "2"}
    env = bench.get(f"{path}/env")
    assert env["environment_variables"] == {"B": "2"}
    assert env["application_env_json"]["VCAP_APPLICATION"]["application_name"] == "hi"
    shown = bench.get(path)
    assert (shown["name"], shown["metadata"]["labels"]) == ("hi", {"l": "w"})
    response = bench.request("DELETE", path)
    assert response.status_code == 202
    job = bench.get(response.headers["location"].removeprefix(bench.config.api_url))
    assert (job["state"], job["operation"]) == ("COMPLETE", "app.delete")
    bench.get(path, status=404)
    assert bench.get("/v3/processes")["resources"] == []


def test_an_ordinary_clients_lifecycle_is_kept(bench):
    app = bench.make_app(lifecycle={"type": "buildpack", "data": {"buildpacks": ["ruby"], "stack": "cflinuxfs3"}})
    assert app["lifecycle"]["data"] == {"buildpacks": ["ruby"], "stack": "cflinuxfs3"}
    bench.post(f"/v3/apps/{app['guid']}/actions/start")


def test_a_directory_needs_a_command(bench):
    lifecycle = {"type": "netlab", "data": {"directory": "/srv/bits"}}
    app = bench.make_app(lifecycle=lifecycle)
    path = f"/v3/apps/{app['guid']}"
    assert "has no command" in bench.refused("POST", f"{path}/actions/start")
    bench.call("PATCH", f"{path}/processes/web", {"command": "./run.sh"})
    bench.post(f"{path}/actions/start")


def test_processes(bench):
    app = bench.make_app()
    process = bench.get(f"/v3/apps/{app['guid']}/processes/web")
    assert process["guid"] == app["guid"]
    assert process["links"]["scale"]["method"] == "POST"
    bench.call("PATCH", f"/v3/processes/{app['guid']}", {"command": "run", "health_check": {"type": "http"}})
    scale = bench.post(f"/v3/apps/{app['guid']}/processes/web/actions/scale", {"instances": 3, "memory_in_mb": 64})
    assert (scale["instances"], scale["memory_in_mb"], scale["command"]) == (3, 64, "run")
    (listed,) = bench.get(f"/v3/apps/{app['guid']}/processes")["resources"]
    assert listed["command"] == "[PRIVATE DATA HIDDEN IN LISTS]"
    for instances in (-1, 1.5, "2", True, 10**30):
        bench.post(f"/v3/processes/{app['guid']}/actions/scale", {"instances": instances}, status=422)
    bench.get(f"/v3/apps/{app['guid']}/processes/worker", status=404)


def test_pages_keep_their_filters(bench):
    for number in range(5):
        bench.make_app(f"app-{number}")
    names = "app-0,app-1,app-2"
    first = bench.get(f"/v3/apps?names={names}&per_page=2&order_by=-name")
    assert [app["name"] for app in first["resources"]] == ["app-2", "app-1"]
    pagination = first["pagination"]
    assert (pagination["total_results"], pagination["total_pages"], pagination["previous"]) == (3, 2, None)
    second = bench.get(pagination["next"]["href"].removeprefix(bench.config.api_url))
    assert [app["name"] for app in second["resources"]] == ["app-0"]
    assert second["pagination"]["next"] is None
    assert second["pagination"]["first"] == pagination["first"]
    empty = bench.get("/v3/apps?names=none")["pagination"]
    assert (empty["total_results"], empty["total_pages"]) == (0, 1)
    assert bench.get("/v3/apps?page=9&per_page=2")["pagination"]["total_results"] == 5


@pytest.mark.parametrize("query", ["per_page=0", "per_page=5001", "page=x", "surprise=1", "order_by=guid", "page=-1"])
def test_bad_queries(bench, query):
    (error,) = bench.get(f"/v3/apps?{query}", status=400)["errors"]
    assert (error["code"], error["title"]) == (10005, "CF-BadQueryParameter")


def test_stats(bench):
    from netlab.protocols import bbs_pb2 as bbs

    app = bench.make_app()
    stats = f"/v3/processes/{app['guid']}/stats"
    assert [each["state"] for each in bench.get(stats)["resources"]] == ["DOWN"]
    bench.post(f"/v3/processes/{app['guid']}/actions/scale", {"instances": 3})
    bench.post(f"/v3/apps/{app['guid']}/actions/start")
    version = bench.get(f"/v3/processes/{app['guid']}")["version"]

    def lrp(index, state, **fields):
        key = bbs.ActualLRPKey(process_guid=f"{app['guid']}-{version}", index=index)
        return bbs.ActualLRP(actual_lrp_key=key, state=state, **fields)

    net = bbs.ActualLRPNetInfo(
        address="10.0.2.1",
        instance_address="10.255.1.2",
        ports=[bbs.PortMapping(container_port=8080, host_port=61000)],
    )
    bench.diego.lrps = [
        lrp(0, "RUNNING", actual_lrp_net_info=net, actual_lrp_instance_key=bbs.ActualLRPInstanceKey(instance_guid="i")),
        lrp(1, "UNCLAIMED", placement_error="insufficient resources"),
    ]
    first, second, third = bench.get(stats)["resources"]
    assert (first["state"], first["host"], first["instance_guid"]) == ("RUNNING", "10.0.2.1", "i")
    assert first["instance_ports"][0]["external"] == 61000
    assert (second["state"], second["details"]) == ("STARTING", "insufficient resources")
    assert third["state"] == "DOWN"
    bench.diego.lrps = None
    assert bench.get(stats, status=503)["errors"][0]["title"] == "CF-StatsUnavailable"


def test_domains(bench):
    nulls = {"organization": None, "shared_organizations": None}
    domain = bench.post("/v3/domains", {"name": "Team.example.test", "internal": False, "relationships": nulls})
    assert domain["name"] == "team.example.test"
    assert domain["relationships"] == {"organization": {"data": None}, "shared_organizations": {"data": []}}
    assert "already in use" in bench.refused("POST", "/v3/domains", {"name": "team.example.test"})
    (organization,) = bench.get("/v3/organizations")["resources"]
    owner = {"organization": {"data": {"guid": organization["guid"]}}}
    refusal = bench.refused("POST", "/v3/domains", {"name": "a.internal", "internal": True, "relationships": owner})
    assert "internal domain" in refusal
    own = bench.post("/v3/domains", {"name": "own.example.test", "relationships": owner})
    assert own["links"]["organization"]["href"].endswith(organization["guid"])
    for name in ("x", "nodot", "a..b", "-a.b", "a_b.c", "a." + "b" * 64, "ü.de", "a.b\n"):
        bench.post("/v3/domains", {"name": name}, status=422)
    bench.make_route("a", domain="team.example.test")
    assert bench.get(f"/v3/domains/{domain['guid']}/route_reservations?host=A")["matching_route"] is True
    bench.call("DELETE", f"/v3/domains/{domain['guid']}")
    assert bench.get("/v3/routes")["resources"] == []
    bench.get(f"/v3/domains/{domain['guid']}", status=404)


def test_organizations_and_spaces(bench):
    organization = bench.post("/v3/organizations", {"name": "other"})
    assert "already exists" in bench.refused("POST", "/v3/organizations", {"name": "other"})
    owner = {"organization": {"data": {"guid": organization["guid"]}}}
    space = bench.post("/v3/spaces", {"name": "dev", "relationships": owner})
    bench.refused("POST", "/v3/spaces", {"name": "dev", "relationships": owner})
    bench.refused("POST", "/v3/spaces", {"name": "x", "relationships": {"organization": {"data": {"guid": "no"}}}})
    found = bench.get(f"/v3/spaces?organization_guids={organization['guid']}")["resources"]
    assert [each["guid"] for each in found] == [space["guid"]]
