"""A supervisor that is started before its lab has a name: it imports while the topology is still being read.

`netlab up` would otherwise wait for both, one after the other. Until it is given a lab it has made nothing and
is in no cgroup; if the socket to it is closed before, it ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from netlab.lab.paths import LabPaths


class EarlySupervisor:
    """The process that will be a lab's supervisor; use as a context manager, which ends it if it got no lab."""

    def __init__(self) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "netlab.lab.supervisor", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "PYTHONPATH": search_path()},
                start_new_session=True,
            )
        self._given = False

    def __enter__(self) -> Self:
        """Nothing is left to do: it runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the supervisor; one without a lab ends."""
        self._sock.close()
        if not self._given:
            self._process.kill()  # its fork server ends when the socket between them closes
            self._process.wait()

    def give(self, paths: LabPaths) -> subprocess.Popen[bytes]:
        """Make it the supervisor of the lab whose state is written; calls can be made at once.

        Returns the process, for a caller that outlives the lab and has to reap it.
        """
        paths.supervisor_log.parent.mkdir(exist_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            before = os.umask(0o177)
            try:
                listener.bind(str(paths.socket))
            finally:
                os.umask(before)
            listener.listen()
            socket.send_fds(self._sock, [paths.name.encode()], [listener.fileno()])
        self._given = True
        return self._process


def search_path() -> str:
    """PYTHONPATH for a process that must find this netlab, wherever it is started."""
    package_root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
