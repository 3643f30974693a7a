"""Control groups (v2, wherever it is mounted): every process of a lab is in one, so ending them all is one write."""

from __future__ import annotations

import errno
import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netlab.errors import KernelError, MachineError, NetlabBug

LIMITS = frozenset({"memory", "pids", "cpu"})
"""The controllers that containers are limited by, where there are any."""


def root() -> Path | None:
    """Where the v2 hierarchy is mounted, or None; a machine with v1 too has it at /sys/fs/cgroup/unified."""
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if after.split(" ", 1)[0] == "cgroup2":
                return Path(before.split(" ")[4])
    return None


def path(*parts: str) -> Path:
    """Where the group `parts[0]/parts[1]/…` is, or would be.

    Raises MachineError if the machine has no v2 hierarchy.
    """
    base = root()
    if base is None:
        raise MachineError(
            "no cgroup v2 hierarchy is mounted; netlab keeps each lab's processes in one",
            hint="mount -t cgroup2 none /sys/fs/cgroup/unified",
        )
    return base.joinpath(*parts)


def leave(group: Path) -> None:
    """Move this process to the root group if it is in `group` or below, so that it survives that group's end."""
    base = root()
    if base is not None and os.getpid() in processes(group):
        (base / "cgroup.procs").write_text("0")


def create(*parts: str) -> Path | None:
    """Make the group `parts[0]/parts[1]/…` below the root, if it is not there, and return its directory.

    None where the machine has no v2 hierarchy or does not let it be written to, as in some containers.
    """
    base = root()
    if base is None:
        return None
    for part in parts:
        if not part or "/" in part or part in (".", ".."):
            raise NetlabBug(f"{part!r} is no name for a cgroup")
    path = base.joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            return None
        raise KernelError(f"create cgroup {path}: {error.strerror}", errno=error.errno) from error
    return path


def processes(path: Path) -> list[int]:
    """The processes in the group and in those below it; empty if it is gone."""
    found: list[int] = []
    for directory, _, _ in os.walk(path):
        with suppress(FileNotFoundError, OSError):
            found += map(int, Path(directory, "cgroup.procs").read_text().split())
    return found


def kill(path: Path, timeout: float = 5.0) -> None:
    """End every process in the group and below it, and wait until they are gone; fine if the group is gone.

    Raises `KernelError` if one is left after `timeout` seconds.
    """
    try:
        events = os.open(path / "cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        poller = select.poll()
        poller.register(events, select.POLLPRI)
        deadline = time.monotonic() + timeout
        while _populated(events):
            _kill_once(path)
            if not _populated(events):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                pids = processes(path)
                raise KernelError(f"end the processes of {path}: {pids} are left after {timeout:g} s", pids=pids)
            poller.poll(left * 1000)
    finally:
        os.close(events)


def remove(path: Path) -> None:
    """Remove the group and those below it, which must have no processes; fine if it is gone."""
    for directory, _, _ in os.walk(path, topdown=False):
        try:
            os.rmdir(directory)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KernelError(f"remove cgroup {directory}: {error.strerror}", errno=error.errno) from error


def _populated(events: int) -> bool:
    try:
        return b"populated 1" in os.pread(events, 4096, 0)
    except OSError as error:
        if error.errno == errno.ENODEV:  # removed meanwhile
            return False
        raise


def _kill_once(path: Path) -> None:
    try:
        (path / "cgroup.kill").write_text("1")
    except FileNotFoundError:
        # Kernels before 5.14 have no such file. A process may fork meanwhile; the caller comes again.
        for pid in processes(path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def delegate(group: Path) -> None:
    """Let the groups below this one use the controllers of LIMITS that the machine has; it must have no processes.

    A machine that has a controller in its v1 hierarchy, or whose group does not pass it on, simply lacks it.
    """
    base = root()
    if base is None:
        return
    outer = [each for each in group.parents if each == base or base in each.parents]
    for each in (*reversed(outer), group):
        control = each / "cgroup.subtree_control"
        for name in available(each) & LIMITS - _names(control):
            with suppress(OSError):
                control.write_text(f"+{name}")


def available(group: Path) -> frozenset[str]:
    """The controllers that a group has; none if it is gone."""
    return _names(group / "cgroup.controllers")


def limit(group: Path, *, memory: int | None = None, pids: int | None = None, cpu_weight: int | None = None) -> None:
    """Limit a group as far as it has the controllers: `memory` in bytes, `cpu_weight` from 1 to 10,000.

    Raises KernelError if a limit that could be set was refused.
    """
    wanted = {"memory.max": memory, "pids.max": pids, "cpu.weight": cpu_weight}
    if memory is not None:
        # Swapped out memory is no way round the limit.
        wanted["memory.swap.max"] = 0
    for name, value in wanted.items():
        if value is not None and (group / name).exists():
            try:
                (group / name).write_text(str(value))
            except OSError as error:
                raise KernelError(f"limit {group / name} to {value}: {error.strerror}", errno=error.errno) from error


@dataclass(frozen=True, slots=True)
class Usage:
    """What a group's processes have used: processor time in nanoseconds, and memory now in bytes."""

    cpu_ns: int
    memory: int


def usage(group: Path) -> Usage:
    """What a group uses; without a memory controller it is the processes' resident memory, added up.

    Raises FileNotFoundError if the group is gone.
    """
    times = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    try:
        memory = int((group / "memory.current").read_text())
    except FileNotFoundError:
        memory = sum(map(_resident, processes(group)))
    return Usage(1000 * int(times["usage_usec"]), memory)


def out_of_memory(group: Path) -> int:
    """How many processes the kernel has ended because the group was over its limit; 0 where it cannot say."""
    with suppress(OSError, ValueError, KeyError):
        events = dict(line.split() for line in (group / "memory.events").read_text().splitlines())
        return int(events["oom_kill"])
    return 0


def _names(path: Path) -> frozenset[str]:
    with suppress(OSError):
        return frozenset(path.read_text().split())
    return frozenset()


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
