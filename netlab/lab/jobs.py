"""A job: one long-lived process on a VM, started, watched, restarted with back-off and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from netlab.errors import MeshError
from netlab.kernel import process
from netlab.lab.paths import LabPaths
from netlab.lab.processes import ForkServer, Process, watch

FIRST_BACKOFF = 0.1
LONGEST_BACKOFF = 5.0
STABLE_AFTER = 10.0
"""Seconds after which a job counts as healthy again and its next crash is restarted at once."""
HOPELESS_AFTER = 3
"""Crashes in a row, before the job was ever ready, after which `start` gives up."""
STOP_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass(frozen=True)
class ComponentSpec:
    """A Python component: the module whose `run(context)` the fork server's fork calls, and its configuration."""

    node: str
    job: str
    module: str
    config: dict[str, Any]


@dataclass(frozen=True)
class ProgramSpec:
    """A program, such as an Envoy: what to execute, as whom, and the configuration file written before."""

    node: str
    job: str
    argv: tuple[str, ...]
    uid: int
    gid: int
    config_path: Path
    config: dict[str, Any]


JobSpec = ComponentSpec | ProgramSpec


class JobStatus(StrEnum):
    """Where a job is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "backoff"
    STOPPED = "stopped"


def backoff(crashes: int) -> float:
    """Seconds to wait before the restart that follows the n-th crash in a row (n from 1)."""
    return float(min(FIRST_BACKOFF * 2 ** (crashes - 1), LONGEST_BACKOFF))


@dataclass
class Job:
    """One job and the process that is doing it now."""

    spec: JobSpec
    paths: LabPaths
    cgroup: Path
    server: ForkServer
    report: Callable[[str], None]
    """Takes one line about a crash or a restart, for the supervisor's log."""
    status: JobStatus = JobStatus.STOPPED
    restarts: int = 0
    last_exit: int | None = None
    since: float = 0.0
    """Unix time of the last change of status."""
    process: Process | None = None
    _keeper: asyncio.Task[None] | None = None
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _hopeless: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, *, timeout: float = 120.0) -> None:
        """Start the job, wait until it is ready, and keep it running from now on.

        Raises MeshError with the end of its log if it dies or is not ready within `timeout` seconds.
        """
        if self._keeper is not None:
            return
        self._ready.clear()
        self._hopeless.clear()
        self.restarts = 0
        self._keeper = asyncio.create_task(self._keep())
        outcomes = {asyncio.create_task(event.wait()) for event in (self._ready, self._hopeless)}
        try:
            await asyncio.wait(outcomes, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for outcome in outcomes:
                outcome.cancel()
        if not self._ready.is_set():
            ended = self._hopeless.is_set()
            what = f"ended with status {self.last_exit}" if ended else f"is not ready after {timeout:g} s"
            raise MeshError(f"{self.spec.node}: {self.spec.job} {what}: {self.last_words()}", node=self.spec.node)

    async def stop(self) -> None:
        """Stop the job: SIGTERM, then SIGKILL after the grace; it is not restarted until `start`."""
        keeper, self._keeper = self._keeper, None
        running = self.process
        if keeper is not None:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await keeper
        if running is not None and not running.exited.done():
            running.signal(signal.SIGTERM)
            await asyncio.wait({running.exited}, timeout=STOP_GRACE)
            if not running.exited.done():
                running.signal(signal.SIGKILL)
                await running.exited
        self._set(JobStatus.STOPPED)

    def kill(self) -> None:
        """Kill the process with SIGKILL; the job's keeper restarts it as after any crash."""
        if self.process is not None:
            self.process.signal(signal.SIGKILL)

    def last_words(self) -> str:
        """The last line of the job's log that says something."""
        try:
            lines = self.paths.log(self.spec.node, self.spec.job).read_text(errors="replace").split("\n")
        except FileNotFoundError:
            return "it left no log"
        last = next((line for line in reversed(lines) if line.strip()), "its log is empty")
        try:
            entry = json.loads(last)
        except ValueError:
            return last
        return str(entry.get("exception") or entry.get("message")).strip().split("\n")[-1]

    def as_dict(self) -> dict[str, Any]:
        """The job as `status` shows it; `since` is Unix time in seconds."""
        alive = self.process is not None and not self.process.exited.done()
        return {
            "node": self.spec.node,
            "job": self.spec.job,
            "status": self.status.value,
            "pid": self.process.pid if self.process is not None and alive else None,
            "restarts": self.restarts,
            "last_exit": self.last_exit,
            "since": self.since,
        }

    def _set(self, status: JobStatus) -> None:
        self.status, self.since = status, time.time()

    async def _keep(self) -> None:
        crashes = 0
        while True:
            self._set(JobStatus.STARTING)
            started = time.monotonic()
            running = self.process = await self._launch()
            # Shielded: to cancel the keeper must not cancel what others wait for.
            self.last_exit = await asyncio.shield(running.exited)
            crashes = 1 if time.monotonic() - started > STABLE_AFTER else crashes + 1
            delay = backoff(crashes)
            self.report(f"{self.spec.node}: {self.spec.job} ended with status {self.last_exit}; again in {delay:g} s")
            self._set(JobStatus.BACKOFF)
            self.restarts += 1
            if crashes >= HOPELESS_AFTER and not self._ready.is_set():
                self._hopeless.set()
            await asyncio.sleep(delay)

    async def _launch(self) -> Process:
        spec = self.spec
        log = self.paths.log(spec.node, spec.job)
        log.parent.mkdir(parents=True, exist_ok=True)
        netns = self.paths.namespace_path(spec.node)
        group = self.cgroup / spec.node
        if isinstance(spec, ComponentSpec):
            running, ready = await self.server.component(
                spec.module,
                lab=self.paths.name,
                node=spec.node,
                job=spec.job,
                config=spec.config,
                netns=netns,
                cgroup=group,
                log=log,
            )
            ready.add_done_callback(lambda future: self._on_ready() if future.result() else None)
            return running
        group.mkdir(exist_ok=True)
        child = process.spawn(
            list(spec.argv),
            netns=netns,
            uid=spec.uid,
            gid=spec.gid,
            stdout=self.paths.access_log(spec.node, spec.job),
            stderr=log,
            cgroup=group,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
        # A program says nothing when it serves; whoever needs it (Pilot by its ACK, the load balancer by its
        # health check) sees that itself.
        self._on_ready()
        return watch(child.pid, child.pidfd, child.reap)

    def _on_ready(self) -> None:
        self._set(JobStatus.RUNNING)
        self._ready.set()
