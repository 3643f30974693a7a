"""Work that costs about as much for many as for one: whatever is asked for at about the same time is done at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from netlab.errors import NetlabError

_Item = TypeVar("_Item")


class Batch(Generic[_Item]):
    """Collects items until the event loop comes round, then hands them to `work`, which blocks.

    `work` must be idempotent: if it fails for many, it is called for each, so that only the culprit's caller sees
    the error.
    """

    def __init__(self, work: Callable[[Sequence[_Item]], None]) -> None:
        self._work = work
        self._waiting: list[tuple[_Item, asyncio.Future[None]]] = []

    async def do(self, item: _Item) -> None:
        """Return once `item` is done; raises the NetlabError or OSError of its own work."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._run)
        self._waiting.append((item, done))
        await done

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            self._work([item for item, _ in waiting])
        except (NetlabError, OSError) as error:
            if len(waiting) > 1:
                for pair in waiting:
                    self._waiting = [pair]
                    self._run()
            else:
                _settle(waiting[0][1], error)
        else:
            for _, done in waiting:
                _settle(done, None)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():  # whoever asked was cancelled
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
