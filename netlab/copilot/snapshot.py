"""The resources on offer to Pilot, collection by collection, and what changed since when.

Each collection counts its revisions. Entries are kept in the order in which they last changed, so what is new
since a revision is found from the end, at the cost of the change and not of the collection.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from netlab.protocols import mcp_collections as collections
from netlab.protocols import mcp_pb2 as mcp

_TOMBSTONES = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One resource as it goes on the wire, and the collection's revision that brought it."""

    resource: mcp.Resource
    revision: int

    @property
    def version(self) -> str:
        """The resource's version: a hash of its body, so a restart changes nothing."""
        return self.resource.metadata.version


@dataclass
class Collection:
    """The resources of one kind."""

    revision: int = 1
    """Rises with every change; even an empty collection has one, because "empty" is an answer too."""
    entries: dict[str, Entry] = field(default_factory=dict)
    tombstones: dict[str, int] = field(default_factory=dict)
    """When a name was removed, in order."""
    oldest: int = 0
    """Changes since a revision below this one are no longer known; the answer is then the full state."""
    _open: bool = False

    def put(self, name: str, body: Message, created: Timestamp) -> bool:
        """Add or change a resource; False if its body is what it was. A resource keeps its creation time."""
        value = body.SerializeToString(deterministic=True)
        version = hashlib.blake2b(value, digest_size=8).hexdigest()
        old = self.entries.get(name)
        if old and old.version == version:
            return False
        metadata = mcp.Metadata(
            name=name, version=version, create_time=old.resource.metadata.create_time if old else created
        )
        resource = mcp.Resource(
            metadata=metadata, body=ProtoAny(type_url=collections.type_url(type(body)), value=value)
        )
        self._change()
        self.tombstones.pop(name, None)
        self.entries.pop(name, None)
        self.entries[name] = Entry(resource, self.revision)
        return True

    def remove(self, name: str) -> bool:
        """Remove a resource; False if there is none of that name."""
        if self.entries.pop(name, None) is None:
            return False
        self._change()
        self.tombstones.pop(name, None)
        self.tombstones[name] = self.revision
        while len(self.tombstones) > _TOMBSTONES:
            first = next(iter(self.tombstones))
            self.oldest = self.tombstones.pop(first)
        return True

    def seal(self) -> None:
        """End a batch of changes: all since the last seal share one revision."""
        self._open = False

    def since(self, revision: int) -> tuple[list[Entry], list[str]] | None:
        """What changed after `revision`: new or changed entries, removed names. None if that is forgotten."""
        if revision < self.oldest:
            return None
        removed = [name for name, when in self.tombstones.items() if when > revision]
        return list(_newer(self.entries, revision)), removed

    def difference(self, versions: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
        """What differs from a sink's `versions` by name: new or changed entries, names it should drop."""
        changed = [e for name, e in self.entries.items() if versions.get(name) != e.version]
        return changed, [name for name in versions if name not in self.entries]

    def _change(self) -> None:
        if not self._open:
            self.revision += 1
            self._open = True


def _newer(entries: dict[str, Entry], revision: int) -> Iterator[Entry]:
    for entry in reversed(entries.values()):
        if entry.revision <= revision:
            return
        yield entry


@dataclass
class Snapshot:
    """All collections of the protocol, most of them always empty."""

    collections: dict[str, Collection] = field(default_factory=lambda: {name: Collection() for name in collections.ALL})

    def seal(self) -> None:
        """End a batch of changes in every collection."""
        for collection in self.collections.values():
            collection.seal()
