"""Several sources as one configuration, and the sink's side of MCP."""

import pytest

from netlab.pilot.source.mcp_sink import McpSink
from netlab.pilot.source.objects import Key, Object
from netlab.pilot.source.store import Store
from netlab.pilot.source.validate import problem
from netlab.protocols import mcp_collections as collections
from netlab.protocols import mcp_pb2 as mcp
from netlab.protocols import networking_pb2 as istio

RULES = collections.DESTINATION_RULES


def rule(name: str, version: str = "1", host: str = "h") -> Object:
    return Object(Key.parse(RULES, name), version, 0.0, istio.DestinationRule(host=host))


def keys(changes):
    return [(c.key.full_name, c.old and c.old.version, c.new and c.new.version) for c in changes]


# ---- store


def test_the_first_source_wins_and_the_second_steps_in():
    store = Store()
    assert keys(store.update(1, [rule("a", "second")], [])) == [("a", None, "second")]
    assert keys(store.update(0, [rule("a", "first")], [])) == [("a", "second", "first")]
    assert keys(store.update(1, [rule("a", "second again")], [])) == []
    assert keys(store.update(0, [], [Key.parse(RULES, "a")])) == [("a", "first", "second again")]
    assert keys(store.update(1, [], [Key.parse(RULES, "a")])) == [("a", "second again", None)]
    assert list(store) == []


def test_equal_versions_change_nothing():
    store = Store()
    store.update(0, [rule("a")], [])
    assert store.update(0, [rule("a")], []) == []
    assert store.update(0, [], [Key.parse(RULES, "nothing")]) == []


def test_replace_removes_what_is_not_there():
    store = Store()
    store.replace(0, RULES, {o.key: o for o in (rule("a"), rule("b"))})
    changes = store.replace(0, RULES, {o.key: o for o in (rule("b"), rule("c"))})
    assert keys(changes) == [("a", "1", None), ("c", None, "1")]


def test_names_may_hold_a_namespace():
    key = Key.parse(RULES, "internal/x")
    assert (key.namespace, key.name, key.full_name) == ("internal", "x", "internal/x")
    assert Key.parse(RULES, "x").namespace == ""


# ---- MCP


def response(*bodies, nonce="1", incremental=False, removed=(), collection=RULES, kind=istio.DestinationRule):
    made = mcp.Resources(collection=collection, nonce=nonce, incremental=incremental, removed_resources=removed)
    for name, body in bodies:
        resource = made.resources.add()
        resource.metadata.name = name
        resource.metadata.version = str(body.SerializeToString().hex())
        resource.body.type_url = collections.type_url(kind)
        resource.body.value = body.SerializeToString()
    return made


def good(host="h"):
    return istio.DestinationRule(host=host)


def test_a_sink_is_synced_once_every_collection_was_answered():
    sink = McpSink(Store(), 0, "pilot")
    assert [r.collection for r in sink.requests()] == list(collections.ALL)
    for name in collections.ALL:
        assert not sink.synced
        _, reply = sink.receive(mcp.Resources(collection=name, nonce="7"))
        assert (reply.response_nonce, reply.HasField("error_detail")) == ("7", False)
    assert sink.synced


def test_full_and_incremental_answers():
    sink = McpSink(Store(), 0, "pilot")
    changes, _ = sink.receive(response(("a", good()), ("b", good())))
    assert [c.key.full_name for c in changes] == ["a", "b"]
    changes, _ = sink.receive(response(("b", good("other")), incremental=True, removed=["a"]))
    assert sorted((c.key.full_name, c.new is None) for c in changes) == [("a", True), ("b", False)]
    changes, _ = sink.receive(response(("c", good())))
    assert sorted((c.key.full_name, c.new is None) for c in changes) == [("b", True), ("c", False)]


def test_a_reconnect_says_what_is_there():
    sink = McpSink(Store(), 0, "pilot")
    sink.receive(response(("a", good())))
    request = next(r for r in sink.requests() if r.collection == RULES)
    assert list(request.initial_resource_versions) == ["a"]


def test_a_bad_resource_is_refused_and_the_others_are_taken():
    sink = McpSink(Store(), 0, "pilot")
    changes, reply = sink.receive(response(("a", good()), ("bad", istio.DestinationRule())))
    assert [c.key.full_name for c in changes] == ["a"]
    assert reply.error_detail.message == "bad: no host"
    assert list(sink.discarded.values()) == ["no host"]
    _, reply = sink.receive(response(("bad", good()), incremental=True))
    assert not reply.HasField("error_detail")
    assert not sink.discarded


def test_a_resource_that_turns_bad_stays_as_it_was():
    for incremental in (True, False):
        store = Store()
        sink = McpSink(store, 0, "pilot")
        sink.receive(response(("a", good("before"))))
        sink.receive(response(("a", istio.DestinationRule()), incremental=incremental))
        assert [o.body.host for o in store] == ["before"]


def test_an_unknown_collection_and_a_wrong_type_are_refused():
    sink = McpSink(Store(), 0, "pilot")
    _, reply = sink.receive(mcp.Resources(collection="nope", nonce="1"))
    assert reply.error_detail.code == 12
    _, reply = sink.receive(response(("a", good()), kind=istio.Gateway))
    assert "istio.networking.v1alpha3.Gateway" in reply.error_detail.message
    broken = response(("a", good()))
    broken.resources[0].body.value = b"\xff"
    _, reply = sink.receive(broken)
    assert "cannot be read" in reply.error_detail.message


# ---- validation


def route(*weights: int) -> istio.VirtualService:
    destinations = [istio.HTTPRouteDestination(destination=istio.Destination(host="h"), weight=w) for w in weights]
    return istio.VirtualService(hosts=["h"], http=[istio.HTTPRoute(route=destinations)])


@pytest.mark.parametrize(
    "body",
    [
        istio.Gateway(servers=[istio.Server(port=istio.Port(number=0), hosts=["*"])]),
        istio.Gateway(servers=[istio.Server(port=istio.Port(number=80))]),
        istio.VirtualService(),
        istio.VirtualService(hosts=["h"], http=[istio.HTTPRoute()]),
        route(50, 49),
        route(101, -1),
        istio.ServiceEntry(),
        istio.ServiceEntry(hosts=["h"], ports=[istio.Port(number=1), istio.Port(number=2)]),
        istio.ServiceEntry(hosts=["h"], ports=[istio.Port(number=70000)]),
    ],
)
def test_what_is_refused(body):
    assert problem(body)


@pytest.mark.parametrize("body", [route(0), route(30, 70), istio.Gateway(), istio.Sidecar(), good()])
def test_what_is_not_refused(body):
    assert problem(body) is None
