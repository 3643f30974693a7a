"""Whatever a client sends to version 2, the answer is a document and never a 500."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netlab.capi.desired import copilot_state, diego_state
from netlab.capi.v2.endpoints import ENDPOINTS
from tests.unit.capi_bench import Bench
from tests.unit.test_capi_fuzz import FUZZ, JSON, TEXT, paths_of, replaced


@pytest.fixture(scope="module")
def bench():
    with Bench() as bench:
        bench.fixture_app = bench.make_app("hello")
        bench.fixture_route = bench.make_route("hello")
        bench.map(bench.fixture_route, bench.fixture_app)
        yield bench


def shapes(bench):
    """For each endpoint that takes a body, one that it accepts."""
    app, route, space = bench.fixture_app["guid"], bench.fixture_route["guid"], bench.space
    fields = {
        "name": "fuzz",
        "space_guid": space,
        "state": "STARTED",
        "command": "x",
        "memory": 64,
        "disk_quota": 64,
        "instances": 1,
        "buildpack": None,
        "health_check_type": "http",
        "health_check_timeout": 1,
        "health_check_http_endpoint": "/",
        "environment_json": {"A": "b", "C": [1, {"d": None}]},
        "ports": [8080],
    }
    (organization,) = bench.get("/v2/organizations?q=name:netlab")["resources"]
    owner = organization["metadata"]["guid"]
    return [
        ("POST", "/v2/apps", fields),
        ("PUT", f"/v2/apps/{app}", fields | {"name": "hello"}),
        ("POST", "/v2/routes", {"domain_guid": bench.domain(), "space_guid": space, "host": "fuzz", "path": "/p"}),
        ("POST", "/v2/route_mappings", {"app_guid": app, "route_guid": route, "app_port": 9000}),
        ("POST", "/v2/shared_domains", {"name": "a.test", "internal": False, "router_group_guid": None}),
        ("POST", "/v2/private_domains", {"name": "b.test", "owning_organization_guid": owner}),
        ("POST", "/v2/organizations", {"name": "o"}),
        ("POST", "/v2/spaces", {"name": "s", "organization_guid": owner}),
        ("PUT", "/v2/resource_match", [{"sha1": "x", "size": 1}]),
    ]


def check(response):
    assert response.status_code < 500 or response.status_code == 503, response.text
    if response.is_error and response.content:
        document = response.json()
        assert set(document) == {"description", "error_code", "code"}
        assert document["description"]


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_bodies(bench, data):
    method, path, body = data.draw(st.sampled_from(shapes(bench)))
    place = data.draw(st.sampled_from(list(paths_of(body))))
    mutated = replaced(body, place, data.draw(JSON))
    check(bench.request(method, path, content=json.dumps(mutated).encode()))


@settings(FUZZ, max_examples=150)
@given(data=st.data())
def test_every_endpoint(bench, data):
    """Any method, guids that are there or not, any query, a body that is none."""
    path = data.draw(st.sampled_from(list(ENDPOINTS)))
    guids = st.sampled_from([bench.fixture_app["guid"], bench.fixture_route["guid"], bench.space, "none", "0"])
    for name in ("guid", "app_guid", "route_guid", "domain_guid", "host"):
        path = path.replace(f"{{{name}}}", data.draw(guids))
    method = data.draw(st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]))
    if method == "DELETE" and path.split("/")[2] in ("apps", "routes"):
        method = "GET"
    words = ["q", "page", "results-per-page", "order-direction", "order-by", "async", "recursive"]
    text = TEXT.filter(lambda value: "\ud800" not in value)
    keys = st.sampled_from(["name", "space_guid", "host", "path", "port", "app_guid", "surprise"])
    queries = st.builds("{}{}{}".format, keys, st.sampled_from([":", " IN ", ">", ";"]), text)
    pairs = st.tuples(st.sampled_from(words), text | queries | st.integers().map(str))
    query = data.draw(st.lists(pairs, max_size=3))
    check(bench.request(method, path, params=query, content=data.draw(st.binary(max_size=20))))


def test_whatever_got_in_can_be_read_and_told(bench):
    for path, handlers in ENDPOINTS.items():
        if "GET" in handlers and "{" not in path:
            bench.get(f"{path}?results-per-page=100")
    for resource in bench.get("/v2/apps?results-per-page=100")["resources"]:
        bench.get(f"{resource['metadata']['url']}/summary")
    copilot_state(bench.sessions, bench.config)
    diego_state(bench.sessions, bench.config)
