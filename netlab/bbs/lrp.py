"""The life of an actual LRP (one instance of an app), as pure functions from one record to the next.

    UNCLAIMED ──claim──▶ CLAIMED ──start──▶ RUNNING
        ▲                   │                  │
        └──── crash (1st and 2nd), cell lost ──┤
                            └──── crash ───────┴──▶ CRASHED ──back-off is over──▶ UNCLAIMED

Beside the ordinary record an instance may have a suspect one: it runs on a cell that does not report any more, and
keeps its routes until its replacement runs or its cell is back. Or an evacuating one: its cell is being emptied, and it
keeps its routes until its replacement runs. Times are nanoseconds since the epoch, as on the wire.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum

from netlab.bbs.refusal import ErrorType, Refused

SECOND = 1_000_000_000
IMMEDIATE_RESTARTS = 3
"""The crash that is the first to be followed by a pause."""
MAX_RESTARTS = 200
BACKOFF_MIN = 30 * SECOND
BACKOFF_MAX = 16 * 60 * SECOND
CRASH_RESET = 5 * 60 * SECOND
"""An instance that ran for so long starts to count its crashes anew."""


class State(StrEnum):
    """The states, spelt as on the wire."""

    UNCLAIMED = "UNCLAIMED"
    CLAIMED = "CLAIMED"
    RUNNING = "RUNNING"
    CRASHED = "CRASHED"


class Presence(IntEnum):
    """What is known of the cell of an instance; the numbers of the wire."""

    ORDINARY = 0
    EVACUATING = 1
    SUSPECT = 2


@dataclass(frozen=True, slots=True)
class Port:
    """One port of a container and where it can be reached; 0 means there is none."""

    container_port: int
    host_port: int
    container_tls_proxy_port: int = 0
    host_tls_proxy_port: int = 0


@dataclass(frozen=True, slots=True)
class NetInfo:
    """The addresses of a running instance: its cell's, its own on the overlay, and the ports between them."""

    address: str = ""
    ports: tuple[Port, ...] = ()
    instance_address: str = ""
    preferred_address: int = 0


@dataclass(frozen=True, slots=True)
class Instance:
    """Which container on which cell; both empty while no cell has claimed the LRP."""

    guid: str = ""
    cell_id: str = ""


@dataclass(frozen=True, slots=True)
class Key:
    """Which instance of which process."""

    process_guid: str
    index: int
    domain: str

    def __str__(self) -> str:
        return f"{self.process_guid}/{self.index}"


@dataclass(frozen=True, slots=True)
class ActualLRP:
    """One record. `epoch` and `revision` are the modification tag: a new epoch for a new record, then counted up."""

    key: Key
    state: State
    since: int
    instance: Instance = Instance()
    net: NetInfo = NetInfo()
    crash_count: int = 0
    crash_reason: str = ""
    placement_error: str = ""
    presence: Presence = Presence.ORDINARY
    epoch: str = field(default_factory=lambda: uuid.uuid4().hex)
    revision: int = 0
    retiring: bool = False
    """It was asked to stop and is not wanted any more; not on the wire."""

    @property
    def slot(self) -> tuple[str, int, Presence]:
        """What no two records share."""
        return self.key.process_guid, self.key.index, self.presence

    @property
    def on_cell(self) -> bool:
        """Whether a cell holds it."""
        return self.state in (State.CLAIMED, State.RUNNING)


def unclaimed(key: Key, now: int) -> ActualLRP:
    """A new record that waits for a cell."""
    return ActualLRP(key, State.UNCLAIMED, now)


def claim(lrp: ActualLRP, instance: Instance, now: int) -> ActualLRP:
    """A cell takes the LRP before it makes the container; the same claim twice changes nothing."""
    if lrp.state is State.CLAIMED and lrp.instance == instance:
        return lrp
    if lrp.on_cell and lrp.instance != instance:
        raise _refused(ErrorType.ActualLRPCannotBeClaimed, lrp, "be claimed", instance)
    return _next(lrp, state=State.CLAIMED, instance=instance, net=NetInfo(), placement_error="", since=now)


