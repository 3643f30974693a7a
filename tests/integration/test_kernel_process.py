"""Programs started in namespaces, and the cgroups that end them."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
from pathlib import Path

import pytest

from netlab.errors import KernelError, NetlabBug
from netlab.kernel import cgroup, netns, process
from netlab.kernel.worker import forked
from tests.integration.workplace import Workplace, workplace

pytestmark = pytest.mark.root
__all__ = ["workplace"]


def finish(child: process.Child) -> int:
    assert select.select([child.wait_fd], [], [], 10)[0], "the program did not end"
    status = child.reap()
    assert status is not None
    assert child.wait_fd == -1
    assert child.reap() == status
    return status


@pytest.fixture
def output(tmp_path: Path) -> Path:
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    return tmp_path / "out"


def test_a_program_in_a_namespace(workplace: Workplace, output: Path, tmp_path: Path) -> None:
    (path,) = workplace.create("one")
    script = "id; pwd; echo $GREETING; ulimit -n; readlink /proc/self/ns/net; ls -x /proc/self/fd; echo oops >&2"
    child = process.spawn(
        ["sh", "-c", script],
        netns=path,
        uid=1337,
        gid=1338,
        env={"PATH": os.environ["PATH"], "GREETING": "hello there"},
        cwd=Path("/"),
        stdout=output,
        stderr=tmp_path / "err",
        nofile=2048,
    )
    assert finish(child) == 0
    identity, cwd, greeting, files, namespace, descriptors = output.read_text().splitlines()
    assert identity.startswith("uid=1337 gid=1338")
    assert identity.endswith("groups=1338")
    assert (cwd, greeting, files) == ("/", "hello there", "2048")
    assert namespace == f"net:[{path.stat().st_ino}]"
    assert descriptors.split() == ["0", "1", "2", "3"]
    assert (output.stat().st_uid, output.stat().st_gid, output.stat().st_mode & 0o777) == (1337, 1338, 0o640)
    assert (tmp_path / "err").read_text() == "oops\n"


def test_output_is_appended(output: Path) -> None:
    for word in ("one", "two"):
        assert finish(process.spawn(["echo", word], stdout=output)) == 0
    assert output.read_text() == "one\ntwo\n"


def test_a_resolver_of_its_own(workplace: Workplace, output: Path, tmp_path: Path) -> None:
    (path,) = workplace.create("one")
    config = tmp_path / "resolv.conf"
    config.write_text("nameserver 169.254.0.2\n")
    before = process.RESOLV_CONF.read_text() if process.RESOLV_CONF.exists() else None
    if before is None:
        pytest.skip("this machine has no /etc/resolv.conf")
    script = f"cat /etc/resolv.conf; grep -c {workplace.prefix} /proc/self/mountinfo"
    finish(process.spawn(["sh", "-c", script], netns=path, uid=2000, stdout=output, resolv_conf=config))
    # Of the lab's namespace mounts it has none, or it would keep every other namespace alive.
    assert output.read_text() == "nameserver 169.254.0.2\n0\n"
    assert process.RESOLV_CONF.read_text() == before


@pytest.mark.parametrize("how", ["spawn", "unshare"])
def test_a_mount_namespace_does_not_keep_the_namespaces_of_others(
    how: str, workplace: Workplace, tmp_path: Path
) -> None:
    workplace.line()
    if how == "spawn":
        config = tmp_path / "resolv.conf"
        config.touch()
        child = process.spawn(["sleep", "60"], netns=workplace.path("client"), resolv_conf=config)
    else:
        # As systemd starts services: they keep a copy of all mounts, and learn of changes.
        ready = tmp_path / "ready"
        os.mkfifo(ready)
        script = f"echo > {ready}; exec sleep 60"
        child = process.spawn(["unshare", "--mount", "--propagation", "slave", "sh", "-c", script])
        ready.read_text()
    with netns.entered(workplace.path("router")):
        watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        watch.bind((0, 1))
        watch.settimeout(10)
    with watch:
        if how == "spawn":
            netns.delete(workplace.name("server"), workplace.directory)
        else:
            netns.unmount_directory(workplace.directory)
        assert watch.recv(4096)
    child.signal(signal.SIGKILL)
    assert finish(child) == -signal.SIGKILL
    child.signal(signal.SIGKILL)


@pytest.mark.parametrize("name", ["program", "script"])
def test_a_program_that_its_user_cannot_walk_to(name: str, tmp_path: Path, output: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0o700)
    program = hidden / name
    if name == "script":
        program.write_text("#!/bin/sh\nexec id -u\n")
        program.chmod(0o755)
        argv: list[str | Path] = [program]
    else:
        shutil.copy(shutil.which("id") or "/usr/bin/id", program)
        argv = [program, "-u"]
    assert finish(process.spawn(argv, uid=1337, stdout=output)) == 0
    assert output.read_text() == "1337\n"


@pytest.mark.parametrize(
    ("argv", "options", "message"),
    [
        (["/no/such/program"], {}, "start /no/such/program: no such program"),
        (["true"], {"cwd": Path("/no/such")}, "start true: change to the directory: No such file or directory"),
        (["true"], {"stdout": Path("/no/such")}, "start true: open the output files: No such file or directory"),
        (["true"], {"cgroup": Path("/no/such")}, "start true: join the cgroup: No such file or directory"),
        (["true"], {"netns": Path("/no/such")}, "start true: /no/such: No such file or directory"),
        (["true"], {"netns": Path("/dev/null")}, "start true: enter the network namespace: Invalid argument"),
    ],
)
def test_failures_name_the_step(argv: list[str], options: dict[str, Path], message: str) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(KernelError) as caught:
        process.spawn(argv, **options)  # type: ignore[arg-type]
    assert caught.value.message == message
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"\x00\x01")
    nonsense.chmod(0o755)
    with pytest.raises(KernelError, match="nonsense: run it: Exec format error"):
        process.spawn([nonsense])


def test_a_running_program_is_not_reaped(output: Path) -> None:
    child = process.spawn(["sleep", "60"])
    assert child.reap() is None
    child.signal(signal.SIGTERM)
    assert finish(child) == -signal.SIGTERM


@pytest.fixture
def group() -> Path:
    path = cgroup.create("netlab-test", str(os.getpid()))
    if path is None:
        pytest.skip("no cgroup v2 here")
    return path


def test_ending_a_group(group: Path) -> None:
    inner = cgroup.create("netlab-test", str(os.getpid()), "inner")
    assert inner is not None
    assert inner.parent == group
    # A shell that starts another one, and one in the group below.
    children = [
        process.spawn(["sh", "-c", "trap '' TERM; sleep 60 & wait"], cgroup=group),
        process.spawn(["sleep", "60"], cgroup=inner, uid=1337),
    ]
    assert {child.pid for child in children} <= set(cgroup.processes(group))
    with pytest.raises(KernelError, match="remove cgroup"):
        cgroup.remove(group)
    cgroup.kill(group)
    assert cgroup.processes(group) == []
    assert [finish(child) for child in children] == [-9, -9]
    cgroup.kill(group)
    for _ in range(2):
        cgroup.remove(group)
        cgroup.kill(group)
    assert not group.exists()
    cgroup.remove(group.parent)


def test_names_of_groups(group: Path) -> None:
    with pytest.raises(NetlabBug):
        cgroup.create("netlab-test", "../escape")
    cgroup.remove(group.parent)


def test_a_worker_answers_or_says_why_not() -> None:
    assert forked("count", lambda: {"sum": 1 + 2}) == {"sum": 3}
    with pytest.raises(KernelError, match=r"open it: .*No such file"):
        forked("open it", lambda: os.stat("/no/such/file"))
    with pytest.raises(KernelError, match="crash: the worker was ended by SIGKILL"):
        forked("crash", lambda: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(KernelError, match=r"leave: the worker gave no answer \(exit status 3\)"):
        forked("leave", lambda: os._exit(3))
    assert forked("say much", lambda: "x" * 1_000_000) == "x" * 1_000_000
