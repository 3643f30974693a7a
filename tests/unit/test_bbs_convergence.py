from __future__ import annotations

from netlab.bbs import lrp as life
from netlab.bbs.convergence import Decision, Desire, decide
from netlab.bbs.events import Change
from netlab.bbs.lrp import SECOND, ActualLRP, Instance, Key, NetInfo, Presence, State

CELLS = {"cell-1", "cell-2"}


def key(index: int) -> Key:
    return Key("web-1", index, "cf-apps")


def waiting(index: int = 0) -> ActualLRP:
    return life.unclaimed(key(index), 0)


def claimed(index: int = 0, cell: str = "cell-1") -> ActualLRP:
    return life.claim(waiting(index), Instance(f"guid-{index}-{cell}", cell), 1)


def running(index: int = 0, cell: str = "cell-1") -> ActualLRP:
    lrp = claimed(index, cell)
    return life.start(lrp, lrp.instance, NetInfo(cell), 2)


def decision(
    wanted: int | None, *records: ActualLRP, cells: set[str] = CELLS, fresh: bool = False, now: int = 10
) -> Decision:
    desire = None if wanted is None else Desire("web-1", "cf-apps", wanted)
    return decide(desire, records, cells, fresh=fresh, now=now)


def test_what_is_missing_is_made_and_auctioned() -> None:
    outcome = decision(3, running(1))
    made = [change.after for change in outcome.changes]
    assert [lrp.key.index for lrp in made if lrp is not None] == [0, 2]
    assert all(change.before is None for change in outcome.changes)
    assert outcome.auctions == [key(0), key(2)]
    assert outcome.stops == []


def test_what_waits_is_auctioned_again_and_what_is_as_desired_is_left_alone() -> None:
    outcome = decision(3, waiting(0), claimed(1), running(2))
    assert (outcome.changes, outcome.auctions, outcome.stops) == ([], [key(0)], [])


def test_surplus_goes_if_it_was_retired_or_the_domain_is_fresh() -> None:
    lrp = running(1)
    assert decision(1, running(0), lrp).stops == []
    assert decision(1, running(0), lrp, fresh=True).stops == [lrp]
    retired = life.retire(lrp)
    assert decision(1, running(0), retired).stops == [retired]
    assert decision(None, retired).stops == [retired]


def test_surplus_that_no_cell_holds_goes_at_once() -> None:
    for lrp in (waiting(), life.retire(waiting()), running(cell="gone")):
        assert decision(None, lrp, fresh=True).changes == [Change(lrp, None)]


def test_a_retired_one_that_is_wanted_goes_first_and_is_replaced_then() -> None:
    retired = life.retire(running())
    assert decision(1, retired).stops == [retired]
    assert decision(1, retired).changes == []
    assert decision(1).auctions == [key(0)]
    of_nobody = life.retire(waiting())
    removal, creation = decision(1, of_nobody).changes
    assert removal == Change(of_nobody, None)
    assert creation.before is None


def test_a_running_one_on_a_lost_cell_is_suspected_and_replaced() -> None:
    lrp = running(cell="gone")
    outcome = decision(1, lrp)
    doubt, creation = outcome.changes
    assert doubt == Change(lrp, life.suspect(lrp))
    assert creation.before is None
    assert creation.after is not None
    assert creation.after.presence is Presence.ORDINARY
    assert outcome.auctions == [key(0)]


def test_a_claimed_one_on_a_lost_cell_waits_again() -> None:
    lrp = claimed(cell="gone")
    outcome = decision(1, lrp)
    assert outcome.changes == [Change(lrp, life.unclaim(lrp, 10))]
    assert outcome.auctions == [key(0)]


def test_a_replacement_whose_cell_is_lost_too_waits_again_beside_the_first_suspect() -> None:
    doubtful, replacement = life.suspect(running(cell="gone")), running(cell="gone-too")
    outcome = decision(1, doubtful, replacement)
    assert outcome.changes == [Change(replacement, life.unclaim(replacement, 10))]
    assert outcome.auctions == [key(0)]


def test_a_suspect_stays_until_its_replacement_runs() -> None:
    doubtful = life.suspect(running(cell="gone"))
    assert decision(1, doubtful, claimed()).changes == []
    assert decision(1, doubtful, running()).changes == [Change(doubtful, None)]


def test_a_suspect_whose_cell_is_back_is_trusted_unless_its_replacement_runs() -> None:
    doubtful, replacement = life.suspect(running(cell="cell-1")), claimed(cell="cell-2")
    outcome = decision(1, doubtful, replacement)
    assert outcome.changes == [Change(replacement, None), Change(doubtful, life.trust(doubtful))]
    assert outcome.auctions == []
    outcome = decision(1, doubtful, running(cell="cell-2"))
    assert (outcome.changes, outcome.stops) == ([], [doubtful])


def test_a_crashed_one_waits_for_its_time() -> None:
    crashed = ActualLRP(key(0), State.CRASHED, 0, crash_count=3)
    outcome = decision(1, crashed, now=29 * SECOND)
    assert (outcome.changes, outcome.auctions, outcome.look_again) == ([], [], 30 * SECOND)
    outcome = decision(1, crashed, now=30 * SECOND)
    assert outcome.changes == [Change(crashed, life.unclaim(crashed, 30 * SECOND))]
    assert outcome.auctions == [key(0)]


def test_the_earliest_of_several_crashed_ones_decides_when_to_look_again() -> None:
    early = ActualLRP(key(0), State.CRASHED, 0, crash_count=3)
    late = ActualLRP(key(1), State.CRASHED, 0, crash_count=5)
    never = ActualLRP(key(2), State.CRASHED, 0, crash_count=200)
    assert decision(3, early, late, never).look_again == 30 * SECOND
