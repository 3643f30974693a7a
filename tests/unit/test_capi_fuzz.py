"""Whatever a client sends, the answer is a document and never a 500."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netlab.capi.desired import copilot_state, diego_state
from tests.unit.capi_bench import Bench

TEXT = st.text(max_size=12) | st.sampled_from(
    ["web", "hello", "mesh.example.test", "/p", "*", "a" * 300, "\0", "\ud800"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)

FUZZ = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def bench():
    with Bench() as bench:
        bench.fixture_app = bench.make_app("hello")
        bench.fixture_route = bench.make_route("hello")
        yield bench


def shapes(bench):
    """For each endpoint a body that it accepts."""
    app, route = bench.fixture_app["guid"], bench.fixture_route["guid"]
    lifecycle = {"type": "netlab", "data": {"directory": None, "port": 8080}}
    metadata = {"labels": {"a": "b"}, "annotations": {"c": "d"}}
    body = bench.app_body("fuzz", lifecycle=lifecycle, environment_variables={"A": "b"}, metadata=metadata)
    destination = {"app": {"guid": app, "process": {"type": "web"}}, "weight": 100, "port": 8080}
    owner = {"organization": {"data": None}, "shared_organizations": {"data": []}}
    check = {"type": "http", "data": {"timeout": 1, "endpoint": "/"}}
    return [
        ("POST", "/v3/apps", body),
        ("PATCH", f"/v3/apps/{app}", {"name": "hello", "lifecycle": lifecycle, "metadata": metadata}),
        ("PATCH", f"/v3/apps/{app}/environment_variables", {"var": {"A": "b", "C": None}}),
        ("POST", f"/v3/processes/{app}/actions/scale", {"instances": 1, "memory_in_mb": 64, "disk_in_mb": 64}),
        ("PATCH", f"/v3/processes/{app}", {"command": "x", "health_check": check}),
        ("POST", f"/v3/apps/{app}/actions/restart", {}),
        ("POST", "/v3/apps", bench.app_body("other", lifecycle={"type": "buildpack", "data": {"port": 1}})),
        ("POST", "/v3/domains", {"name": "a.test", "internal": False, "relationships": owner, "metadata": metadata}),
        ("POST", "/v3/routes", bench.route_body("fuzz", "/p") | {"metadata": metadata}),
        ("PATCH", f"/v3/routes/{route}", {"metadata": metadata}),
        ("POST", f"/v3/routes/{route}/destinations", {"destinations": [destination]}),
        ("PATCH", f"/v3/routes/{route}/destinations", {"destinations": [destination]}),
        ("POST", "/v3/organizations", {"name": "o"}),
        ("POST", "/v3/spaces", {"name": "s", "relationships": {"organization": {"data": {"guid": "x"}}}}),
    ]


def paths_of(value, prefix=()):
    """Every place inside a JSON value."""
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths_of(inner, (*prefix, key))


def replaced(value, path, other):
    """The value with another one at a place."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


@settings(FUZZ, max_examples=100)
@given(data=st.data())
def test_bodies(bench, data):
    method, path, body = data.draw(st.sampled_from(shapes(bench)))
    place = data.draw(st.sampled_from(list(paths_of(body))))
    mutated = replaced(body, place, data.draw(JSON))
    response = bench.request(method, path, content=json.dumps(mutated).encode())
    assert response.status_code < 500, response.text
    if response.is_error:
        for error in response.json()["errors"]:
            assert set(error) == {"code", "title", "detail"}
            assert error["detail"]


@settings(FUZZ, max_examples=40)
@given(data=st.data())
def test_queries(bench, data):
    kind = data.draw(st.sampled_from(["apps", "routes", "domains", "spaces", "organizations", "processes"]))
    names = ["page", "per_page", "order_by", "guids", "names", "hosts", "paths", "app_guids", "space_guids", "include"]
    value = TEXT.filter(lambda text: "\ud800" not in text) | st.integers().map(str)
    query = data.draw(st.dictionaries(st.sampled_from(names), value, max_size=3))
    response = bench.request("GET", f"/v3/{kind}", params=query)
    assert response.status_code in (200, 400), response.text
    assert response.json()


@settings(FUZZ, max_examples=30)
@given(content=st.binary(max_size=60), method=st.sampled_from(["POST", "PATCH", "PUT", "DELETE", "GET"]))
def test_bytes(bench, content, method):
    response = bench.request(method, "/v3/apps/none/actions/start", content=content)
    assert 400 <= response.status_code < 500


def test_whatever_got_in_can_be_read_and_told(bench):
    for kind in ("apps", "routes", "domains", "processes", "spaces"):
        bench.get(f"/v3/{kind}?per_page=5000")
    copilot_state(bench.sessions, bench.config)
    diego_state(bench.sessions, bench.config)
