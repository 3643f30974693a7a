"""Which events a change of an instance's records makes, in the order in which a subscriber sees them.

A subscriber that keeps a table by instance key must never lose its last RUNNING row to a replacement that comes an
event later, so what makes an instance routable goes first and removals go last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from netlab.bbs.lrp import ActualLRP, State


@dataclass(frozen=True, slots=True)
class InstanceCreated:
    """A record is new, or an instance begins its life anew."""

    lrp: ActualLRP


@dataclass(frozen=True, slots=True)
class InstanceChanged:
    """A record went on."""

    before: ActualLRP
    after: ActualLRP


@dataclass(frozen=True, slots=True)
class InstanceRemoved:
    """A record, or an instance that a cell held, is gone; `lrp` is as it was last."""

    lrp: ActualLRP


@dataclass(frozen=True, slots=True)
class Crashed:
    """An instance ended by itself: `before` is the record that held it, `after` what became of it."""

    before: ActualLRP
    after: ActualLRP


InstanceEvent: TypeAlias = InstanceCreated | InstanceChanged | InstanceRemoved | Crashed


@dataclass(frozen=True, slots=True)
class Change:
    """One record before and after; None where it was not there yet, or is not any more."""

    before: ActualLRP | None
    after: ActualLRP | None

    @property
    def visible(self) -> bool:
        """Whether the wire shows a difference."""
        if self.before is None or self.after is None:
            return self.before is not self.after
        return self.before.revision != self.after.revision or self.before.epoch != self.after.epoch


def of_changes(changes: Sequence[Change]) -> list[InstanceEvent]:
    """The events of all changes of one transaction: crashes, then what gives a RUNNING instance, removals last."""
    events = [event for change in changes if change.visible for event in _of_change(change)]
    return sorted(events, key=_rank)


def _of_change(change: Change) -> list[InstanceEvent]:
    before, after = change.before, change.after
    if before is None:
        assert after is not None
        return [InstanceCreated(after)]
    if after is None:
        return [InstanceRemoved(before)]
    if after.crash_count != before.crash_count and before.on_cell and not after.on_cell:
        return [Crashed(before, after), InstanceCreated(after), InstanceRemoved(before)]
    if before.on_cell and after.state is State.UNCLAIMED:
        # The instance as a cell held it is no more, and another one waits to be placed.
        return [InstanceCreated(after), InstanceRemoved(before)]
    return [InstanceChanged(before, after)]


def _rank(event: InstanceEvent) -> int:
    match event:
        case Crashed():
            return 0
        case InstanceCreated(lrp) | InstanceChanged(after=lrp):
            return 1 if lrp.state is State.RUNNING else 2
        case InstanceRemoved():
            return 3
