from __future__ import annotations

import pytest

from netlab.bbs import lrp as life
from netlab.bbs.lrp import SECOND, ActualLRP, Instance, Key, NetInfo, Port, State
from netlab.bbs.refusal import ErrorType, Refused

KEY = Key("web-1", 0, "cf-apps")
HERE = Instance("guid-a", "cell-1")
THERE = Instance("guid-b", "cell-2")
NET = NetInfo("10.0.2.1", (Port(8080, 61000),), "10.255.1.2")


def waiting() -> ActualLRP:
    return life.unclaimed(KEY, 0)


def claimed() -> ActualLRP:
    return life.claim(waiting(), HERE, 1)


def running() -> ActualLRP:
    return life.start(claimed(), HERE, NET, 2)


def test_the_way_from_unclaimed_to_running() -> None:
    lrp = running()
    assert (lrp.state, lrp.instance, lrp.net, lrp.since) == (State.RUNNING, HERE, NET, 2)
    assert [waiting().revision, claimed().revision, lrp.revision] == [0, 1, 2]


def test_the_epoch_stays_and_differs_between_records() -> None:
    first = waiting()
    assert life.claim(first, HERE, 1).epoch == first.epoch
    assert waiting().epoch != first.epoch


def test_the_same_claim_and_start_twice_change_nothing() -> None:
    once, served = claimed(), running()
    assert life.claim(once, HERE, 9) is once
    assert life.start(served, HERE, NET, 9) is served


def test_a_running_instance_may_report_other_addresses() -> None:
    moved = NetInfo("10.0.2.1", (Port(8080, 61001),), "10.255.1.2")
    served = running()
    assert life.start(served, HERE, moved, 9).net == moved
    assert life.start(served, HERE, moved, 9).since == served.since


@pytest.mark.parametrize("held", [claimed(), running()])
def test_what_a_cell_holds_another_cannot_claim(held: ActualLRP) -> None:
    with pytest.raises(Refused) as refused:
        life.claim(held, THERE, 9)
    assert refused.value.kind is ErrorType.ActualLRPCannotBeClaimed
    assert "web-1/0" in str(refused.value)


def test_a_claimed_one_may_be_started_by_another_cell_and_a_running_one_not() -> None:
    assert life.start(claimed(), THERE, NET, 9).instance == THERE
    with pytest.raises(Refused) as refused:
        life.start(running(), THERE, NET, 9)
    assert refused.value.kind is ErrorType.ActualLRPCannotBeStarted


def test_only_its_own_cell_reports_a_crash() -> None:
    for lrp, instance in ((running(), THERE), (waiting(), HERE)):
        with pytest.raises(Refused) as refused:
            life.crash(lrp, instance, "it broke", 9)
        assert refused.value.kind is ErrorType.ActualLRPCannotBeCrashed


def test_two_crashes_restart_at_once_the_third_waits() -> None:
    lrp = running()
    states = []
    for number in range(3):
        lrp = life.crash(lrp, HERE, f"crash {number}", 10)
        states.append(lrp.state)
        assert (lrp.instance, lrp.net, lrp.crash_reason) == (Instance(), NetInfo(), f"crash {number}")
        lrp = life.start(life.claim(lrp, HERE, 11), HERE, NET, 12)
        assert lrp.crash_count == number + 1
    assert states == [State.UNCLAIMED, State.UNCLAIMED, State.CRASHED]


def test_an_instance_that_ran_for_long_counts_anew() -> None:
    lrp = life.crash(running(), HERE, "", 3)
    lrp = life.start(life.claim(lrp, HERE, 4), HERE, NET, 5)
    assert life.crash(lrp, HERE, "", 5 + life.CRASH_RESET).crash_count == 2
    assert life.crash(lrp, HERE, "", 6 + life.CRASH_RESET).crash_count == 1


@pytest.mark.parametrize(
    ("crashes", "seconds"), [(3, 30), (4, 60), (5, 120), (7, 480), (8, 960), (9, 960), (199, 960), (200, None)]
)
def test_the_pause_grows_and_ends(crashes: int, seconds: int | None) -> None:
    lrp = ActualLRP(KEY, State.CRASHED, 7, crash_count=crashes)
    assert life.restart_at(lrp) == (None if seconds is None else 7 + seconds * SECOND)


def test_only_what_waits_can_fail_and_a_new_claim_clears_the_reason() -> None:
    failed = life.fail(waiting(), "no room", 5)
    assert failed.placement_error == "no room"
    assert life.fail(failed, "no room", 9) is failed
    assert life.claim(failed, HERE, 6).placement_error == ""
    with pytest.raises(Refused):
        life.fail(running(), "no room", 5)


def test_what_waits_cannot_be_unclaimed_and_what_runs_loses_its_cell() -> None:
    with pytest.raises(Refused):
        life.unclaim(waiting(), 9)
    lost = life.unclaim(running(), 9)
    assert (lost.state, lost.instance, lost.net, lost.since) == (State.UNCLAIMED, Instance(), NetInfo(), 9)


def test_suspicion_moves_a_record_to_another_slot_and_back() -> None:
    doubtful = life.suspect(running())
    assert doubtful.slot != running().slot
    assert life.trust(doubtful).slot == running().slot
    assert life.trust(doubtful).revision == running().revision + 2
