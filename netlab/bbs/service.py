"""The BBS itself: what each request does to the records, who is told of it, and what follows from it.

Everything happens in the event loop's thread and without a pause between reading and writing, so each operation is
atomic.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netlab.bbs import convergence, events, wire
from netlab.bbs import lrp as life
from netlab.bbs.asks import Asks
from netlab.bbs.events import Change
from netlab.bbs.lrp import ActualLRP, Instance, Key, NetInfo, Presence, State
from netlab.bbs.refusal import ErrorType, Refused
from netlab.bbs.store import FOREVER, Store
from netlab.bbs.stream import Hub
from netlab.protocols import bbs_pb2

_NANOSECONDS = 1_000_000_000


class Service:
    """All operations of the BBS; each raises Refused with the wire's error type where the state forbids it."""

    def __init__(self, store: Store, hub: Hub, log: logging.Logger) -> None:
        self.store = store
        self.hub = hub
        self.log = log
        self.asks: Asks | None = None
        """Set by the job as soon as there is a client; without it nothing is asked of others."""
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # ---- Desired LRPs

    def desire(self, desired: bbs_pb2.DesiredLRP) -> None:
        """Desire a new process; its instances are asked for at once."""
        guid = desired.process_guid
        if not guid or not desired.domain or desired.instances < 0:
            raise Refused(
                ErrorType.InvalidRequest, "a desired LRP needs a process_guid, a domain and instances of 0 or more"
            )
        if guid in self.store.desired:
            raise Refused(ErrorType.ResourceExists, f"the process {guid} is desired already")
        new = bbs_pb2.DesiredLRP()
        new.CopyFrom(desired)
        new.modification_tag.CopyFrom(bbs_pb2.ModificationTag(epoch=uuid.uuid4().hex, index=0))
        self.store.write(desired={guid: new})
        self.hub.publish("desired_lrp_created", bbs_pb2.DesiredLRPCreatedEvent(desired_lrp=new))
        self.converge(guid)

    def update(self, guid: str, update: bbs_pb2.DesiredLRPUpdate) -> None:
        """Change the number of instances, the routes or the annotation of a process."""
        before = self.desired(guid)
        if update.HasField("instances") and update.instances < 0:
            raise Refused(ErrorType.InvalidRequest, "instances cannot be negative")
        after = bbs_pb2.DesiredLRP()
        after.CopyFrom(before)
        if update.HasField("instances"):
            after.instances = update.instances
        if update.HasField("routes"):
            after.routes.CopyFrom(update.routes)
        if update.HasField("annotation"):
            after.annotation = update.annotation
        after.modification_tag.index += 1
        self._write(self._retired(guid, from_index=after.instances), desired={guid: after})
        self.hub.publish("desired_lrp_changed", bbs_pb2.DesiredLRPChangedEvent(before=before, after=after))
        self.converge(guid)

    def remove_desired(self, guid: str) -> None:
        """Desire a process no longer; its instances are asked to stop."""
        before = self.desired(guid)
        self._write(self._retired(guid, from_index=0), desired={guid: None})
        self.hub.publish("desired_lrp_removed", bbs_pb2.DesiredLRPRemovedEvent(desired_lrp=before))
        self.converge(guid)

    def desired(self, guid: str) -> bbs_pb2.DesiredLRP:
        """What is desired of a process."""
        desired = self.store.desired.get(guid)
        if desired is None:
            raise Refused(ErrorType.ResourceNotFound, f"the process {guid} is not desired")
        return desired

    # ---- Actual LRPs

    def claim(self, process_guid: str, index: int, instance: Instance) -> None:
        """A cell is about to make the container."""
        lrp = self._record(process_guid, index)
        self._change(lrp, life.claim(lrp, instance, _now()))

    def start(self, key: Key, instance: Instance, net: NetInfo) -> None:
        """The instance serves. One without a record is taken in only if it is desired."""
        held = self._holding(key, instance)
        if held is not None and held.presence is not Presence.ORDINARY:
            # Its cell is back, or is being emptied; whether it or its replacement stays is the convergence's affair.
            self.converge(key.process_guid)
            return
        lrp = self.store.record(key.process_guid, key.index)
        if lrp is None:
            desired = self.store.desired.get(key.process_guid)
            if desired is None or key.index >= desired.instances:
                raise Refused(ErrorType.ResourceNotFound, f"{key} is not desired")
            lrp = life.unclaimed(key, _now())
            self._write([Change(None, life.start(lrp, instance, net, _now()))])
        else:
            self._change(lrp, life.start(lrp, instance, net, _now()))
        self.converge(key.process_guid)

    def crash(self, key: Key, instance: Instance, reason: str) -> None:
        """The instance ended by itself; one that was asked to stop is simply gone."""
        held = self._holding(key, instance)
        if held is not None and held.presence is not Presence.ORDINARY:
            self._change(held, None)
            return
        lrp = self._record(key.process_guid, key.index)
        after = life.crash(lrp, instance, reason, _now())
        self._change(lrp, None if lrp.retiring else after)
        self.converge(key.process_guid)
        self._room()

    def fail(self, key: Key, placement_error: str) -> None:
        """No cell could take the instance."""
        lrp = self._record(key.process_guid, key.index)
        self._change(lrp, life.fail(lrp, placement_error, _now()))

    def remove(self, process_guid: str, index: int, instance: Instance | None) -> None:
        """The instance is gone; `instance` guards against removing its successor."""
        records = [r for r in self.store.actual(process_guid) if r.key.index == index]
        matching = [r for r in records if instance is None or r.instance == instance]
        if not matching:
            kind = ErrorType.ActualLRPCannotBeRemoved if records else ErrorType.ResourceNotFound
            raise Refused(kind, f"there is no such instance of {process_guid}/{index} to remove")
        self._write([Change(record, None) for record in matching])
        self.converge(process_guid)
        self._room()

    def retire(self, key: Key) -> None:
        """The instance is not wanted any more: its cell stops it, and it is replaced if it is still desired."""
        lrp = self._record(key.process_guid, key.index)
        self._change(lrp, life.retire(lrp))
        self.converge(key.process_guid)

    # ---- Evacuation

    def evacuate_running(self, key: Key, instance: Instance, net: NetInfo) -> bool:
        """The cell of a running instance is being emptied: it is replaced; whether its container is needed until then.

        Unlike Diego's it is also needed while its replacement crashes: it is the one that serves.
        """
        ordinary = self.store.record(key.process_guid, key.index)
        evacuating = self.store.record(key.process_guid, key.index, Presence.EVACUATING)
        held = self._holding(key, instance)
        if ordinary is None or key.process_guid not in self.store.desired:
            return self._gone(held)
        if held is ordinary:
            if ordinary.state is State.RUNNING and evacuating is None:
                waiting = life.unclaimed(key, _now())
                self._write([Change(ordinary, life.evacuate(ordinary)), Change(None, waiting)])
                self.converge(key.process_guid)
                return True
            return self.evacuate_claimed(key, instance)
        if ordinary.state is State.RUNNING or (evacuating is not None and evacuating is not held):
            return self._gone(held)
        if held is None:
            running = life.start(life.unclaimed(key, _now()), instance, net, _now())
            self._write([Change(None, life.evacuate(running))])
        elif held.presence is Presence.SUSPECT:
            self._change(held, life.evacuate(held))
        self.converge(key.process_guid)
        return True

    def evacuate_claimed(self, key: Key, instance: Instance) -> bool:
        """The cell of an instance that does not run yet is being emptied: it waits for another cell at once."""
        held = self._holding(key, instance)
        if held is None or held.presence is not Presence.ORDINARY:
            return self._gone(held)
        self._change(held, life.unclaim(held, _now()))
        self.converge(key.process_guid)
        return False

    def remove_evacuating(self, key: Key, instance: Instance) -> None:
        """An instance that was being replaced is gone."""
        held = self._holding(key, instance)
        if held is None or held.presence is not Presence.EVACUATING:
            raise Refused(ErrorType.ResourceNotFound, f"{instance.guid} of {key} is not being evacuated")
        self._gone(held)

    def _holding(self, key: Key, instance: Instance) -> ActualLRP | None:
        """The record that says that this instance runs, whatever is known of its cell."""
        records = (self.store.record(key.process_guid, key.index, presence) for presence in Presence)
        return next((record for record in records if record is not None and record.instance == instance), None)

    def _gone(self, held: ActualLRP | None) -> bool:
        """Drop a record, if there is one: its container is not needed (False)."""
        if held is not None:
            self._change(held, None)
            self.converge(held.key.process_guid)
        return False

    # ---- Looking

    def actual(
        self, *, domain: str = "", cell_id: str = "", process_guid: str = "", index: int | None = None
    ) -> list[ActualLRP]:
        """The records that match every given condition, by process and index."""
        records = [
            record
            for record in self.store.actual(process_guid or None)
            if (not domain or record.key.domain == domain)
            and (not cell_id or record.instance.cell_id == cell_id)
            and (index is None or record.key.index == index)
        ]
        return sorted(records, key=lambda record: record.slot)

    # ---- Domains

    def upsert_domain(self, domain: str, ttl: int) -> None:
        """The domain's desired LRPs are complete, and stay so for `ttl` seconds (0: for ever)."""
        if not domain:
            raise Refused(ErrorType.InvalidRequest, "a domain needs a name")
        until = _now() + ttl * _NANOSECONDS if ttl else FOREVER
        was_fresh = self.store.fresh(domain, _now())
        self.store.write(domains={domain: until})
        if not was_fresh:
            self.converge_all()

    def fresh_domains(self) -> list[str]:
        """The domains whose desired LRPs are known to be complete."""
        now = _now()
        return sorted(domain for domain in self.store.domains if self.store.fresh(domain, now))

    # ---- Convergence

    def converge(self, guid: str) -> None:
        """Lead one process towards what is desired of it."""
        desired = self.store.desired.get(guid)
        records = list(self.store.actual(guid))
        domain = desired.domain if desired else next((r.key.domain for r in records), "")
        now = _now()
        desire = convergence.Desire(guid, domain, desired.instances) if desired else None
        cells = self.store.cells.keys()
        decision = convergence.decide(desire, records, cells, fresh=self.store.fresh(domain, now), now=now)
        self._write(decision.changes)
        if self.asks is not None:
            self.asks.auction(decision.auctions)
            self.asks.stop(decision.stops)
            self._look_again(guid, decision.look_again, now)

    def converge_all(self) -> None:
        """Lead every process towards what is desired of it."""
        for guid in self.store.processes():
            self.converge(guid)

    def _look_again(self, guid: str, due: int | None, now: int) -> None:
        timer = self._timers.pop(guid, None)
        if timer is not None:
            timer.cancel()
        if due is not None:
            delay = max(0, due - now) / _NANOSECONDS
            self._timers[guid] = asyncio.get_running_loop().call_later(delay, self.converge, guid)

    # ---- What the asks need to know

    def waiting(self, key: Key) -> bool:
        """Whether an instance waits for a cell."""
        lrp = self.store.record(key.process_guid, key.index)
        return lrp is not None and lrp.state is State.UNCLAIMED

    def refused(self, key: Key) -> bool:
        """Whether no cell could take the instance when it was last asked for."""
        lrp = self.store.record(key.process_guid, key.index)
        return lrp is not None and bool(lrp.placement_error)

    def running(self, lrp: ActualLRP) -> bool:
        """Whether an instance still has a record on a cell that reports."""
        return lrp.instance.cell_id in self.store.cells and any(
            record.instance == lrp.instance for record in self.store.actual(lrp.key.process_guid)
        )

    def rep_url(self, cell_id: str) -> str | None:
        """Where the rep of a cell answers."""
        cell = self.store.cells.get(cell_id)
        return cell.rep_url if cell is not None else None

    def unknown(self, lrp: ActualLRP) -> None:
        """A rep has no such instance: neither has the cell, then."""
        if self.running(lrp):
            self.remove(lrp.key.process_guid, lrp.key.index, lrp.instance)

    def start_request(self, keys: Sequence[Key]) -> list[dict[str, Any]]:
        """The auctioneer's `LRPStartRequest`s for some instances, one a process."""
        indices: dict[str, list[int]] = {}
        for key in keys:
            indices.setdefault(key.process_guid, []).append(key.index)
        requests = []
        for guid, wanted in indices.items():
            desired = self.store.desired.get(guid)
            if desired is not None:
                requests.append(
                    {
                        "process_guid": guid,
                        "domain": desired.domain,
                        "indices": sorted(wanted),
                        "MemoryMB": desired.memory_mb,
                        "DiskMB": desired.disk_mb,
                        "MaxPids": desired.max_pids,
                        "RootFs": desired.root_fs,
                    }
                )
        return requests

    # ---- Writing

    def _record(self, process_guid: str, index: int) -> ActualLRP:
        lrp = self.store.record(process_guid, index)
        if lrp is None:
            raise Refused(ErrorType.ResourceNotFound, f"there is no instance {process_guid}/{index}")
        return lrp

    def _retired(self, guid: str, *, from_index: int) -> list[Change]:
        return [Change(r, life.retire(r)) for r in self.store.actual(guid) if r.key.index >= from_index]

    def _change(self, before: ActualLRP, after: ActualLRP | None) -> None:
        self._write([Change(before, after)])

    def _write(
        self, changes: Iterable[Change], *, desired: Mapping[str, bbs_pb2.DesiredLRP | None] | None = None
    ) -> None:
        changes = [change for change in changes if change.before is not change.after]
        if not changes and not desired:
            return
        self.store.write(changes, desired=desired)
        for event in events.of_changes(changes):
            name, message = wire.event_message(event)
            self.hub.publish(name, message, wire.event_cells(event))
        if self.asks is not None:
            for record in (change.after or change.before for change in changes):
                if record is not None and not self.waiting(record.key):
                    self.asks.done(record.key)

    def _room(self) -> None:
        if self.asks is not None:
            self.asks.hurry()


def _now() -> int:
    return time.time_ns()
