"""What BBS sends, and what Copilot keeps on disk."""

import base64
import logging

import pytest

from netlab.copilot.model import HostKey, Route
from netlab.copilot.persistence import StateFile
from netlab.copilot.state import State
from netlab.copilot.watcher import apply_event
from netlab.errors import MeshError
from netlab.protocols import bbs_pb2 as bbs
from netlab.protocols.bbs_events import parse_event

LOG = logging.getLogger("test")


def test_events_of_use_are_parsed_and_others_passed_over():
    event = bbs.ActualLRPInstanceRemovedEvent(
        actual_lrp=bbs.ActualLRP(actual_lrp_instance_key=bbs.ActualLRPInstanceKey(instance_guid="i"))
    )
    data = base64.b64encode(event.SerializeToString()).decode()
    assert parse_event("actual_lrp_instance_removed", data) == event
    assert parse_event("desired_lrp_created", "whatever") is None
    assert parse_event("", "") is None
    assert parse_event("actual_lrp_crashed", "") == bbs.ActualLRPCrashedEvent()


@pytest.mark.parametrize("data", ["not base64!", base64.b64encode(b"\xff\xff").decode()])
def test_a_broken_event_is_one_error(data):
    with pytest.raises(MeshError, match="actual_lrp_instance_created"):
        parse_event("actual_lrp_instance_created", data)


def test_an_event_of_no_use_changes_nothing():
    assert apply_event(State().instances, bbs.DesiredLRPCreatedEvent()) == set()


def full_state() -> State:
    state = State()
    state.upsert_route(Route("r", "h", "/p", internal=True, vip="127.128.0.1"))
    state.map_route("r", "app", 7)
    state.upsert_association("app", ["d1", "d2"])
    return state


def test_routes_survive_a_restart(tmp_path):
    before = full_state()
    StateFile(tmp_path / "state", before, LOG).save()
    after = State()
    StateFile(tmp_path / "state", after, LOG).load()
    assert (after.routes, after.mappings, after.associations) == (
        before.routes,
        before.mappings,
        before.associations,
    )
    assert after.take_dirty() == [HostKey("h", True)]
    assert [p.name for p in tmp_path.iterdir()] == ["state"]


def test_a_missing_or_broken_file_is_as_none(tmp_path):
    for content in (None, b"\xff\xff"):
        if content:
            (tmp_path / "state").write_bytes(content)
        state = State()
        StateFile(tmp_path / "state", state, LOG).load()
        assert not state.routes
    StateFile(None, full_state(), LOG).save()


def test_a_folder_that_is_gone_is_no_failure(tmp_path):
    StateFile(tmp_path / "nowhere" / "state", full_state(), LOG).save()
