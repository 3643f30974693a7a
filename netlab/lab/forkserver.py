"""A fork server: a process that has everything heavy imported, of which Python components are forks.

It is single-threaded and makes no object that would not survive a fork (no gRPC object, event loop or
database engine). It takes requests as JSON datagrams on a SOCK_SEQPACKET socket, in order:

    {"op": "preload", "modules": [...]}
    {"op": "settle", "title", "log": path}
    {"op": "fork", "id": 1, "kind": "component", "module", "lab", "node", "job", "config", ...place}   + ready fd
    {"op": "fork", "id": 2, "kind": "task", "module", "params", ...place}                              + result fd

where place is `netns` (path or null), `cgroup` (path or null) and `log` (path). It answers {"id", "pid"} to a
fork, and {"exited": pid, "status"} when a child ends; status is negative for a signal.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import gc
import importlib
import inspect
import json
import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import setproctitle

from netlab import component
from netlab.errors import NetlabBug, NetlabError, describe

MAX_MESSAGE = 1 << 20
MAX_FDS = 4


def send(sock: socket.socket, message: dict[str, Any], fds: Iterable[int] = ()) -> None:
    """Send one datagram, with file descriptors if any."""
    payload = json.dumps(message).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([payload], ancillary)


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Receive one datagram and its file descriptors; None once the other end is closed."""
    payload, fds, _flags, _address = socket.recv_fds(sock, MAX_MESSAGE, MAX_FDS)
    if not payload:
        return None
    message: dict[str, Any] = json.loads(payload)
    return message, list(fds)


def serve(sock: socket.socket) -> None:
    """Serve requests until the supervisor closes its end."""
    wake_read, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    while True:
        readable: list[object] = list(select.select([sock.fileno(), wake_read], [], [])[0])
        if wake_read in readable:
            os.read(wake_read, 4096)
            _report_exits(sock)
        if sock.fileno() not in readable:
            continue
        received = receive(sock)
        if received is None:
            return
        request, fds = received
        if request["op"] == "preload":
            _preload(request["modules"])
            continue
        if request["op"] == "settle":
            setproctitle.setproctitle(f"netlab: {request['title']}")
            redirect_output(Path(request["log"]))
            continue
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            for fd in (wake_read, wake_write):
                os.close(fd)
            sock.close()
            _child(request, fds)
        for fd in fds:
            os.close(fd)
        send(sock, {"id": request["id"], "pid": pid})


def redirect_output(log: Path) -> None:
    """Send what this process prints to a log."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def _preload(modules: list[str]) -> None:
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # whoever needs it will say so in its own log, or does without it
            traceback.print_exc()
    # What is imported lives for ever: moving it out of the collector's sight keeps the children's pages shared.
    gc.collect()
    gc.freeze()


def _report_exits(sock: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            send(sock, {"exited": pid, "status": os.waitstatus_to_exitcode(status)})


def _child(request: dict[str, Any], fds: list[int]) -> NoReturn:
    """Become the component or task; never returns into the server's loop."""
    status = 70
    try:
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        _settle(request)
        status = _run_component(request, fds) if request["kind"] == "component" else _run_task(request, fds)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _settle(request: dict[str, Any]) -> None:
    """Take the process to its place: log, cgroup, network namespace."""
    redirect_output(Path(request["log"]))
    if request.get("cgroup"):
        group = Path(request["cgroup"])
        group.mkdir(exist_ok=True)
        (group / "cgroup.procs").write_text("0")
    if request.get("netns"):
        from netlab.kernel import netns

        netns.enter(Path(request["netns"]))


def _run_component(request: dict[str, Any], fds: list[int]) -> int:
    setproctitle.setproctitle(f"netlab: {request['lab']} {request['node']} {request['job']}")
    context = component.Context(
        lab=request["lab"], node=request["node"], job=request["job"], config=request["config"], ready_fd=fds[0]
    )
    return component.main(request["module"], context)


def _run_task(request: dict[str, Any], fds: list[int]) -> int:
    """Run `task(params, emit)` of a module; its events, result or error go to the result fd, one JSON a line."""
    setproctitle.setproctitle(f"netlab: task {request['module']}")
    with open(fds[0], "w", buffering=1) as out:

        def emit(event: dict[str, Any]) -> None:
            out.write(json.dumps({"event": event}) + "\n")

        try:
            task = importlib.import_module(request["module"]).task
            result = task(request["params"], emit)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except NetlabError as error:
            out.write(json.dumps({"error": describe(error)}) + "\n")
            return 1
        except Exception as error:
            traceback.print_exc()
            message = f"{request['module']}: {type(error).__name__}: {error}"
            bug = NetlabBug(message, hint=f"the traceback is in {request['log']}")
            out.write(json.dumps({"error": describe(bug)}) + "\n")
            return 1
        out.write(json.dumps({"result": result}) + "\n")
        return 0
