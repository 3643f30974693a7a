"""The running instances, as BBS tells them. Sans I/O: lists and events come in, what changed comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from netlab.copilot.model import Backend
from netlab.protocols import bbs_pb2 as bbs

SSH_PORT = 2222


class _State(Protocol):
    """What a whole ActualLRP and the `after` of a change have in common."""

    @property
    def actual_lrp_net_info(self) -> bbs.ActualLRPNetInfo: ...
    @property
    def state(self) -> str: ...


def backend_of(lrp: _State) -> Backend | None:
    """The backend that an instance is, or None while no request can reach it.

    It has to be RUNNING, with a port on the cell; of several ports other than SSH the last one counts. One that is
    evacuating serves until its replacement runs; then the BBS removes it.
    """
    if lrp.state != "RUNNING":
        return None
    info = lrp.actual_lrp_net_info
    ports = [p for p in info.ports if p.container_port != SSH_PORT]
    if not ports or not ports[-1].host_port:
        return None
    return Backend(info.address, ports[-1].host_port, info.instance_address, ports[-1].container_port)


@dataclass
class Instances:
    """The reachable instances of every Diego process, by instance guid."""

    _by_process: dict[str, dict[str, Backend]] = field(default_factory=dict)
    _process_of: dict[str, str] = field(default_factory=dict)

    def backends(self, process_guid: str) -> list[Backend]:
        """The backends of a Diego process, in no particular order."""
        return list(self._by_process.get(process_guid, {}).values())

    def replace(self, lrps: Iterable[bbs.ActualLRP]) -> set[str]:
        """Take a complete list; returns the Diego process guids whose backends differ from before."""
        fresh: dict[str, dict[str, Backend]] = {}
        for lrp in lrps:
            backend = backend_of(lrp)
            if backend:
                process = lrp.actual_lrp_key.process_guid
                fresh.setdefault(process, {})[lrp.actual_lrp_instance_key.instance_guid] = backend
        old, self._by_process = self._by_process, fresh
        self._process_of = {guid: process for process, found in fresh.items() for guid in found}
        return {p for p in old.keys() | fresh.keys() if old.get(p) != fresh.get(p)}

    def created(self, event: bbs.ActualLRPInstanceCreatedEvent) -> set[str]:
        """An instance came to be; returns the Diego process guids whose backends changed."""
        lrp = event.actual_lrp
        return self._set(lrp.actual_lrp_key, lrp.actual_lrp_instance_key, backend_of(lrp))

    def changed(self, event: bbs.ActualLRPInstanceChangedEvent) -> set[str]:
        """An instance changed its state; returns the Diego process guids whose backends changed."""
        return self._set(event.actual_lrp_key, event.actual_lrp_instance_key, backend_of(event.after))

    def removed(self, event: bbs.ActualLRPInstanceRemovedEvent) -> set[str]:
        """This one instance is gone; returns the Diego process guids whose backends changed."""
        lrp = event.actual_lrp
        return self._set(lrp.actual_lrp_key, lrp.actual_lrp_instance_key, None)

    def crashed(self, event: bbs.ActualLRPCrashedEvent) -> set[str]:
        """This one instance crashed; returns the Diego process guids whose backends changed."""
        return self._set(event.actual_lrp_key, event.actual_lrp_instance_key, None)

    def _set(self, key: bbs.ActualLRPKey, instance: bbs.ActualLRPInstanceKey, backend: Backend | None) -> set[str]:
        guid = instance.instance_guid
        if not guid:
            return set()  # unclaimed: nowhere yet
        process = key.process_guid
        if backend is None:
            process = self._process_of.pop(guid, process)
            found = self._by_process.get(process, {})
            if found.pop(guid, None) is None:
                return set()
            if not found:
                del self._by_process[process]
            return {process}
        found = self._by_process.setdefault(process, {})
        if found.get(guid) == backend:
            return set()
        found[guid] = backend
        self._process_of[guid] = process
        return {process}
