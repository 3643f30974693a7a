"""The configuration of all sources as one: of resources with the same key the first source's is used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from netlab.pilot.source.objects import Change, Key, Object


@dataclass
class Store:
    """Objects by key and source; `sources` are numbered in order of precedence."""

    _by_source: defaultdict[int, dict[Key, Object]] = field(default_factory=lambda: defaultdict(dict))
    _merged: dict[Key, Object] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Object]:
        return iter(self._merged.values())

    def get(self, key: Key) -> Object | None:
        """The object in force."""
        return self._merged.get(key)

    def of_source(self, source: int, collection: str) -> list[Object]:
        """What a source has in a collection, in force or not."""
        return [o for o in self._by_source[source].values() if o.key.collection == collection]

    def update(self, source: int, put: Iterable[Object], removed: Iterable[Key]) -> list[Change]:
        """Add, change and remove objects of a source; returns what changed of what is in force."""
        mine = self._by_source[source]
        touched: dict[Key, None] = {}
        for key in removed:
            if mine.pop(key, None):
                touched[key] = None
        for item in put:
            old = mine.get(item.key)
            if old is None or old.version != item.version or not item.version:
                mine[item.key] = item
                touched[item.key] = None
        return list(self._merge(touched))

    def replace(self, source: int, collection: str, objects: Mapping[Key, Object]) -> list[Change]:
        """Take a source's complete collection; returns what changed of what is in force."""
        gone = [o.key for o in self.of_source(source, collection) if o.key not in objects]
        return self.update(source, objects.values(), gone)

    def _merge(self, keys: Iterable[Key]) -> Iterator[Change]:
        for key in keys:
            old = self._merged.get(key)
            new = next((self._by_source[s][key] for s in sorted(self._by_source) if key in self._by_source[s]), None)
            if new is old:
                continue
            if new is None:
                del self._merged[key]
            else:
                self._merged[key] = new
            yield Change(key, old, new)
