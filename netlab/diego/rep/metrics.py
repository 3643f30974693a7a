"""What the containers of a cell use: processor, memory, disk."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.kernel import cgroup

_SPAN_SECONDS = 1.0
"""A rate is taken over at least so long, and its beginning moves on only then."""
_DISK_SECONDS = 10.0
"""How long the size of a folder counts as known."""


@dataclass(slots=True)
class _Seen:
    """What was read of one container before."""

    at: float
    cpu_ns: int
    cpu: float
    disk: int
    disk_at: float


class Metrics:
    """Samples the containers when somebody asks; `seen` keeps what a rate needs."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def sample(self, containers: dict[str, tuple[Path | None, Path]]) -> dict[str, dict[str, Any]]:
        """What each container uses now, by its guid; `containers` has the cgroup of its app, and its folder.

        `cpu` is the share of one processor (1.0 is all of it) since the last sample that was a second ago, at first
        since the container's beginning; `memory` and `disk` are in bytes. Those without a cgroup are left out.
        """
        self._seen = {guid: seen for guid, seen in self._seen.items() if guid in containers}
        found = {}
        for guid, (group, folder) in containers.items():
            with suppress(OSError):
                if group is not None:
                    found[guid] = self._one(guid, group, folder)
        return found

    def _one(self, guid: str, group: Path, folder: Path) -> dict[str, Any]:
        now, used = time.time(), cgroup.usage(group)
        seen = self._seen.get(guid)
        if seen is None:
            seen = self._seen[guid] = _Seen(group.stat().st_ctime, 0, 0.0, size(folder), now)
        if now - seen.at >= _SPAN_SECONDS or seen.cpu_ns == 0:
            seen.cpu = (used.cpu_ns - seen.cpu_ns) / 1e9 / max(now - seen.at, 1e-3)
            seen.at, seen.cpu_ns = now, used.cpu_ns
        if now - seen.disk_at > _DISK_SECONDS:
            seen.disk, seen.disk_at = size(folder), now
        return {"cpu": round(seen.cpu, 6), "memory": used.memory, "disk": seen.disk, "time": now}


def size(folder: Path) -> int:
    """The bytes that the files of a folder take on the disk, each once."""
    total = 0
    for directory, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(directory, name)).st_blocks * 512
    return total
