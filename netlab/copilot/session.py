"""The source's side of one MCP stream. Sans I/O: requests come in, responses come out.

The rules: one initial request per collection, at most one response outstanding per collection, a request whose
nonce is not the outstanding one is stale, and what was refused is not sent again before it changed.

Beyond them, changes of several collections belong together: a VirtualService that leads to another app is of no use
before the ServiceEntry that has the app's endpoints. So no change is sent while one is outstanding in any
collection, and then those of all collections are sent at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netlab.copilot.snapshot import Entry, Snapshot
from netlab.protocols import mcp_pb2 as mcp


class UnsupportedCollection(Exception):
    """The sink asked for a collection that does not exist; the stream ends with INVALID_ARGUMENT."""


@dataclass
class _Watch:
    initial_versions: dict[str, str]
    incremental: bool
    pending_nonce: str = ""
    pending_revision: int = 0
    answered_revision: int = 0
    """The revision of the last answer, accepted or not."""
    acked_revision: int | None = None
    """The revision the sink is known to have; None before its first ACK."""


@dataclass(frozen=True)
class Refusal:
    """A sink's NACK."""

    collection: str
    code: int
    message: str


@dataclass
class SourceSession:
    """What one sink has been sent, and has accepted."""

    snapshot: Snapshot
    sink: str = ""
    _watches: dict[str, _Watch] = field(default_factory=dict)
    _nonce: int = 0

    def receive(self, request: mcp.RequestResources) -> Refusal | None:
        """Take one request; returns the NACK if it is one. Raises UnsupportedCollection."""
        name = request.collection
        if name not in self.snapshot.collections:
            raise UnsupportedCollection(name)
        self.sink = request.sink_node.id or self.sink
        watch = self._watches.get(name)
        if watch is None:
            self._watches[name] = _Watch(dict(request.initial_resource_versions), request.incremental)
            return None
        if not watch.pending_nonce or request.response_nonce != watch.pending_nonce:
            return None
        watch.pending_nonce = ""
        watch.incremental = request.incremental
        if request.HasField("error_detail"):
            return Refusal(name, request.error_detail.code, request.error_detail.message)
        watch.acked_revision = watch.pending_revision
        watch.initial_versions = {}
        return None

    def responses(self) -> Iterator[mcp.Resources]:
        """What may be sent now; each response yielded counts as sent."""
        unanswered = any(watch.pending_nonce for watch in self._watches.values())
        # A copy: the sink may ask for another collection while a response is being sent.
        for name, watch in list(self._watches.items()):
            collection = self.snapshot.collections[name]
            if watch.pending_nonce or watch.answered_revision == collection.revision:
                continue
            if unanswered and watch.acked_revision is not None:
                continue
            self._nonce += 1
            response = self._response(name, watch)
            response.nonce = watch.pending_nonce = str(self._nonce)
            watch.pending_revision = watch.answered_revision = collection.revision
            yield response

    def _response(self, name: str, watch: _Watch) -> mcp.Resources:
        collection = self.snapshot.collections[name]
        changed: list[Entry] | None = None
        removed: list[str] = []
        if watch.incremental:
            if watch.acked_revision is None:
                changed, removed = collection.difference(watch.initial_versions)
            elif found := collection.since(watch.acked_revision):
                changed, removed = found
        return mcp.Resources(
            system_version_info=str(collection.revision),
            collection=name,
            resources=[e.resource for e in (collection.entries.values() if changed is None else changed)],
            removed_resources=removed,
            incremental=changed is not None,
        )
