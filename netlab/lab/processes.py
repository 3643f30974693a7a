"""The supervisor's hands: starting forks of the fork server and programs, and learning that they ended."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netlab.errors import MeshError, NetlabBug, RemoteError
from netlab.lab import forkserver

Emit = Callable[[dict[str, Any]], None]


class Process:
    """A running process of the lab: its pid, and a future of its exit status (negative: a signal)."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if not self.exited.done():
            os.kill(self.pid, signum)


class ForkServer:
    """The client's side of the fork server, for an asyncio program."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ids = itertools.count(1)
        self._starting: dict[int, asyncio.Future[Process]] = {}
        self._running: dict[int, Process] = {}
        sock.setblocking(False)
        asyncio.get_running_loop().add_reader(sock, self._receive)

    def preload(self, *modules: str) -> None:
        """Have modules imported; requests sent after this one wait for it."""
        self._send({"op": "preload", "modules": modules}, [])

    async def component(
        self,
        module: str,
        *,
        lab: str,
        node: str,
        job: str,
        config: dict[str, Any],
        netns: Path | None,
        cgroup: Path | None,
        log: Path,
    ) -> tuple[Process, asyncio.Future[bool]]:
        """Start a component; the future tells whether it said it is ready (False: it ended before)."""
        log.parent.mkdir(parents=True, exist_ok=True)
        read, write = os.pipe2(os.O_CLOEXEC)
        request = {"kind": "component", "module": module, "lab": lab, "node": node, "job": job, "config": config}
        process = await self._fork({**request, **_place(netns, cgroup, log)}, write)
        return process, _readable(read)

    async def task(
        self,
        module: str,
        params: dict[str, Any],
        *,
        netns: Path | None,
        cgroup: Path | None,
        log: Path,
        emit: Emit | None = None,
    ) -> Any:
        """Run `module.task(params, emit)` in a fork and return its result.

        Raises RemoteError with the task's error, MeshError if it died without a word.
        """
        read, write = os.pipe2(os.O_CLOEXEC)
        reader = asyncio.StreamReader(limit=1 << 26)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader),
            open(read, "rb"),  # noqa: SIM115 - the transport owns it
        )
        try:
            process = await self._fork(
                {"kind": "task", "module": module, "params": params, **_place(netns, cgroup, log)}, write
            )
            try:
                async for line in reader:
                    message = json.loads(line)
                    if "event" in message:
                        if emit is not None:
                            emit(message["event"])
                    elif "error" in message:
                        raise RemoteError(message["error"])
                    else:
                        return message["result"]
            except BaseException:
                process.signal(signal.SIGTERM)
                raise
        finally:
            transport.close()
        status = await process.exited
        raise MeshError(f"{module} ended with status {status} and no result", hint=f"see {log}")

    async def _fork(self, request: dict[str, Any], fd: int) -> Process:
        number = next(self._ids)
        future: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._starting[number] = future
        try:
            self._send({"op": "fork", "id": number, **request}, [fd])
        finally:
            os.close(fd)
        return await future

    def _send(self, message: dict[str, Any], fds: list[int]) -> None:
        # Requests are few and small; the socket's buffer takes them even while the server is importing.
        forkserver.send(self._sock, message, fds)

    def _receive(self) -> None:
        received = forkserver.receive(self._sock)
        if received is None:
            asyncio.get_running_loop().remove_reader(self._sock)
            raise NetlabBug("the fork server ended")
        message, _ = received
        if "id" in message:
            process = self._running[message["pid"]] = Process(message["pid"])
            self._starting.pop(message["id"]).set_result(process)
        else:
            ended = self._running.pop(message["exited"])
            ended.exited.set_result(message["status"])


def _place(netns: Path | None, cgroup: Path | None, log: Path) -> dict[str, str | None]:
    """Where a fork settles, as the fork server takes it."""
    return {"netns": str(netns) if netns else None, "cgroup": str(cgroup) if cgroup else None, "log": str(log)}


def watch(pid: int, pidfd: int, reap: Callable[[], int | None]) -> Process:
    """Watch a program that this process started itself; its end is an event on the pidfd."""
    process = Process(pid)
    loop = asyncio.get_running_loop()

    def ended() -> None:
        loop.remove_reader(pidfd)
        status = reap()
        process.exited.set_result(0 if status is None else status)

    loop.add_reader(pidfd, ended)
    return process


def _readable(fd: int) -> asyncio.Future[bool]:
    """A future of the first event on a pipe: True for data, False for its end."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def event() -> None:
        loop.remove_reader(fd)
        data = os.read(fd, 64)
        os.close(fd)
        if not future.done():
            future.set_result(bool(data))

    loop.add_reader(fd, event)
    return future
