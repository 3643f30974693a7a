"""A cell gives its instances away: each serves until its replacement runs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.bbs.lrp import Instance, Key, NetInfo, Port, Presence, State
from netlab.bbs.refusal import Refused
from netlab.bbs.service import Service
from netlab.bbs.store import Store
from netlab.bbs.stream import Hub
from netlab.protocols import bbs_pb2 as pb

KEY = Key("web-1", 0, "cf-apps")
OLD, NEW = Instance("old", "cell-1"), Instance("new", "cell-2")
NET = NetInfo("10.0.2.1", (Port(8080, 61000),), "10.255.1.2")


@pytest.fixture
def bbs(tmp_path: Path) -> Iterator[Service]:
    store = Store(f"sqlite:///{tmp_path}/bbs.sqlite3")
    service = Service(store, Hub(), logging.getLogger("test"))
    store.write(cells={cell: pb.CellPresence(cell_id=cell, rep_url="https://x") for cell in ("cell-1", "cell-2")})
    service.desire(pb.DesiredLRP(process_guid="web-1", domain="cf-apps", instances=1))
    service.claim("web-1", 0, OLD)
    service.start(KEY, OLD, NET)
    yield service
    store.close()


def found(bbs: Service) -> dict[Presence, tuple[State, str]]:
    return {record.presence: (record.state, record.instance.guid) for record in bbs.actual()}


def test_it_serves_until_its_replacement_runs(bbs: Service) -> None:
    assert bbs.evacuate_running(KEY, OLD, NET)
    assert found(bbs) == {Presence.EVACUATING: (State.RUNNING, "old"), Presence.ORDINARY: (State.UNCLAIMED, "")}
    bbs.claim("web-1", 0, NEW)
    assert bbs.evacuate_running(KEY, OLD, NET), "asked again, it is still needed"
    bbs.start(KEY, NEW, NET)
    assert found(bbs)[Presence.EVACUATING] == (State.RUNNING, "old"), "until its cell has let it go"
    assert not bbs.evacuate_running(KEY, OLD, NET)
    assert found(bbs) == {Presence.ORDINARY: (State.RUNNING, "new")}


def test_it_serves_while_its_replacement_crashes(bbs: Service) -> None:
    bbs.evacuate_running(KEY, OLD, NET)
    for _ in range(3):
        bbs.claim("web-1", 0, NEW)
        bbs.crash(KEY, NEW, "broken")
    assert found(bbs)[Presence.ORDINARY][0] is State.CRASHED
    assert bbs.evacuate_running(KEY, OLD, NET)


def test_it_may_end_or_be_removed_meanwhile(bbs: Service) -> None:
    bbs.evacuate_running(KEY, OLD, NET)
    with pytest.raises(Refused):
        bbs.remove_evacuating(KEY, NEW)
    bbs.remove_evacuating(KEY, OLD)
    assert set(found(bbs)) == {Presence.ORDINARY}
    assert bbs.evacuate_running(KEY, OLD, NET), "no replacement runs yet, so it is taken in again"
    bbs.crash(KEY, OLD, "broken")
    assert set(found(bbs)) == {Presence.ORDINARY}


def test_a_start_that_is_told_again_changes_nothing(bbs: Service) -> None:
    bbs.evacuate_running(KEY, OLD, NET)
    before = bbs.actual()
    bbs.start(KEY, OLD, NET)
    assert bbs.actual() == before


def test_what_is_not_wanted_is_not_kept(bbs: Service) -> None:
    bbs.evacuate_running(KEY, OLD, NET)
    bbs.remove_desired("web-1")
    assert not bbs.evacuate_running(KEY, OLD, NET)
    assert bbs.actual() == []


def test_one_that_does_not_run_yet_begins_elsewhere(bbs: Service) -> None:
    bbs.remove("web-1", 0, OLD)
    bbs.claim("web-1", 0, OLD)
    assert not bbs.evacuate_running(KEY, OLD, NET)
    assert found(bbs) == {Presence.ORDINARY: (State.UNCLAIMED, "")}


def test_it_goes_with_its_cell(bbs: Service) -> None:
    bbs.evacuate_running(KEY, OLD, NET)
    bbs.store.write(cells={"cell-1": None})
    bbs.converge_all()
    assert set(found(bbs)) == {Presence.ORDINARY}
