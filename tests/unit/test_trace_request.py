"""The request that is sent, the routes it is held against, and the path that they declare."""

import pytest

from netlab.errors import UsageError
from netlab.trace import probe
from netlab.trace.expected import declare
from netlab.trace.routes import Destination, Route, Routes, from_capi, from_topology
from tests.unit import trace_cases


def parse(url="http://hello.mesh.example.test/", method="get", headers=(), timeout=5.0):
    return probe.parse(url, method, headers, timeout)


def test_a_request_has_its_id_early_and_closes():
    request = parse("hello.mesh.example.test/a/b?c=d")
    assert (request.method, request.host, request.port, request.target) == (
        "GET",
        "hello.mesh.example.test",
        80,
        "/a/b?c=d",
    )
    assert request.path == "/a/b"
    names = [name for name, _ in request.headers]
    assert names[:2] == ["host", "x-request-id"]
    assert names[-1] == "connection"
    assert parse().request_id != parse().request_id


def test_own_headers_replace_the_default_ones():
    request = parse(headers=["Host: Other.Example.test:80", "X-Request-Id: mine", "X-A: b: c"])
    assert request.authority == "other.example.test"
    assert request.request_id == "mine"
    assert ("x-a", "b: c") in request.headers


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"url": "https://hello.mesh.example.test/"}, "only http can be traced"),
        ({"url": "http://"}, "names no host"),
        ({"url": "http://h:99999/"}, "is no URL"),
        ({"url": "http://[::1/"}, "is no URL"),
        ({"url": "http://hello.mesh.example.test:81/"}, "serves port 80 only"),
        ({"url": "http://hello.mesh.example.test/a b"}, "cannot be sent"),
        ({"url": "http://hello.mesh.example.test/ü"}, "cannot be sent"),
        ({"headers": ["nonsense"]}, "is no header"),
        ({"headers": ["a b: c"]}, "cannot be sent"),
        ({"headers": ["x: a\r\ny: b"]}, "cannot be sent"),
        ({"method": "G T"}, "cannot be sent"),
    ],
)
def test_what_cannot_be_sent_is_said_in_one_line(arguments, words):
    with pytest.raises(UsageError) as caught:
        parse(**arguments)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_the_longest_path_wins_and_ends_at_a_segment():
    routes = Routes(tuple(Route("h.test", path, ()) for path in ("", "/a", "/a/b")), "topology")
    assert routes.find("h.test", "/").path == ""
    assert routes.find("h.test", "/a/x").path == "/a"
    assert routes.find("h.test", "/a/b").path == "/a/b"
    assert routes.find("h.test", "/ab").path == ""
    assert routes.find("other.test", "/") is None


def test_routes_of_a_topology_and_of_capi_mean_the_same():
    topology = {"apps": [{"name": "a", "routes": ["x.d.test/p", "y.d.test"]}, {"name": "b", "routes": ["y.d.test"]}]}
    document = {
        "host": "x",
        "domain": "d.test",
        "path": "/p",
        "destinations": [{"app": "a", "app_guid": "g", "port": 8080}],
    }
    assert from_topology(topology) == (
        Route("x.d.test", "/p", (Destination("a"),)),
        Route("y.d.test", "", (Destination("a"), Destination("b"))),
    )
    assert from_capi([document]) == (Route("x.d.test", "/p", (Destination("a", "g", 8080),)),)


def test_a_declared_path_names_what_it_leaves_open():
    declared = trace_cases.load("pass_new").declared
    assert declared.path("router-1", "hello-1") == [
        "client",
        "lb",
        "router-1",
        "cell-2",
        "hello-1",
        "hello-1/sidecar",
        "hello-1/app",
    ]
    open_path = declared.path(None, "world-0")
    assert open_path[2:5] == ["one of router-1, router-2", "one of cell-1, cell-2", "one of hello-0, hello-1"]


def test_an_unknown_route_names_the_ones_there_are():
    recording = trace_cases.load("pass_new")
    with pytest.raises(UsageError) as caught:
        declare(recording.subject, recording.routes, "nope.mesh.example.test", "/")
    assert "has no route for http://nope.mesh.example.test/" in caught.value.message
    assert "http://hello.mesh.example.test/" in caught.value.hint
