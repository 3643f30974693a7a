"""Which cells report. In Diego they do so through Locket; here a rep sends its presence to the BBS itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from netlab.bbs.store import Store
from netlab.protocols import bbs_pb2


@dataclass
class Presence:
    """The last heartbeat of each cell; a cell that a restarted BBS knows of has its full time to report again."""

    store: Store
    ttl: float
    """Seconds after a heartbeat until the cell counts as lost."""
    appeared: Callable[[str], None]
    lost: Callable[[str], None]
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict)

    def start(self) -> None:
        """Begin to wait for the heartbeats of the cells that the store knows."""
        for cell_id in self.store.cells:
            self._expect(cell_id)

    def heartbeat(self, cell: bbs_pb2.CellPresence) -> None:
        """A cell reports; a new one may get instances at once."""
        self._expect(cell.cell_id)
        known = self.store.cells.get(cell.cell_id)
        if known != cell:
            self.store.write(cells={cell.cell_id: cell})
        if known is None:
            self.appeared(cell.cell_id)

    def _expect(self, cell_id: str) -> None:
        timer = self._timers.get(cell_id)
        if timer is not None:
            timer.cancel()
        self._timers[cell_id] = asyncio.get_running_loop().call_later(self.ttl, self._expire, cell_id)

    def _expire(self, cell_id: str) -> None:
        del self._timers[cell_id]
        self.store.write(cells={cell_id: None})
        self.lost(cell_id)
