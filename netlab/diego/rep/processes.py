"""The processes of containers: those that this rep started, and those that it found when it started itself."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

from netlab.kernel.process import Child


class Watched:
    """One process, and a future for its end. Must be made inside the event loop."""

    def __init__(self, pid: int, pidfd: int, child: Child | None = None) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._child = child
        loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[int | None] = loop.create_future()
        """The exit status (or minus the signal); None where only the fact is known, as it is no child."""
        loop.add_reader(pidfd, self._ended)

    def signal(self, number: int) -> None:
        """Send a signal; does nothing if the process has ended."""
        if not self.exited.done():
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _ended(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        if self._child is not None:
            self.exited.set_result(self._child.reap())
        else:
            os.close(self._pidfd)
            self.exited.set_result(None)


def watch(child: Child) -> Watched:
    """Watch a process that this one started."""
    return Watched(child.pid, child.wait_fd, child)


def adopt(pid: int | None, namespace: Path) -> Watched | None:
    """Watch the process that an earlier rep started in `namespace`; None if it is gone or the pid is another's now."""
    if pid is None:
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        alive = os.stat(f"/proc/{pid}/ns/net").st_ino == namespace.stat().st_ino
    except OSError:  # it ended since, or the namespace is gone
        alive = False
    if not alive:
        os.close(pidfd)
        return None
    return Watched(pid, pidfd)


def describe(status: int | None) -> str:
    """How a process ended, in words."""
    if status is None:
        return "ended"
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"exited with status {status}"
