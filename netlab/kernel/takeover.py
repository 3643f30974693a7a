"""Turning this process into a program that runs inside a namespace: what `netlab exec` does."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from netlab.errors import KernelError, UsageError
from netlab.kernel import netns as namespaces
from netlab.kernel import syscalls
from netlab.kernel.process import RESOLV_CONF


def execute(argv: Sequence[str], *, netns: Path, resolv_conf: Path | None, cgroup: Path) -> NoReturn:
    """Run `argv` in a network namespace, with its own resolv.conf, in place of this process.

    Raises UsageError if there is no such program, KernelError if the namespace cannot be entered.
    """
    cgroup.mkdir(exist_ok=True)
    (cgroup / "cgroup.procs").write_text("0")
    namespaces.enter(netns)
    try:
        if resolv_conf is not None:
            syscalls.unshare(syscalls.CLONE_NEWNS)
            syscalls.mount("", Path("/"), flags=syscalls.MS_REC | syscalls.MS_SLAVE)
            # The copy of the lab's namespace mounts would keep every namespace alive as long as this process.
            syscalls.unmount(netns.parent)
            syscalls.mount(str(resolv_conf), RESOLV_CONF.resolve(), flags=syscalls.MS_BIND)
    except OSError as error:
        raise KernelError(f"give the command its own resolv.conf: {error.strerror}", errno=error.errno) from error
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(argv[0], list(argv))  # noqa: S606 - no shell is the point
    except FileNotFoundError:
        raise UsageError(f"there is no program {argv[0]}", command=argv[0]) from None
    except PermissionError:
        raise UsageError(f"{argv[0]} is not a program that can be run", command=argv[0]) from None
