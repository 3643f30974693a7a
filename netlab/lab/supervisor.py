"""The supervisor: one process a lab that starts, watches, restarts and stops the lab's jobs.

`netlab up` starts it early (netlab.lab.early) and then gives it a lab; it outlives `netlab up` and serves the
calls of netlab.lab.wire. Run as `python -m netlab.lab.supervisor FD`, where FD is the socket that brings the
lab's name and the listening end of its socket.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import setproctitle

BUFFER = 1 << 20
"""Bytes of requests that may wait for a fork server that is importing."""


def main(argv: list[str]) -> int:
    """Become the supervisor of the lab that arrives on file descriptor argv[0]."""
    giver = socket.socket(fileno=int(argv[0]))
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (here, there):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    # The fork server is forked before anything is imported, so that both import at the same time.
    fork_server = os.fork()
    if fork_server == 0:
        here.close()
        giver.close()
        _be_fork_server(there)
    there.close()
    from netlab.lab import forkserver, mesh

    forkserver.send(here, {"op": "preload", "modules": [mesh.PRELOAD_FIRST]})
    import asyncio

    from netlab.lab import state
    from netlab.lab.paths import LabPaths
    from netlab.lab.service import Service

    name, fds, _flags, _address = socket.recv_fds(giver, 256, 1)
    if not name:  # no lab came of it
        return 0
    lab = state.read(name.decode())
    setproctitle.setproctitle(f"netlab: {lab['name']} supervisor")
    group = Path(lab["cgroup"]) / "supervisor"
    try:
        group.mkdir(exist_ok=True)
        for pid in (os.getpid(), fork_server):
            (group / "cgroup.procs").write_text(str(pid))
    except FileNotFoundError:  # `netlab down` was quicker
        return 0
    log = LabPaths(lab["name"]).supervisor_log
    forkserver.send(here, {"op": "settle", "lab": lab["name"], "log": str(log)})
    forkserver.redirect_output(log)
    asyncio.run(Service.run(lab, socket.socket(fileno=fds[0]), here))
    return 0


def _be_fork_server(sock: socket.socket) -> None:
    from netlab.lab import forkserver

    forkserver.serve(sock)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
