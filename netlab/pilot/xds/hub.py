"""The proxies that are connected, and how their streams learn that their view changed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from netlab.pilot.xds.proxy import Proxy
from netlab.pilot.xds.resources import View
from netlab.pilot.xds.session import DeltaSession


@dataclass(eq=False)
class Connection:
    """One proxy's stream."""

    proxy: Proxy
    session: DeltaSession
    wake: asyncio.Event
    since: float = field(default_factory=time.time)
    """Unix seconds at which the proxy connected."""
    pushed_at: float | None = None
    """When (`time.perf_counter`) the push began that is under way."""
    push_seconds: float | None = None
    """How long the last push took until the proxy had answered all of it."""

    def push_began(self) -> None:
        """A push was sent."""
        self.pushed_at = time.perf_counter()

    def answered(self) -> None:
        """The proxy answered something; if that was the last of a push, the push is over."""
        if self.pushed_at is not None and not self.session.busy:
            self.push_seconds = time.perf_counter() - self.pushed_at
            self.pushed_at = None


class Hub:
    """All connections; `view_of` says what a proxy is to have."""

    def __init__(self, view_of: Callable[[Proxy], View]) -> None:
        self.view_of = view_of
        self.connections: set[Connection] = set()

    @contextmanager
    def connected(self, proxy: Proxy, wake: asyncio.Event) -> Iterator[Connection]:
        """A proxy is connected for as long as the block lasts."""
        connection = Connection(proxy, DeltaSession(self.view_of(proxy)), wake)
        self.connections.add(connection)
        try:
            yield connection
        finally:
            self.connections.discard(connection)

    def wake(self, view: View) -> None:
        """The view changed: its proxies' streams will push."""
        oldest = view.revision
        for connection in self.connections:
            if connection.session.view is view:
                oldest = min(oldest, connection.session.revision)
                connection.wake.set()
        view.forget(oldest)
