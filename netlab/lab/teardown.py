"""Taking a lab down from what the kernel and the lab's folder show: no supervisor, topology or state needed.

Whatever happened before (a crash, kill -9 in the middle of `up`), the order is the same: kill the cgroup, so
that nothing can make anything new; drop the namespaces, which takes links, addresses, routes and rules with
them; remove the files. Each step is idempotent.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from netlab.kernel import cgroup, netns
from netlab.lab.paths import ETC_NETNS, RUN_DIR, LabPaths


def exists(name: str) -> bool:
    """Whether anything of a lab is there: its folder or its cgroup."""
    return LabPaths(name).run_dir.exists() or cgroup.path("netlab", name).exists()


def destroy(name: str) -> None:
    """Remove every process, namespace and file of a lab; does nothing if there is none."""
    paths = LabPaths(name)
    group = cgroup.path("netlab", name)
    if group.exists():
        cgroup.leave(group)
        cgroup.kill(group)
    netns.unmount_directory(paths.namespaces)
    _unlink_into(netns.NETNS_DIR, paths.namespaces)
    _unlink_into(ETC_NETNS, paths.run_dir / "etc")
    shutil.rmtree(paths.run_dir, ignore_errors=True)
    cgroup.remove(group)
    for directory in (RUN_DIR, cgroup.path("netlab")):
        with contextlib.suppress(OSError):  # another lab is still there
            directory.rmdir()


def _unlink_into(directory: Path, target: Path) -> None:
    """Remove the symbolic links of `directory` that point below `target`: they are ours by where they lead."""
    if not directory.is_dir():
        return
    for link in directory.iterdir():
        if link.is_symlink() and link.readlink().is_relative_to(target):
            link.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else's entries, or a mount point
        directory.rmdir()
