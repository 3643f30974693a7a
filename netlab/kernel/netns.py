"""Network namespaces that have a name: making, entering and dropping them.

A namespace lives as long as a bind mount of it does. The mounts stand in a private tmpfs of the lab, because a
mount directly under /run/netns is copied into every mount namespace of the machine, which costs more with each
and keeps the network namespace alive there. A symlink under /run/netns lets `ip netns exec` find it all the same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from netlab.errors import ForeignObjectError, KernelError
from netlab.kernel import rtnetlink, syscalls

NETNS_DIR = Path("/run/netns")
"""Where iproute2 looks for namespaces by name."""

_OWN = "/proc/thread-self/ns/net"
_Result = TypeVar("_Result")

# A new namespace copies some of these from the machine's own one, or enables them; the lab must not depend on either.
_INITIAL_SYSCTLS = (
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    # Without this each link floods its segment with router solicitations and duplicate address detection.
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("net/ipv6/conf/default/disable_ipv6", "1"),
)


def mount_directory(path: Path) -> None:
    """Mount a private tmpfs on `path` for the mounts of namespaces; does nothing if it is mounted already.

    Raises `KernelError` if the kernel refuses.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if os.path.ismount(path):
            return
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("netlab", path, "tmpfs", flags, "mode=0755,size=1m,nr_inodes=64k")
        syscalls.mount("", path, flags=syscalls.MS_PRIVATE)
    except OSError as error:
        raise _kernel_error(f"mount the namespace directory {path}", error) from error


def unmount_directory(path: Path) -> None:
    """Drop every namespace mounted in `path` at once, their symlinks, and the tmpfs; does nothing if it is gone."""
    with suppress(FileNotFoundError):
        for entry in path.iterdir():
            _remove_symlink(entry.name, path)
    try:
        while os.path.ismount(path):
            syscalls.unmount(path)
        # A mount namespace made meanwhile has copies of all mounts here; they go with the directory under them.
        with suppress(FileNotFoundError):
            path.rmdir()
    except OSError as error:
        raise _kernel_error(f"unmount the namespace directory {path}", error) from error


def exists(name: str, directory: Path) -> bool:
    """Whether `directory`/`name` is a mounted network namespace; a left-over plain file is not."""
    try:
        return (directory / name).stat().st_dev == os.stat(_OWN).st_dev
    except FileNotFoundError:
        return False


def create(name: str, directory: Path) -> Path:
    """Make the namespace `name`, mounted at `directory`/`name`, and return that path; one that exists stays as it is.

    In a new namespace `lo` is up, IPv6 and reverse path filtering are off and nothing is forwarded. Raises
    `ForeignObjectError` if somebody else's namespace has the name, `KernelError` if the kernel refuses.
    """
    create_many([name], directory)
    return directory / name


def create_many(names: Sequence[str], directory: Path) -> list[str]:
    """Make each namespace in `names` as `create` does, with one thread for all; returns those that were new."""
    missing = []
    for name in names:
        if exists(name, directory):
            _make_symlink(name, directory)
        else:
            missing.append(name)

    def work() -> None:
        # New namespaces are all alike, so the first one tells which settings have to be written.
        settings: list[tuple[str, str]] | None = None
        for name in missing:
            try:
                settings = _create_here(name, directory, settings)
            except OSError as error:
                raise _kernel_error(f"create namespace {name}", error) from error

    if missing:
        NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
        in_thread(work)
    return missing


def delete(name: str, directory: Path) -> None:
    """Drop the namespace `name`, if it is there; its links go as soon as its last process and socket do."""
    _remove_symlink(name, directory)
    path = directory / name
    try:
        if exists(name, directory):
            syscalls.unmount(path)
        # As above: copies of the mount go with the file.
        with suppress(FileNotFoundError):
            path.unlink()
    except OSError as error:
        raise _kernel_error(f"delete namespace {name}", error) from error


def enter(path: Path) -> None:
    """Put the calling thread into the namespace at `path`, for good."""
    try:
        there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(there)
        finally:
            os.close(there)
    except OSError as error:
        raise _kernel_error(f"enter namespace {path.name}", error) from error


@contextmanager
def entered(path: Path) -> Iterator[None]:
    """Put the calling thread, and no other, into the namespace at `path`; it comes back however the block ends."""
    try:
        home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                syscalls.setns(there)
            finally:
                os.close(there)
        except OSError:
            os.close(home)
            raise
    except OSError as error:
        raise _kernel_error(f"enter namespace {path.name}", error) from error
    try:
        yield
    finally:
        syscalls.setns(home)
        os.close(home)


def in_thread(work: Callable[[], _Result]) -> _Result:
    """Run `work` in a thread that ends with it, so that whatever namespace it enters stays its own affair."""
    outcome: list[_Result] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="netlab-netns")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def _create_here(name: str, directory: Path, settings: list[tuple[str, str]] | None) -> list[tuple[str, str]]:
    """Make one namespace and leave the calling thread inside it; returns the settings that had to be written."""
    _make_symlink(name, directory)
    syscalls.unshare(syscalls.CLONE_NEWNET)
    if settings is None:
        settings = [(key, value) for key, value in _INITIAL_SYSCTLS if _differs(key, value)]
    for key, value in settings:
        write_sysctl(key, value)
    with rtnetlink.Batch() as batch:
        batch.send([rtnetlink.link_up(1)])
    # The mount comes last: a namespace that has a name is a complete one, even after a kill in between.
    path = directory / name
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o444))
    syscalls.mount(_OWN, path, flags=syscalls.MS_BIND)
    return settings


def _differs(key: str, value: str) -> bool:
    # A kernel without IPv6 has no switch for it.
    with suppress(FileNotFoundError):
        return read_sysctl(key) != value
    return False


def write_sysctl(key: str, value: str) -> None:
    """Write one setting below /proc/sys, given by its path there, in the calling thread's namespace."""
    fd = os.open(f"/proc/sys/{key}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode())
    finally:
        os.close(fd)


def read_sysctl(key: str) -> str:
    """Read one setting below /proc/sys, given by its path there, in the calling thread's namespace."""
    return Path("/proc/sys", key).read_text(encoding="utf-8").strip()


def _make_symlink(name: str, directory: Path) -> None:
    link, target = NETNS_DIR / name, str(directory / name)
    NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
    try:
        link.symlink_to(target)
        return
    except FileExistsError:
        pass
    if link.is_symlink():
        if os.readlink(link) == target:
            return
        if not link.exists():
            # It points to a namespace that is gone, so it is nobody's.
            link.unlink()
            link.symlink_to(target)
            return
    raise ForeignObjectError(
        f"namespace {name}: {link} exists already and is not this lab's",
        hint=f"remove it with `ip netns delete {name}`, or give the lab another name",
        path=str(link),
    )


def _remove_symlink(name: str, directory: Path) -> None:
    link = NETNS_DIR / name
    with suppress(FileNotFoundError, OSError):
        if os.readlink(link) == str(directory / name):
            link.unlink()


def _kernel_error(what: str, error: OSError) -> KernelError:
    return KernelError(f"{what}: {error.strerror}", errno=error.errno)
