"""The sink's side of one MCP stream. Sans I/O: responses come in; requests, and changes of the store, come out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from google.rpc import code_pb2

from netlab.pilot.source.objects import Change, Key, Object
from netlab.pilot.source.store import Store
from netlab.pilot.source.validate import problem
from netlab.protocols import mcp_collections as collections
from netlab.protocols import mcp_pb2 as mcp


@dataclass
class McpSink:
    """One source's content, across reconnects: call `requests` on each new stream, `receive` on each response."""

    store: Store
    source: int
    """The source's place in the order of precedence."""
    node_id: str
    answered: set[str] = field(default_factory=set)
    """The collections that have been answered at least once."""
    discarded: dict[Key, str] = field(default_factory=dict)
    """The resources that cannot be used, with the reason."""
    _versions: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in collections.ALL})

    @property
    def synced(self) -> bool:
        """Whether every collection was answered, be it with nothing."""
        return self.answered.issuperset(collections.ALL)

    def requests(self) -> Iterator[mcp.RequestResources]:
        """The first requests of a stream: one a collection, saying what is here already."""
        for collection in collections.ALL:
            request = self._request(collection)
            request.initial_resource_versions.update(self._versions[collection])
            yield request

    def receive(self, response: mcp.Resources) -> tuple[list[Change], mcp.RequestResources]:
        """Apply a response; returns what changed, and the ACK or NACK to send."""
        reply = self._request(response.collection)
        reply.response_nonce = response.nonce
        if response.collection not in self._versions:
            reply.error_detail.code = code_pb2.UNIMPLEMENTED
            reply.error_detail.message = f"unsupported collection {response.collection}"
            return [], reply
        changes, refused = self._apply(response)
        self.answered.add(response.collection)
        if refused:
            reply.error_detail.code = code_pb2.INVALID_ARGUMENT
            reply.error_detail.message = "; ".join(refused)
        return changes, reply

    def _apply(self, response: mcp.Resources) -> tuple[list[Change], list[str]]:
        name = response.collection
        versions = self._versions[name]
        removed = [Key.parse(name, full_name) for full_name in response.removed_resources]
        if not response.incremental:
            versions.clear()
            for key in [key for key in self.discarded if key.collection == name]:
                del self.discarded[key]
        for key in removed:
            versions.pop(key.full_name, None)
            self.discarded.pop(key, None)
        objects: dict[Key, Object] = {}
        refused = []
        for resource in response.resources:
            key = Key.parse(name, resource.metadata.name)
            versions[key.full_name] = resource.metadata.version
            found = _decode(key, resource)
            if isinstance(found, Object):
                objects[key] = found
                self.discarded.pop(key, None)
            else:
                self.discarded[key] = found
                refused.append(f"{key.full_name}: {found}")
        if response.incremental:
            # A resource that turned bad is discarded; what was there before it stays in force.
            return self.store.update(self.source, objects.values(), removed), refused
        kept = {o.key: o for o in self.store.of_source(self.source, name) if o.key in self.discarded}
        return self.store.replace(self.source, name, kept | objects), refused

    def _request(self, collection: str) -> mcp.RequestResources:
        return mcp.RequestResources(sink_node=mcp.SinkNode(id=self.node_id), collection=collection, incremental=True)


def _decode(key: Key, resource: mcp.Resource) -> Object | str:
    """The object, or why it cannot be used."""
    kind = collections.KINDS.get(key.collection)
    if kind is None:
        return f"nothing is made of {key.collection}"
    expected = collections.type_url(kind)
    if resource.body.type_url != expected:
        return f"it is a {resource.body.type_url}, not a {expected}"
    try:
        body = kind.FromString(resource.body.value)
    except DecodeError:
        return f"it cannot be read as {expected}"
    wrong = problem(body)
    if wrong:
        return wrong
    metadata = resource.metadata
    created = metadata.create_time.ToNanoseconds() / 1e9 if metadata.HasField("create_time") else time.time()
    return Object(key, metadata.version, created, body)
