"""The supervisor: one process a lab that starts, watches, restarts and stops the lab's jobs.

`netlab up` starts it with the listening end of the lab's socket; it outlives `netlab up` and serves the calls
of netlab.lab.wire. Run as `python -m netlab.lab.supervisor LAB FD`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import setproctitle


def main(argv: list[str]) -> int:
    """Become the supervisor of the lab argv[0], which listens on file descriptor argv[1]."""
    name, listener = argv[0], socket.socket(fileno=int(argv[1]))
    from netlab.lab import state

    lab = state.read(name)
    group = Path(lab["cgroup"]) / "supervisor"
    try:
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text("0")
    except FileNotFoundError:  # `netlab down` was quicker
        return 0
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (here, there):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
    # The fork server is forked before anything is imported, so that both import at the same time.
    if os.fork() == 0:
        here.close()
        listener.close()
        from netlab.lab import forkserver

        setproctitle.setproctitle(f"netlab: {name} fork server")
        forkserver.serve(there)
        os._exit(0)
    there.close()
    setproctitle.setproctitle(f"netlab: {name} supervisor")
    import asyncio

    from netlab.lab.service import Service

    asyncio.run(Service.run(lab, listener, here))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