def start(lrp: ActualLRP, instance: Instance, net: NetInfo, now: int) -> ActualLRP:
    """The instance serves; a later `start` of the same one may change its addresses."""
    if lrp.state is State.RUNNING:
        if lrp.instance != instance:
            raise _refused(ErrorType.ActualLRPCannotBeStarted, lrp, "be started", instance)
        return lrp if lrp.net == net else _next(lrp, net=net)
    return _next(lrp, state=State.RUNNING, instance=instance, net=net, placement_error="", since=now)


def crash(lrp: ActualLRP, instance: Instance, reason: str, now: int) -> ActualLRP:
    """The instance ended by itself: it waits for a cell again, from the third time on after a pause."""
    if not lrp.on_cell or lrp.instance != instance:
        raise _refused(ErrorType.ActualLRPCannotBeCrashed, lrp, "be crashed", instance)
    ran_long = lrp.state is State.RUNNING and now - lrp.since > CRASH_RESET
    count = 1 if ran_long else lrp.crash_count + 1
    return _next(
        lrp,
        state=State.UNCLAIMED if count < IMMEDIATE_RESTARTS else State.CRASHED,
        instance=Instance(),
        net=NetInfo(),
        crash_count=count,
        crash_reason=reason,
        since=now,
    )


def restart_at(lrp: ActualLRP) -> int | None:
    """When a CRASHED record may wait for a cell again; None is never."""
    if lrp.crash_count >= MAX_RESTARTS:
        return None
    exponent = max(0, lrp.crash_count - IMMEDIATE_RESTARTS)
    # Diego's cap is reached at 2^5; a larger shift would only make a larger number to cut off.
    return lrp.since + min(BACKOFF_MIN << min(exponent, 16), BACKOFF_MAX)


def unclaim(lrp: ActualLRP, now: int) -> ActualLRP:
    """The LRP waits for a cell (again): its cell is lost, or the pause after a crash is over."""
    if lrp.state is State.UNCLAIMED:
        raise _refused(ErrorType.ActualLRPCannotBeUnclaimed, lrp, "be unclaimed", lrp.instance)
    return _next(lrp, state=State.UNCLAIMED, instance=Instance(), net=NetInfo(), since=now)


def fail(lrp: ActualLRP, placement_error: str, now: int) -> ActualLRP:
    """No cell could take it; `placement_error` says why. It stays UNCLAIMED and is tried again."""
    if lrp.state is not State.UNCLAIMED:
        raise _refused(ErrorType.ActualLRPCannotBeFailed, lrp, "be failed", lrp.instance)
    if lrp.placement_error == placement_error:
        return lrp
    return _next(lrp, placement_error=placement_error, since=now)


def suspect(lrp: ActualLRP) -> ActualLRP:
    """Its cell does not report any more."""
    return _next(lrp, presence=Presence.SUSPECT)


def trust(lrp: ActualLRP) -> ActualLRP:
    """Its cell is back before a replacement ran."""
    return _next(lrp, presence=Presence.ORDINARY)


def evacuate(lrp: ActualLRP) -> ActualLRP:
    """Its cell is about to be emptied; it serves until a replacement runs."""
    return _next(lrp, presence=Presence.EVACUATING)


def retire(lrp: ActualLRP) -> ActualLRP:
    """It is not wanted any more; whoever holds it is asked to stop it until it is gone."""
    return lrp if lrp.retiring else replace(lrp, retiring=True)


def _next(lrp: ActualLRP, **changes: object) -> ActualLRP:
    return replace(lrp, revision=lrp.revision + 1, **changes)  # type: ignore[arg-type]


def _refused(kind: ErrorType, lrp: ActualLRP, verb: str, instance: Instance) -> Refused:
    holder = f" by {lrp.instance.guid} on {lrp.instance.cell_id}" if lrp.instance.guid else ""
    return Refused(kind, f"{lrp.key} cannot {verb} for {instance.guid or 'nobody'}: it is {lrp.state}{holder}")
