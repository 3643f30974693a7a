"""The resources that a kind of proxy is to have. They are serialized once, whatever the number of proxies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as ProtoAny

from netlab.pilot.xds.types import PUSH_ORDER


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource; equal content has an equal version, also after a restart."""

    name: str
    version: str
    wire: bytes
    """The resource as it stands within a serialized DeltaDiscoveryResponse."""
    revision: int


@dataclass
class Table:
    """The resources of one type, in the order in which they last changed."""

    type_url: str
    resources: dict[str, Resource] = field(default_factory=dict)
    removed: dict[str, int] = field(default_factory=dict)
    """The revision at which a name was removed."""

    def put(self, name: str, body: bytes, revision: int) -> bool:
        """Add or change a resource, serialized; False if it is the same as before."""
        version = hashlib.blake2b(body, digest_size=8).hexdigest()
        old = self.resources.get(name)
        if old and old.version == version:
            return False
        # A message is the concatenation of its fields, so this is one element of the response's `resources`.
        resource = ProtoAny(type_url=self.type_url, value=body)
        wire = discovery_pb2.DeltaDiscoveryResponse(
            resources=[discovery_pb2.Resource(name=name, version=version, resource=resource)]
        ).SerializeToString()
        self.resources.pop(name, None)
        self.removed.pop(name, None)
        self.resources[name] = Resource(name, version, wire, revision)
        return True

    def remove(self, name: str, revision: int) -> bool:
        """Remove a resource; False if there is none of that name."""
        if self.resources.pop(name, None) is None:
            return False
        self.removed[name] = revision
        return True

    def since(self, revision: int) -> list[Resource]:
        """The resources that changed after `revision`, in the order of change."""
        found = []
        for resource in reversed(self.resources.values()):
            if resource.revision <= revision:
                break
            found.append(resource)
        found.reverse()
        return found

    def removed_since(self, revision: int) -> list[str]:
        """The names that were removed after `revision`."""
        return [name for name, when in self.removed.items() if when > revision]

    def differing(self, versions: Mapping[str, str]) -> list[Resource]:
        """The resources that a proxy with these versions lacks."""
        return [r for r in self.resources.values() if versions.get(r.name) != r.version]


@dataclass
class View:
    """All that one kind of proxy is to have; `revision` rises with every change."""

    name: str
    revision: int = 1
    tables: dict[str, Table] = field(default_factory=lambda: {t: Table(t) for t in PUSH_ORDER})

    def __iter__(self) -> Iterator[Table]:
        return iter(self.tables.values())

    def update(self, put: Mapping[str, Mapping[str, bytes]], removed: Mapping[str, set[str]]) -> dict[str, int]:
        """Apply one batch, by type; returns how many resources of each type differ from before."""
        revision = self.revision + 1
        counts: dict[str, int] = {}
        for type_url, table in self.tables.items():
            count = sum(table.put(n, b, revision) for n, b in put.get(type_url, {}).items())
            count += sum(table.remove(n, revision) for n in removed.get(type_url, ()))
            if count:
                counts[type_url] = count
        if counts:
            self.revision = revision
        return counts

    def forget(self, revision: int) -> None:
        """Drop what is remembered of removals up to `revision`, because every proxy knows of them."""
        for table in self:
            table.removed = {name: when for name, when in table.removed.items() if when > revision}
