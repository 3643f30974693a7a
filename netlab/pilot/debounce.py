"""Waits for a burst of changes to end."""

from __future__ import annotations

import asyncio


class Debounce:
    """`wait` returns once `quiet` seconds passed without `touch`, or `longest` seconds after the first one."""

    def __init__(self, quiet: float, longest: float) -> None:
        self._quiet = quiet
        self._longest = longest
        self._touched = asyncio.Event()

    def touch(self) -> None:
        """Something changed."""
        self._touched.set()

    async def wait(self) -> None:
        """Return after the next burst."""
        await self._touched.wait()
        loop = asyncio.get_running_loop()
        end = loop.time() + self._longest
        while True:
            self._touched.clear()
            quiet = min(self._quiet, end - loop.time())
            if quiet <= 0:
                return
            try:
                await asyncio.wait_for(self._touched.wait(), quiet)
            except TimeoutError:
                return
