"""The source's side of MCP: revisions, one response outstanding, nonces, refusals, increments."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from netlab.copilot.session import SourceSession, UnsupportedCollection
from netlab.copilot.snapshot import Collection, Snapshot
from netlab.protocols import mcp_collections as collections
from netlab.protocols import mcp_pb2 as mcp
from netlab.protocols import networking_pb2 as istio

NAME = collections.GATEWAYS


def stamp(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


def gateway(number: int) -> istio.Gateway:
    return istio.Gateway(servers=[istio.Server(port=istio.Port(number=number))])


def put(snapshot: Snapshot, name: str, number: int) -> None:
    snapshot.collections[NAME].put(name, gateway(number), stamp(1))
    snapshot.seal()


def ask(nonce: str = "", *, incremental: bool = False, error: bool = False, **versions: str):
    request = mcp.RequestResources(
        sink_node=mcp.SinkNode(id="pilot"),
        collection=NAME,
        response_nonce=nonce,
        incremental=incremental,
        initial_resource_versions=versions,
    )
    if error:
        request.error_detail.code = 3
        request.error_detail.message = "no"
    return request


def names(response: mcp.Resources) -> set[str]:
    return {r.metadata.name for r in response.resources}


def test_creation_times_and_versions_are_stable():
    collection = Collection()
    assert collection.put("a", gateway(1), stamp(1))
    version = collection.entries["a"].version
    assert not collection.put("a", gateway(1), stamp(2))
    assert collection.put("a", gateway(2), stamp(3))
    assert collection.entries["a"].resource.metadata.create_time == stamp(1)
    assert collection.put("a", gateway(1), stamp(4))
    assert collection.entries["a"].version == version


def test_every_collection_is_answered_be_it_with_nothing():
    session = SourceSession(Snapshot())
    for name in collections.ALL:
        session.receive(mcp.RequestResources(collection=name))
    assert [r.collection for r in session.responses()] == list(collections.ALL)
    assert len(collections.ALL) == len(set(collections.ALL)) == 17


def test_an_unknown_collection_ends_the_stream():
    with pytest.raises(UnsupportedCollection, match="nope"):
        SourceSession(Snapshot()).receive(mcp.RequestResources(collection="nope"))


def test_one_response_outstanding_and_changes_coalesce():
    snapshot = Snapshot()
    session = SourceSession(snapshot)
    session.receive(ask())
    (first,) = session.responses()
    put(snapshot, "a", 1)
    put(snapshot, "b", 2)
    assert list(session.responses()) == []
    session.receive(ask("bogus"))
    assert list(session.responses()) == []
    session.receive(ask(first.nonce))
    (second,) = session.responses()
    assert names(second) == {"a", "b"}
    assert second.nonce != first.nonce
    session.receive(ask(second.nonce))
    assert list(session.responses()) == []


def test_changes_of_several_collections_are_sent_together():
    snapshot = Snapshot()
    session = SourceSession(snapshot)
    other = collections.VIRTUAL_SERVICES

    def answer(response):
        session.receive(mcp.RequestResources(collection=response.collection, response_nonce=response.nonce))

    session.receive(ask())
    session.receive(mcp.RequestResources(collection=other))
    for response in list(session.responses()):
        answer(response)
    put(snapshot, "a", 1)
    (first,) = session.responses()
    snapshot.collections[other].put("v", istio.VirtualService(hosts=["h"]), stamp(1))
    put(snapshot, "a", 2)
    assert list(session.responses()) == []
    answer(first)
    assert {response.collection for response in session.responses()} == {NAME, other}


def test_a_refused_response_is_not_sent_again_until_it_changes():
    snapshot = Snapshot()
    put(snapshot, "a", 1)
    session = SourceSession(snapshot)
    session.receive(ask())
    (first,) = session.responses()
    refusal = session.receive(ask(first.nonce, error=True))
    assert refusal is not None
    assert refusal.message == "no"
    assert list(session.responses()) == []
    put(snapshot, "a", 2)
    (second,) = session.responses()
    assert names(second) == {"a"}


def test_increments_hold_only_what_changed():
    snapshot = Snapshot()
    for n in range(5):
        put(snapshot, f"g{n}", n)
    session = SourceSession(snapshot)
    session.receive(ask(incremental=True))
    (first,) = session.responses()
    assert first.incremental
    assert len(first.resources) == 5
    session.receive(ask(first.nonce, incremental=True))
    put(snapshot, "g1", 99)
    snapshot.collections[NAME].remove("g3")
    snapshot.seal()
    (second,) = session.responses()
    assert names(second) == {"g1"}
    assert list(second.removed_resources) == ["g3"]


def test_increments_after_a_refusal_hold_the_refused_part_too():
    snapshot = Snapshot()
    session = SourceSession(snapshot)
    session.receive(ask(incremental=True))
    (first,) = session.responses()
    session.receive(ask(first.nonce, incremental=True))
    put(snapshot, "a", 1)
    (second,) = session.responses()
    session.receive(ask(second.nonce, incremental=True, error=True))
    put(snapshot, "b", 2)
    (third,) = session.responses()
    assert names(third) == {"a", "b"}


def test_initial_versions_are_honoured():
    snapshot = Snapshot()
    put(snapshot, "same", 1)
    put(snapshot, "differs", 2)
    session = SourceSession(snapshot)
    session.receive(
        ask(
            incremental=True,
            same=snapshot.collections[NAME].entries["same"].version,
            differs="old",
            gone="old",
        )
    )
    (response,) = session.responses()
    assert names(response) == {"differs"}
    assert list(response.removed_resources) == ["gone"]


def test_forgotten_removals_lead_to_the_full_state(monkeypatch):
    monkeypatch.setattr("netlab.copilot.snapshot._TOMBSTONES", 1)
    snapshot = Snapshot()
    put(snapshot, "a", 1)
    put(snapshot, "b", 1)
    put(snapshot, "c", 1)
    session = SourceSession(snapshot)
    session.receive(ask(incremental=True))
    (first,) = session.responses()
    session.receive(ask(first.nonce, incremental=True))
    for name in ("a", "b"):
        snapshot.collections[NAME].remove(name)
        snapshot.seal()
    (second,) = session.responses()
    assert not second.incremental
    assert names(second) == {"c"}
