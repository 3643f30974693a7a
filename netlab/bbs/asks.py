"""What the BBS asks of others: the auctioneer to place instances, reps to stop them; again until it has happened.

An ask that was not answered is repeated within a second. One that was accepted but shows no effect is repeated too,
less and less often: its receiver may have died with it, or there may be no room for the instance.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from netlab.bbs.lrp import ActualLRP, Key

PATIENCE = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds after the n-th accepted ask until the next."""
BACKOFF = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds after the n-th failure in a row until the next try."""


@dataclass(slots=True)
class _Ask:
    due: float
    accepted: int = 0
    failed: int = 0
    under_way: bool = False

    def postpone(self, now: float, *, accepted: bool) -> None:
        if accepted:
            self.due = now + PATIENCE[min(self.accepted, len(PATIENCE) - 1)]
            self.accepted, self.failed = self.accepted + 1, 0
        else:
            self.due = now + BACKOFF[min(self.failed, len(BACKOFF) - 1)]
            self.failed += 1
        self.under_way = False


@dataclass
class Asks:
    """Both kinds of asks, and the task that sends those that are due."""

    client: httpx.AsyncClient
    auctioneer_url: str
    log: logging.Logger
    waiting: Callable[[Key], bool]
    """Whether an instance still waits for a cell."""
    refused: Callable[[Key], bool]
    """Whether no cell could take an instance when it was last asked for."""
    start_request: Callable[[Sequence[Key]], list[dict[str, Any]]]
    """The auctioneer's request for some instances."""
    rep_url: Callable[[str], str | None]
    """Where the rep of a cell answers; None if the cell is lost."""
    running: Callable[[ActualLRP], bool]
    """Whether an instance that is to stop has not been reported gone."""
    unknown: Callable[[ActualLRP], None]
    """Called when a rep has no such instance."""
    _auctions: dict[Key, _Ask] = field(default_factory=dict)
    _stops: dict[str, tuple[ActualLRP, _Ask]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def auction(self, keys: Iterable[Key]) -> None:
        """Have instances placed; those that are already asked for keep their turn."""
        now = asyncio.get_running_loop().time()
        for key in keys:
            if key not in self._auctions:
                self._auctions[key] = _Ask(now)
                self._wake.set()

    def stop(self, instances: Iterable[ActualLRP]) -> None:
        """Have instances stopped by their cells."""
        now = asyncio.get_running_loop().time()
        for lrp in instances:
            if lrp.instance.guid not in self._stops:
                self._stops[lrp.instance.guid] = (lrp, _Ask(now))
                self._wake.set()

    def hurry(self) -> None:
        """Ask again at once for what found no place: there is a new cell, or new room on one."""
        now = asyncio.get_running_loop().time()
        for key, ask in self._auctions.items():
            if self.refused(key):
                ask.due, ask.accepted = now, 0
                self._wake.set()

    def done(self, key: Key) -> None:
        """An instance does not wait any more; the next time it does, it is asked for at once."""
        self._auctions.pop(key, None)

    async def run(self) -> None:
        """Send what is due, for ever."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                self._prune()
                now = loop.time()
                auctions = {k: a for k, a in self._auctions.items() if a.due <= now and not a.under_way}
                if auctions:
                    self._begin(auctions.values())
                    group.create_task(self._send_auctions(auctions))
                for lrp, ask in self._stops.values():
                    if ask.due <= now and not ask.under_way:
                        self._begin([ask])
                        group.create_task(self._send_stop(lrp, ask))
                pending = [*self._auctions.values(), *(ask for _, ask in self._stops.values())]
                due = min((ask.due for ask in pending if not ask.under_way), default=None)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), None if due is None else max(0.0, due - loop.time()))

    def _begin(self, asks: Iterable[_Ask]) -> None:
        for ask in asks:
            ask.under_way = True

    def _prune(self) -> None:
        self._auctions = {key: ask for key, ask in self._auctions.items() if self.waiting(key)}
        self._stops = {guid: pair for guid, pair in self._stops.items() if self.running(pair[0])}

    async def _send_auctions(self, asks: dict[Key, _Ask]) -> None:
        accepted = await self._post(f"{self.auctioneer_url}/v1/lrps", self.start_request(list(asks))) is not None
        for ask in asks.values():
            ask.postpone(asyncio.get_running_loop().time(), accepted=accepted)
        self._wake.set()

    async def _send_stop(self, lrp: ActualLRP, ask: _Ask) -> None:
        url = self.rep_url(lrp.instance.cell_id)
        status = None
        if url is not None:
            path = f"/v1/lrps/{lrp.key.process_guid}/instances/{lrp.instance.guid}/stop"
            status = await self._post(f"{url}{path}", None)
        ask.postpone(asyncio.get_running_loop().time(), accepted=status is not None)
        if status == httpx.codes.NOT_FOUND:
            self.unknown(lrp)
        self._wake.set()

    async def _post(self, url: str, body: list[dict[str, Any]] | None) -> int | None:
        """The status of the answer; None if there was none, or one of a server in trouble."""
        try:
            response = await self.client.post(url, json=body) if body is not None else await self.client.post(url)
        except httpx.TransportError as error:
            self.log.info("%s does not answer: %s", url, error or type(error).__name__)
            return None
        if response.is_server_error:
            self.log.warning("%s answers %d: %s", url, response.status_code, response.text[:200])
            return None
        return response.status_code
