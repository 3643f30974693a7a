"""What is to be done so that the instances of a process become what is desired: a pure decision.

It is taken whenever something changes, and for everything now and then to repair what was lost on the way.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from netlab.bbs import lrp as life
from netlab.bbs.events import Change
from netlab.bbs.lrp import ActualLRP, Key, Presence, State


@dataclass(frozen=True, slots=True)
class Desire:
    """What is desired of one process."""

    process_guid: str
    domain: str
    instances: int


@dataclass(slots=True)
class Decision:
    """The outcome: changes of records, then requests to others."""

    changes: list[Change] = field(default_factory=list)
    stops: list[ActualLRP] = field(default_factory=list)
    """Instances whose cell is to stop them."""
    auctions: list[Key] = field(default_factory=list)
    """Instances that wait for a cell."""
    look_again: int | None = None
    """When the clock alone will change the outcome, in nanoseconds since the epoch."""

    def replace(self, before: ActualLRP | None, after: ActualLRP | None) -> None:
        """Note that one record becomes another; None where there is none."""
        self.changes.append(Change(before, after))


def decide(
    desire: Desire | None, records: Iterable[ActualLRP], cells: AbstractSet[str], *, fresh: bool, now: int
) -> Decision:
    """Decide about one process.

    `desire` is None if it is not desired; `cells` are those that report. `fresh` says that the domain's desired LRPs
    are complete: only then is an instance stopped that nobody asked to retire. `now` is in nanoseconds since the epoch.
    """
    by_index: dict[int, dict[Presence, ActualLRP]] = {}
    for record in records:
        by_index.setdefault(record.key.index, {})[record.presence] = record
    decision = Decision()
    wanted = desire.instances if desire is not None else 0
    for index in sorted(by_index.keys() | set(range(wanted))):
        here = by_index.get(index, {})
        if desire is None or index >= wanted:
            for record in here.values():
                if record.retiring or fresh:
                    _let_go(decision, record, cells)
        else:
            key = Key(desire.process_guid, index, desire.domain)
            _keep(decision, key, here.get(Presence.ORDINARY), here.get(Presence.SUSPECT), cells, now)
            if Presence.EVACUATING in here:
                _relieve(decision, here[Presence.EVACUATING], here.get(Presence.ORDINARY), cells)
    return decision


def _relieve(decision: Decision, evacuating: ActualLRP, ordinary: ActualLRP | None, cells: AbstractSet[str]) -> None:
    """An instance whose cell is being emptied goes once its replacement runs, or with its cell."""
    replaced = ordinary is not None and ordinary.state is State.RUNNING and ordinary.instance.cell_id in cells
    if evacuating.retiring or replaced or evacuating.instance.cell_id not in cells:
        _let_go(decision, evacuating, cells)


def _let_go(decision: Decision, record: ActualLRP, cells: AbstractSet[str]) -> None:
    if record.on_cell and record.instance.cell_id in cells:
        decision.stops.append(record)
    else:
        decision.replace(record, None)


def _keep(
    decision: Decision,
    key: Key,
    ordinary: ActualLRP | None,
    suspect: ActualLRP | None,
    cells: AbstractSet[str],
    now: int,
) -> None:
    if ordinary is not None and ordinary.retiring:
        # It was asked to go before it was wanted again; its successor comes when it is gone.
        _let_go(decision, ordinary, cells)
        if ordinary.on_cell and ordinary.instance.cell_id in cells:
            return
        ordinary = None
    if ordinary is not None and ordinary.on_cell and ordinary.instance.cell_id not in cells:
        ordinary, suspect = _lose(decision, ordinary, suspect, now)
    if suspect is not None:
        if ordinary is not None and ordinary.state is State.RUNNING:
            _let_go(decision, suspect, cells)
        elif suspect.instance.cell_id in cells:
            if ordinary is not None:
                # If a cell has begun to make it, that cell's claim or start will be refused.
                decision.replace(ordinary, None)
            decision.replace(suspect, life.trust(suspect))
            return
    if ordinary is None:
        ordinary = life.unclaimed(key, now)
        decision.replace(None, ordinary)
    elif ordinary.state is State.CRASHED:
        due = life.restart_at(ordinary)
        if due is None:
            return
        if due > now:
            decision.look_again = min(due, decision.look_again or due)
            return
        ordinary, crashed = life.unclaim(ordinary, now), ordinary
        decision.replace(crashed, ordinary)
    if ordinary.state is State.UNCLAIMED:
        decision.auctions.append(key)


def _lose(
    decision: Decision, ordinary: ActualLRP, suspect: ActualLRP | None, now: int
) -> tuple[ActualLRP | None, ActualLRP | None]:
    """The cell of an instance does not report: a running one may run on, any other begins again."""
    if ordinary.state is State.RUNNING and suspect is None:
        doubtful = life.suspect(ordinary)
        decision.replace(ordinary, doubtful)
        return None, doubtful
    waiting = life.unclaim(ordinary, now)
    decision.replace(ordinary, waiting)
    return waiting, suspect
