"""Keeps the snapshot up to date with the state, and wakes the MCP streams when it changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.protobuf.timestamp_pb2 import Timestamp

from netlab.copilot.generate import fixed_resources, host_resources, names_of
from netlab.copilot.model import HostKey
from netlab.copilot.snapshot import Snapshot
from netlab.copilot.state import State

# The Cloud Controller tells of one push in several calls, which arrive within that time of each other.
_GATHER_SECONDS = 0.002
# So that one huge sync does not keep the streams and the Cloud Controller waiting.
_HOSTS_AT_ONCE = 500


class Publisher:
    """Turns dirty hosts into resources as soon as there are some."""

    def __init__(self, state: State, ingress_port: int, log: logging.Logger) -> None:
        self.state = state
        self.snapshot = Snapshot()
        self._log = log
        self._changed = asyncio.Event()
        self._listeners: set[asyncio.Event] = set()
        self._open = asyncio.Event()
        self._publishing = asyncio.Lock()
        state.on_change = self._changed.set
        now = _now()
        for named in fixed_resources(ingress_port):
            self.snapshot.collections[named.collection].put(named.name, named.body, now)
        self.snapshot.seal()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the snapshot changed; for one MCP stream."""
        event = asyncio.Event()
        self._listeners.add(event)
        try:
            await self._open.wait()
            yield event
        finally:
            self._listeners.discard(event)

    async def open(self) -> None:
        """Let streams see the snapshot; until then they wait, rather than be told that there is nothing."""
        await self._publish_dirty()
        self._open.set()

    async def run(self) -> None:
        """Publish for ever; ends by cancellation."""
        while True:
            await self._changed.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._changed.clear()
            await self._publish_dirty()

    async def _publish_dirty(self) -> None:
        async with self._publishing:
            dirty = self.state.take_dirty()
            started = time.perf_counter()
            for at in range(0, len(dirty), _HOSTS_AT_ONCE):
                for key in dirty[at : at + _HOSTS_AT_ONCE]:
                    self._publish(key)
                # A stream may look at the snapshot now, so what it sees has to be a revision of its own.
                self.snapshot.seal()
                await asyncio.sleep(0)
            for event in self._listeners:
                event.set()
            self._log.debug("published %d hosts in %.1f ms", len(dirty), 1e3 * (time.perf_counter() - started))

    def _publish(self, key: HostKey) -> None:
        now = _now()
        wanted = {(n.collection, n.name): n.body for n in host_resources(self.state.view(key))}
        for collection, name in names_of(key):
            body = wanted.get((collection, name))
            if body is None:
                self.snapshot.collections[collection].remove(name)
            else:
                self.snapshot.collections[collection].put(name, body, now)


def _now() -> Timestamp:
    stamp = Timestamp()
    stamp.GetCurrentTime()
    return stamp
