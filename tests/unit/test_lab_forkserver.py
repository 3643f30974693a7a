"""The fork server and its client: real processes, no privileges."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import types
from pathlib import Path

import pytest

from netlab.errors import MeshError, RemoteError, UsageError
from netlab.lab import forkserver
from netlab.lab.processes import ForkServer

COMPONENT = "netlab_test_component"


async def _serve_until_stopped(context):
    print("configured with", context.config["word"], flush=True)
    context.ready()
    await context.stopping.wait()


async def _fail(context):
    raise RuntimeError("no luck today")


def _task(params, emit):
    if params.get("raise") == "usage":
        raise UsageError("bad word", hint="another word", word="bad")
    if params.get("raise") == "bug":
        raise ZeroDivisionError("oops")
    if params.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(params["steps"]):
        emit({"step": step})
    return {"sum": sum(range(params["steps"])), "pid": os.getpid()}


@pytest.fixture(scope="module")
def module():
    """A module of components and tasks that only the forks of this process know."""
    good, bad = types.ModuleType(COMPONENT), types.ModuleType(f"{COMPONENT}_bad")
    good.run, good.task, bad.run = _serve_until_stopped, _task, _fail
    sys.modules |= {good.__name__: good, bad.__name__: bad}
    yield
    del sys.modules[good.__name__], sys.modules[bad.__name__]


@pytest.fixture
def server(module):
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        here.close()
        # pytest puts objects of its own here, which do not follow the file descriptors.
        sys.stdout, sys.stderr = (open(fd, "w", buffering=1, closefd=False) for fd in (1, 2))  # noqa: SIM115
        try:
            forkserver.serve(there)
        finally:
            os._exit(0)
    there.close()
    yield here
    here.close()
    os.waitpid(pid, 0)


async def _component(fork_server, tmp_path, module=COMPONENT):
    return await fork_server.component(
        module, lab="l", node="n", job="j", config={"word": "x"}, netns=None, cgroup=None, log=tmp_path / "log"
    )


def test_a_component_says_it_is_ready_and_ends_on_sigterm(server, tmp_path):
    async def body():
        process, ready = await _component(ForkServer(server), tmp_path)
        assert await ready is True
        process.signal(signal.SIGTERM)
        assert await process.exited == 0
        assert "configured with x" in (tmp_path / "log").read_text()

    asyncio.run(body())


def test_a_component_that_fails_is_not_ready_and_says_why_in_its_log(server, tmp_path):
    async def body():
        process, ready = await _component(ForkServer(server), tmp_path, f"{COMPONENT}_bad")
        assert await ready is False
        assert await process.exited == 1
        assert "no luck today" in (tmp_path / "log").read_text()

    asyncio.run(body())


def test_killing_a_component_is_reported_with_the_signal(server, tmp_path):
    async def body():
        process, ready = await _component(ForkServer(server), tmp_path)
        await ready
        process.signal(signal.SIGKILL)
        assert await process.exited == -signal.SIGKILL

    asyncio.run(body())


def _run_task(server, tmp_path: Path, **params):
    async def body():
        events = []
        place = {"netns": None, "cgroup": None, "log": tmp_path / "log"}
        result = await ForkServer(server).task(COMPONENT, params, **place, emit=events.append)
        return result, events

    return asyncio.run(body())


def test_a_task_sends_events_and_a_result_from_a_process_of_its_own(server, tmp_path):
    result, events = _run_task(server, tmp_path, steps=3)
    assert events == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert result["sum"] == 3
    assert result["pid"] != os.getpid()


def test_a_tasks_error_keeps_its_code_hint_and_exit_status(server, tmp_path):
    with pytest.raises(RemoteError, match="bad word") as caught:
        _run_task(server, tmp_path, **{"raise": "usage"})
    assert (caught.value.exit_status, caught.value.hint) == (2, "another word")
    assert caught.value.as_dict() == {"code": "NL-E101", "message": "bad word", "hint": "another word", "word": "bad"}


def test_a_tasks_bug_ends_in_one_line_and_a_traceback_in_the_log(server, tmp_path):
    with pytest.raises(RemoteError, match="ZeroDivisionError: oops"):
        _run_task(server, tmp_path, **{"raise": "bug"})
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_task_that_dies_without_a_word_is_an_error(server, tmp_path):
    with pytest.raises(MeshError, match="status -9"):
        _run_task(server, tmp_path, die=True)
