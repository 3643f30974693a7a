"""An Istio resource as Pilot holds it, whichever source it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from google.protobuf.message import Message


class Key(NamedTuple):
    """What names a resource: its collection, namespace and name."""

    collection: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, collection: str, full_name: str) -> Key:
        """The key of `<name>` or `<namespace>/<name>`."""
        namespace, _, name = full_name.rpartition("/")
        return cls(collection, namespace, name)

    @property
    def full_name(self) -> str:
        """`<name>`, or `<namespace>/<name>`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Object:
    """One resource. `created` (seconds since the epoch) orders resources that compete; `version` is its source's."""

    key: Key
    version: str
    created: float
    body: Message

    @property
    def order(self) -> tuple[float, str]:
        """The order of precedence among equals: oldest first, then by name."""
        return (self.created, f"{self.key.name}.{self.key.namespace}")


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one key; None means that there is none."""

    key: Key
    old: Object | None
    new: Object | None
