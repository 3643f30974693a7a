"""A link to a peer that must end up knowing what the database says, whatever becomes of it in between."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

Change = TypeVar("Change")
_BACKOFF_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)


AT_ONCE = 64
"""How many changes are on their way at the same time."""


class Link(ABC, Generic[Change]):
    """Delivers changes at most once each, and in order those that are about the same thing.

    After an outage it forgets them and synchronises instead, as it does at its start and every
    `sync_seconds`: the database knows better than any queue what the peer should hold.
    """

    def __init__(self, peer: str, sync_seconds: float, log: logging.Logger) -> None:
        self._peer = peer
        self._sync_seconds = sync_seconds
        self._log = log
        self._pending: deque[Change] = deque()
        self._stale = True
        self._wake = asyncio.Event()

    def put(self, changes: Sequence[Change]) -> None:
        """Enqueue changes; while a synchronisation is due they are dropped, as it will include them."""
        if not self._stale:
            self._pending.extend(changes)
            self._wake.set()

    def resync(self) -> None:
        """Ask for a synchronisation at once."""
        self._stale = True
        self._wake.set()

    @property
    def stale(self) -> bool:
        """Whether the peer may lack something, as at the start and after an outage."""
        return self._stale

    def retry(self) -> None:
        """The peer may be there again: do not wait for the next attempt."""
        self._wake.set()

    def subject(self, _change: Change) -> str:
        """What a change is about: changes of different subjects may arrive in any order. By default all have one."""
        return ""

    @abstractmethod
    async def deliver(self, change: Change) -> None:
        """Tell the peer of one change; raises ConnectionError if it may not have heard."""

    @abstractmethod
    async def sync(self) -> None:
        """Bring the peer to the database's state; raises ConnectionError.

        It calls `start_over` and reads the database in one go, with no await between.
        """

    def start_over(self) -> None:
        """Forget the pending changes, because the state that is read now includes them."""
        self._pending.clear()
        self._stale = False

    async def run(self) -> None:
        """Deliver for ever."""
        loop = asyncio.get_running_loop()
        failures = 0
        due = 0.0
        while True:
            # Before the attempt, not after it: whoever wakes this while an attempt fails must not be overheard.
            self._wake.clear()
            try:
                if self._stale or loop.time() >= due:
                    await self.sync()
                    due = loop.time() + self._sync_seconds
                elif self._pending:
                    await self._deliver_several()
                else:
                    await self._sleep(due - loop.time())
                    continue
            except ConnectionError as error:
                self._stale = True
                failures += 1
                if failures == 2:
                    self._log.warning("%s does not answer, retrying: %s", self._peer, error)
                await self._sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS)) - 1])
            else:
                if failures > 1:
                    self._log.info("%s answers again after %d failures", self._peer, failures)
                failures = 0

    async def _deliver_several(self) -> None:
        """Deliver the oldest changes, subject by subject side by side.

        One after the other, each would wait for its turn among all requests that are being answered.
        """
        subjects: dict[str, list[Change]] = {}
        for _ in range(min(AT_ONCE, len(self._pending))):
            change = self._pending.popleft()
            subjects.setdefault(self.subject(change), []).append(change)
        outcomes = await asyncio.gather(*map(self._deliver_in_order, subjects.values()), return_exceptions=True)
        for error in outcomes:
            if error is not None:
                raise error

    async def _deliver_in_order(self, changes: Sequence[Change]) -> None:
        for change in changes:
            await self.deliver(change)

    async def _sleep(self, seconds: float) -> None:
        """Wait until something is to be done, or for so long."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()
        except TimeoutError:
            pass
