"""Starting a program in a namespace, with its own user, cgroup and resolver configuration.

The child is forked rather than spawned, because it has to enter namespaces before it drops its privileges. Whatever
fails before the program runs travels back through a pipe that exec closes, so the parent knows which step it was.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from netlab.errors import KernelError
from netlab.kernel import syscalls

RESOLV_CONF = Path("/etc/resolv.conf")

# What each step of the child is called when it fails; the pipe carries its position in this list.
_STEPS = (
    "join the cgroup",
    "enter the network namespace",
    "make a mount namespace",
    "replace /etc/resolv.conf",
    "open the output files",
    "set the limit of open files",
    "change to the directory",
    "drop privileges",
    "run it",
)
_CGROUP, _NETNS, _MOUNTS, _RESOLVER, _OUTPUT, _LIMIT, _DIRECTORY, _PRIVILEGES, _EXEC = range(len(_STEPS))
_REPORT = struct.Struct("=ii")


@dataclass(slots=True)
class Child:
    """A process that this one started. Call `reap` once `wait_fd` is readable."""

    pid: int
    pidfd: int
    status: int | None = None
    """The exit status, or minus the signal that ended it; None while it runs."""

    @property
    def wait_fd(self) -> int:
        """Becomes readable when the process ends; fit for `loop.add_reader`. -1 once reaped."""
        return self.pidfd

    def reap(self) -> int | None:
        """The exit status (or minus the signal) if the process has ended, and release it; None if it runs."""
        if self.status is None:
            pid, raw = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(raw)
                os.close(self.pidfd)
                self.pidfd = -1
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal; does nothing if the process has ended."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, number)


@dataclass(frozen=True, slots=True)
class _Start:
    """Everything the child needs, prepared by the parent: after the fork nothing may fail for a silly reason."""

    argv: tuple[str, ...]
    program: str
    program_fd: int
    env: dict[str, str]
    netns_fd: int | None
    netns_mount: Path | None
    uid: int | None
    gid: int | None
    cwd: Path | None
    stdout: Path | None
    stderr: Path | None
    resolv_conf: Path | None
    cgroup: Path | None
    nofile: int | None


def spawn(
    argv: Sequence[str | Path],
    *,
    netns: Path | None = None,
    uid: int | None = None,
    gid: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdout: Path | None = None,
    stderr: Path | None = None,
    resolv_conf: Path | None = None,
    cgroup: Path | None = None,
    nofile: int | None = None,
) -> Child:
    """Start a program and return once it runs.

    It leads a session of its own, reads /dev/null and inherits no file descriptor but its outputs, which are appended
    to `stdout` and `stderr` (created for `uid`), or shared with this process if None. `resolv_conf` is mounted over
    /etc/resolv.conf in a mount namespace of its own. A `uid` without `gid` means a group of the same number.
    Raises `KernelError` that names the step that failed.
    """
    words = tuple(os.fspath(word) for word in argv)
    environment = dict(os.environ if env is None else env)
    program = shutil.which(words[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise KernelError(f"start {words[0]}: no such program", errno=errno.ENOENT)
    opened: list[int] = []
    try:
        try:
            opened.append(program_fd := os.open(program, os.O_PATH | os.O_CLOEXEC))
            netns_fd = None
            if netns is not None:
                opened.append(netns_fd := os.open(netns, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise KernelError(f"start {words[0]}: {error.filename}: {error.strerror}", errno=error.errno) from error
        start = _Start(
            argv=words,
            program=program,
            program_fd=program_fd,
            env=environment,
            netns_fd=netns_fd,
            netns_mount=netns.resolve().parent if netns is not None else None,
            uid=uid,
            gid=uid if gid is None else gid,
            cwd=cwd,
            stdout=stdout,
            stderr=stderr,
            resolv_conf=resolv_conf,
            cgroup=cgroup,
            nofile=nofile,
        )
        return _fork(start)
    finally:
        for fd in opened:
            os.close(fd)


def _fork(start: _Start) -> Child:
    receiver, sender = os.pipe2(os.O_CLOEXEC)
    try:
        # A signal that arrives in the child before exec would run this process's Python handlers.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                _become(start, sender)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        os.close(sender)
        sender = -1
        pidfd = os.pidfd_open(pid)
        report = os.read(receiver, _REPORT.size)
    finally:
        os.close(receiver)
        if sender >= 0:
            os.close(sender)
    if len(report) == _REPORT.size:
        os.waitpid(pid, 0)
        os.close(pidfd)
        step, number = _REPORT.unpack(report)
        raise KernelError(
            f"start {start.argv[0]}: {_STEPS[step]}: {os.strerror(number)}", errno=number, step=_STEPS[step]
        )
    return Child(pid, pidfd)


def _become(start: _Start, sender: int) -> NoReturn:
    """In the child: take each step, then run the program; never returns."""
    step = _EXEC
    try:
        for step, take in enumerate(_TAKE):  # noqa: B007 - the position is the report
            take(start, sender)
    except OSError as error:
        os.write(sender, _REPORT.pack(step, error.errno or errno.EIO))
    finally:
        os._exit(127)


def _join_cgroup(start: _Start, _: int) -> None:
    os.setsid()
    if start.cgroup is not None:
        fd = os.open(start.cgroup / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        os.write(fd, b"0")
        os.close(fd)


def _enter_netns(start: _Start, _: int) -> None:
    if start.netns_fd is not None:
        syscalls.setns(start.netns_fd)


def _make_mounts(start: _Start, _: int) -> None:
    if start.resolv_conf is None:
        return
    syscalls.unshare(syscalls.CLONE_NEWNS)
    # What is mounted outside later is seen here, but not the other way round.
    syscalls.mount("", Path("/"), flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    if start.netns_mount is not None:
        # The copies of the lab's namespace mounts would keep every namespace alive as long as this process.
        try:
            syscalls.unmount(start.netns_mount)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOENT):  # it is no mount point
                raise


def _replace_resolver(start: _Start, _: int) -> None:
    if start.resolv_conf is not None:
        # It may be a symlink to a file of systemd-resolved; the mount has to cover that file.
        syscalls.mount(str(start.resolv_conf), RESOLV_CONF.resolve(), flags=syscalls.MS_BIND)


def _open_output(start: _Start, sender: int) -> None:
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    for target, path in ((1, start.stdout), (2, start.stderr)):
        if path is not None:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
            if start.uid is not None:
                os.fchown(fd, start.uid, -1 if start.gid is None else start.gid)
            os.dup2(fd, target)
    # Python's own descriptors close on exec anyway; those of C libraries may not.
    keep = sorted({sender, start.program_fd})
    low = 3
    for fd in keep:
        os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 20)


def _set_limit(start: _Start, _: int) -> None:
    if start.nofile is not None:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (start.nofile, start.nofile))
        except ValueError as error:
            raise OSError(errno.EPERM, str(error)) from error


def _change_directory(start: _Start, _: int) -> None:
    if start.cwd is not None:
        os.chdir(start.cwd)


def _drop_privileges(start: _Start, _: int) -> None:
    if start.gid is not None:
        os.setgroups([])
        os.setresgid(start.gid, start.gid, start.gid)
    if start.uid is not None:
        os.setresuid(start.uid, start.uid, start.uid)


def _execute(start: _Start, _: int) -> None:
    # Python ignores these two; a program expects the default.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    try:
        os.execve(start.program, start.argv, start.env)  # noqa: S606 - no shell is the point
    except PermissionError:
        # The new user may run the file but not walk to it, such as one below /root; a descriptor needs no walk.
        # A script's interpreter opens it by that descriptor again, so it must outlive exec.
        os.set_inheritable(start.program_fd, True)
        os.execve(start.program_fd, start.argv, start.env)  # noqa: S606


_TAKE = (
    _join_cgroup,
    _enter_netns,
    _make_mounts,
    _replace_resolver,
    _open_output,
    _set_limit,
    _change_directory,
    _drop_privileges,
    _execute,
)
