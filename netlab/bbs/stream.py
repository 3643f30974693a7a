"""The event stream: server-sent events, each a protobuf message in base64, numbered from 0 in each connection.

Nothing is replayed: a subscriber lists the present state after it has subscribed. One that reads too slowly is cut
off instead of waited for, and starts anew.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterable
from dataclasses import dataclass, field

from google.protobuf.message import Message
from starlette.types import Receive, Scope, Send

PENDING_LIMIT = 8 << 20
"""Bytes that may wait for one subscriber."""


@dataclass(eq=False)
class Subscriber:
    """One connection's share of the events."""

    cell_id: str = ""
    """Instance events of this cell only; empty is all."""
    _pending: list[bytes] = field(default_factory=list)
    _pending_bytes: int = 0
    _next_id: int = 0
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once no more events will come."""

    def put(self, event: bytes) -> None:
        """Add one event, encoded but for its number."""
        chunk = b"id: %d\n%s" % (self._next_id, event)
        self._next_id += 1
        self._pending_bytes += len(chunk)
        if self._pending_bytes > PENDING_LIMIT:
            self.closed.set()
            return
        self._pending.append(chunk)
        self._wake.set()

    async def take(self) -> bytes:
        """Everything that waits, as soon as there is something."""
        await self._wake.wait()
        self._wake.clear()
        chunk = b"".join(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return chunk


class Hub:
    """All subscribers."""

    def __init__(self) -> None:
        self._subscribers: set[Subscriber] = set()

    def subscribe(self, cell_id: str = "") -> Subscriber:
        """A new subscriber; it gets every event from now on."""
        subscriber = Subscriber(cell_id)
        self._subscribers.add(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """Forget a subscriber."""
        self._subscribers.discard(subscriber)

    def publish(self, name: str, message: Message, cells: Iterable[str] | None = None) -> None:
        """Give an event to everybody, or to those who want all cells or one of `cells`."""
        if not self._subscribers:
            return
        data = base64.b64encode(message.SerializeToString())
        event = b"event: %s\ndata: %s\n\n" % (name.encode(), data)
        for subscriber in list(self._subscribers):
            if cells is None or not subscriber.cell_id or subscriber.cell_id in cells:
                subscriber.put(event)
                if subscriber.closed.is_set():
                    self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End every stream."""
        for subscriber in self._subscribers:
            subscriber.closed.set()
        self._subscribers.clear()


class EventStream:
    """The ASGI response that carries a subscriber's events until either side ends it."""

    def __init__(self, hub: Hub, cell_id: str = "") -> None:
        self._hub = hub
        self._subscriber = hub.subscribe(cell_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the headers at once, then events as they come."""
        subscriber = self._subscriber
        tasks = {
            asyncio.create_task(_send_events(subscriber, send)),
            asyncio.create_task(_disconnected(receive)),
            asyncio.create_task(subscriber.closed.wait()),
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.unsubscribe(subscriber)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _send_events(subscriber: Subscriber, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # An empty body sends the headers.
    await send({"type": "http.response.body", "body": b"", "more_body": True})
    while True:
        await send({"type": "http.response.body", "body": await subscriber.take(), "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
