from __future__ import annotations

from netlab.bbs import lrp as life
from netlab.bbs import wire
from netlab.bbs.events import Change, Crashed, InstanceChanged, InstanceCreated, InstanceRemoved, of_changes
from netlab.bbs.lrp import Instance, Key, NetInfo, Port
from netlab.protocols import bbs_pb2

KEY = Key("web-1", 3, "cf-apps")
HERE = Instance("guid-a", "cell-1")
THERE = Instance("guid-b", "cell-2")
NET = NetInfo("10.0.2.1", (Port(8080, 61000),), "10.255.1.2", 2)
WAITING = life.unclaimed(KEY, 0)
CLAIMED = life.claim(WAITING, HERE, 1)
RUNNING = life.start(CLAIMED, HERE, NET, 2)


def test_a_normal_start_is_created_and_two_changes() -> None:
    assert of_changes([Change(None, WAITING)]) == [InstanceCreated(WAITING)]
    assert of_changes([Change(WAITING, CLAIMED)]) == [InstanceChanged(WAITING, CLAIMED)]
    assert of_changes([Change(CLAIMED, RUNNING)]) == [InstanceChanged(CLAIMED, RUNNING)]
    assert of_changes([Change(RUNNING, None)]) == [InstanceRemoved(RUNNING)]


def test_an_instance_that_loses_its_cell_is_another_one() -> None:
    waiting = life.unclaim(RUNNING, 9)
    assert of_changes([Change(RUNNING, waiting)]) == [InstanceCreated(waiting), InstanceRemoved(RUNNING)]


def test_a_crash_comes_first_and_the_removal_last() -> None:
    after = life.crash(RUNNING, HERE, "it broke", 9)
    assert of_changes([Change(RUNNING, after)]) == [
        Crashed(RUNNING, after),
        InstanceCreated(after),
        InstanceRemoved(RUNNING),
    ]


def test_a_replacement_runs_before_what_it_replaces_goes() -> None:
    doubtful = life.suspect(RUNNING)
    claimed = life.claim(life.unclaimed(KEY, 3), THERE, 4)
    replacement = life.start(claimed, THERE, NET, 5)
    events = of_changes([Change(doubtful, None), Change(claimed, replacement)])
    assert events == [InstanceChanged(claimed, replacement), InstanceRemoved(doubtful)]


def test_what_the_wire_does_not_show_is_no_event() -> None:
    assert of_changes([Change(RUNNING, life.retire(RUNNING))]) == []
    assert of_changes([Change(RUNNING, RUNNING)]) == []


def test_a_suspect_is_a_change_of_presence() -> None:
    doubtful = life.suspect(RUNNING)
    name, message = wire.event_message(of_changes([Change(RUNNING, doubtful)])[0])
    assert name == "actual_lrp_instance_changed"
    assert isinstance(message, bbs_pb2.ActualLRPInstanceChangedEvent)
    assert message.before.presence == bbs_pb2.ActualLRP.ORDINARY
    assert message.after.presence == bbs_pb2.ActualLRP.SUSPECT
    assert message.after.actual_lrp_net_info.ports[0].host_port == 61000


def test_events_on_the_wire() -> None:
    after = life.crash(RUNNING, HERE, "it broke", 9)
    messages = dict(wire.event_message(event) for event in of_changes([Change(RUNNING, after)]))
    assert list(messages) == ["actual_lrp_crashed", "actual_lrp_instance_created", "actual_lrp_instance_removed"]
    crashed = messages["actual_lrp_crashed"]
    assert isinstance(crashed, bbs_pb2.ActualLRPCrashedEvent)
    assert crashed.actual_lrp_instance_key.instance_guid == "guid-a"
    assert (crashed.crash_count, crashed.crash_reason, crashed.since) == (1, "it broke", 9)
    removed = messages["actual_lrp_instance_removed"]
    assert isinstance(removed, bbs_pb2.ActualLRPInstanceRemovedEvent)
    assert removed.actual_lrp == wire.actual_message(RUNNING)


def test_a_record_survives_the_wire() -> None:
    message = bbs_pb2.ActualLRP.FromString(wire.actual_message(RUNNING).SerializeToString())
    assert wire.key_of(message.actual_lrp_key) == KEY
    assert wire.instance_of(message.actual_lrp_instance_key) == HERE
    assert wire.net_of(message.actual_lrp_net_info) == NET
    assert (message.state, message.since, message.modification_tag.index) == ("RUNNING", 2, 2)


def test_the_cells_of_an_event() -> None:
    assert wire.event_cells(InstanceCreated(RUNNING)) == {"cell-1"}
    assert wire.event_cells(InstanceChanged(WAITING, CLAIMED)) == {"", "cell-1"}
