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

FORK_SERVERS = ("host", "control")
"""One imports what acts on the machine (network, reps, load balancer, tasks), the other the control plane."""
BUFFER = 1 << 20
"""Bytes of requests that may wait for a fork server that is importing."""


def main(argv: list[str]) -> int:
    """Become the supervisor of the lab that arrives on file descriptor argv[0]."""
    giver = socket.socket(fileno=int(argv[0]))
    # The fork servers are forked before anything is imported, so that all import at the same time.
    fork_servers = {name: _start_fork_server(giver) for name in FORK_SERVERS}
    from netlab.lab import forkserver, mesh

    for server, (_, sock) in fork_servers.items():
        forkserver.send(sock, {"op": "preload", "modules": mesh.PRELOAD_FIRST[server]})
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
        for pid in (os.getpid(), *(pid for pid, _ in fork_servers.values())):
            (group / "cgroup.procs").write_text(str(pid))
    except FileNotFoundError:  # `netlab down` was quicker
        return 0
    log = LabPaths(lab["name"]).supervisor_log
    for server, (_, sock) in fork_servers.items():
        forkserver.send(sock, {"op": "settle", "title": f"{lab['name']} fork server ({server})", "log": str(log)})
    forkserver.redirect_output(log)
    sockets = {server: sock for server, (_, sock) in fork_servers.items()}
    asyncio.run(Service.run(lab, socket.socket(fileno=fds[0]), sockets))
    return 0


def _start_fork_server(giver: socket.socket) -> tuple[int, socket.socket]:
    """Fork one; its pid and the socket to it."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (here, there):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    pid = os.fork()
    if pid == 0:
        here.close()
        giver.close()
        from netlab.lab import forkserver

        forkserver.serve(there)
        os._exit(0)
    there.close()
    return pid, here


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
