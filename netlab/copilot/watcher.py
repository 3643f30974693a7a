"""Follows the BBS: subscribe, list, apply events; list again now and then; begin anew when the stream ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

from google.protobuf.message import Message

from netlab.copilot.bbs import BbsClient
from netlab.copilot.instances import Instances
from netlab.copilot.state import State
from netlab.errors import MeshError
from netlab.protocols import bbs_pb2 as bbs

_FIRST_RETRY_SECONDS = 0.05
_LONGEST_RETRY_SECONDS = 0.25


class InstanceWatcher:
    """Keeps `state.instances` what the BBS says."""

    def __init__(self, client: BbsClient, state: State, reconcile_seconds: float, log: logging.Logger) -> None:
        self._client = client
        self._state = state
        self._reconcile_seconds = reconcile_seconds
        self._log = log
        self.listed = asyncio.Event()
        """Set once the instances were listed for the first time."""
        self.tried = asyncio.Event()
        """Set once that was tried, with success or not."""

    async def run(self) -> None:
        """Follow for ever; ends by cancellation."""
        delay = 0.0
        failing = False
        while True:
            await asyncio.sleep(delay)
            try:
                async with self._client.subscribed() as events:
                    await self._list()
                    self._log.info("bbs: listed and subscribed")
                    delay, failing = 0.0, False
                    await self._follow(events)
            except MeshError as error:
                self._log.log(logging.DEBUG if failing else logging.WARNING, "%s; trying again", error)
                failing = True
            self.tried.set()
            # The first retry is at once: a restarted BBS is usually back already.
            delay = min(max(2 * delay, _FIRST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS)

    async def _follow(self, events: AsyncIterator[Message]) -> None:
        loop = asyncio.get_running_loop()
        next_list = loop.time() + self._reconcile_seconds
        pending = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({pending}, timeout=max(0.0, next_list - loop.time()))
                if done:
                    self._state.instances_changed(apply_event(self._state.instances, pending.result()))
                    pending = asyncio.ensure_future(anext(events))
                else:
                    await self._list()
                    next_list = loop.time() + self._reconcile_seconds
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)

    async def _list(self) -> None:
        self._state.instances_changed(self._state.instances.replace(await self._client.actual_lrps()))
        self.listed.set()
        self.tried.set()


def apply_event(instances: Instances, event: Message) -> set[str]:
    """Apply one event of the BBS; returns the Diego process guids whose backends changed."""
    match event:
        case bbs.ActualLRPInstanceCreatedEvent():
            return instances.created(event)
        case bbs.ActualLRPInstanceChangedEvent():
            return instances.changed(event)
        case bbs.ActualLRPInstanceRemovedEvent():
            return instances.removed(event)
        case bbs.ActualLRPCrashedEvent():
            return instances.crashed(event)
    return set()
