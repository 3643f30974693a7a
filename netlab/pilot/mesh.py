"""Pilot's core: the store, its translation, and the views that proxies follow."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from netlab.pilot.debounce import Debounce
from netlab.pilot.source.objects import Change
from netlab.pilot.source.store import Store
from netlab.pilot.translate.index import Index
from netlab.pilot.translate.router import RouterTranslator
from netlab.pilot.translate.sidecar import sidecar
from netlab.pilot.xds.hub import Hub
from netlab.pilot.xds.proxy import Proxy
from netlab.pilot.xds.resources import View
from netlab.pilot.xds.types import SHORT


class Mesh:
    """Takes changes of the configuration, and keeps the views of routers and sidecars."""

    def __init__(self, store: Store, debounce: Debounce, log: logging.Logger) -> None:
        self.store = store
        self.hub = Hub(self.view_of)
        self._debounce = debounce
        self._log = log
        self._index = Index()
        self._translator = RouterTranslator(self._index)
        self._routers = View("router")
        self._sidecars: dict[tuple[int, ...], View] = {}
        self._pending: list[Change] = []

    def changed(self, changes: Sequence[Change]) -> None:
        """Note what changed in the store; it is translated once things are quiet."""
        if changes:
            self._pending.extend(changes)
            self._debounce.touch()

    async def run(self) -> None:
        """Translate for ever; ends by cancellation."""
        while True:
            await self._debounce.wait()
            self.translate()

    def translate(self) -> None:
        """Translate all that is pending, now."""
        changes, self._pending = self._pending, []
        started = time.perf_counter()
        update = self._translator.update(self._index.apply(changes))
        counts = self._routers.update(update.put, update.removed)
        if counts:
            self.hub.wake(self._routers)
            text = ", ".join(f"{count} {SHORT[type_url]}" for type_url, count in counts.items())
            self._log.info(
                "translated %d changes in %.1f ms: %s", len(changes), 1e3 * (time.perf_counter() - started), text
            )

    def view_of(self, proxy: Proxy) -> View:
        """What a proxy is to have. Sidecars of apps with the same ports share theirs."""
        if proxy.kind == "router":
            return self._routers
        if proxy.ports not in self._sidecars:
            view = View(f"sidecar {','.join(map(str, proxy.ports))}")
            view.update(sidecar(proxy.ports), {})
            self._sidecars[proxy.ports] = view
        return self._sidecars[proxy.ports]
