"""What a test could leave behind on this machine, and which of it is the test's own.

Looked at: namespaces under /run/netns, the links of the machine's own namespace, mounts, processes in netlab's
cgroups, and files under /run/netlab and /etc/netns. Nothing is looked at that needs root.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RUN_DIR = Path("/run/netlab")
NETNS_DIR = Path("/run/netns")
ETC_NETNS = Path("/etc/netns")
GRACE = 3.0
"""Seconds that things on their way out get: the kernel drops mounts and processes a moment after it was told."""


@dataclass(frozen=True, slots=True, order=True)
class Trace:
    """One thing on the machine: what it is, its name, and the lab it belongs to (empty: none)."""

    kind: str
    name: str
    lab: str = ""

    def __str__(self) -> str:
        """As a report names it."""
        return f"{self.kind} {self.name}"


def observe() -> frozenset[Trace]:
    """Everything on the machine that a lab or a kernel test could have made; a few milliseconds."""
    found = [*_entries("namespace", NETNS_DIR), *_entries("file", ETC_NETNS), *_mounts(), *_processes()]
    found += [Trace("folder", str(path), path.name) for path in _listing(RUN_DIR)]
    found += [Trace("link", name) for _, name in socket.if_nameindex()]
    return frozenset(found)


def left_behind(before: frozenset[Trace]) -> list[Trace]:
    """What has come since `before` and is not about to go. Objects of labs that were up then are theirs to change.

    An object whose name carries the id of another living process is that process's. In a worker of pytest-xdist only
    those count that carry the worker's own.
    """
    labs = {trace.lab for trace in before if trace.lab}
    deadline = time.monotonic() + GRACE
    waiting = threading.Event()
    while True:
        new = sorted(trace for trace in observe() - before if trace.lab not in labs and _is_ours(trace))
        if not new or time.monotonic() > deadline:
            return new
        waiting.wait(0.05)


def _is_ours(trace: Trace) -> bool:
    numbers = {int(digits) for digits in re.findall(r"\d+", f"{trace.lab} {trace.name}") if 2 < len(digits) < 8}
    if os.getpid() in numbers:
        return True
    if "PYTEST_XDIST_WORKER" in os.environ:
        return False
    return not any(Path(f"/proc/{number}").exists() for number in numbers)


def _listing(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def _lab_of(path: str) -> str:
    """The lab whose run folder a path lies in."""
    inside = path.removeprefix(f"{RUN_DIR}/")
    return inside.partition("/")[0] if inside != path else ""


def _entries(kind: str, directory: Path) -> Iterator[Trace]:
    for path in _listing(directory):
        target = ""
        with suppress(OSError):
            target = str(path.readlink())
        yield Trace(kind, str(path), _lab_of(target))


def _mounts() -> Iterator[Trace]:
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            point = before.split(" ")[4]
            lab = _lab_of(point)
            if lab or after.startswith("nsfs "):
                yield Trace("mount", point, lab)


def _processes() -> Iterator[Trace]:
    from netlab.kernel import cgroup

    base = cgroup.root()
    for group in _listing(base / "netlab") if base is not None else []:
        for pid in cgroup.processes(group):
            with suppress(OSError):
                name = Path(f"/proc/{pid}/comm").read_text().strip()
                yield Trace("process", f"{name} [{pid}] of lab {group.name}", group.name)
