"""What the supervisor serves on the lab's socket, and the lab's jobs behind it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from netlab.errors import NetlabBug, NetlabError, NodeNotFound, UsageError, describe
from netlab.kernel import cgroup
from netlab.lab import bringup, mesh, state
from netlab.lab.jobs import ComponentSpec, Job, JobSpec
from netlab.lab.paths import LabPaths
from netlab.lab.processes import Emit, ForkServer
from netlab.lab.state import LabState

Call = Callable[["Service", dict[str, Any], Emit], Awaitable[Any]]

LARGEST_CALL = 1 << 26
"""Bytes of one call."""


class Service:
    """The lab as its supervisor holds it."""

    def __init__(self, lab: LabState, servers: Mapping[str, ForkServer]) -> None:
        self.lab = lab
        self.paths = LabPaths(lab["name"])
        self.cgroup = Path(lab["cgroup"])
        self._servers = servers
        self.jobs: dict[tuple[str, str], Job] = {}
        self.ready_at: float | None = None

    @classmethod
    async def run(cls, lab: LabState, listener: socket.socket, fork_servers: Mapping[str, socket.socket]) -> None:
        """Serve until the process is killed; that is how a lab ends."""
        service = cls(lab, {name: ForkServer(sock) for name, sock in fork_servers.items()})
        async with await asyncio.start_unix_server(service._serve, sock=listener, limit=LARGEST_CALL) as server:
            await server.serve_forever()

    def add(self, spec: JobSpec) -> Job:
        """Take a job into the lab; it is started by its own `start`."""
        job = Job(spec=spec, paths=self.paths, cgroup=self.cgroup, server=self._server(spec), report=report)
        self.jobs[spec.node, spec.job] = job
        return job

    def _server(self, spec: JobSpec) -> ForkServer:
        return self._servers[mesh.fork_server(spec.module) if isinstance(spec, ComponentSpec) else "host"]

    def preload(self, *modules: str) -> None:
        """Have the fork servers import modules, each the one that will need it; what is sent later waits for it."""
        for module in modules:
            self._servers[mesh.fork_server(module)].preload(*mesh.needs(module))

    async def task(self, module: str, params: dict[str, Any], *, node: str | None, emit: Emit | None = None) -> Any:
        """Run a task in a fork: in the machine's own namespace, or in a node's. Its log is the supervisor's."""
        netns = self.paths.namespace_path(node) if node is not None else None
        return await self._servers[mesh.fork_server(module)].task(
            module, params, netns=netns, cgroup=self.cgroup / "tasks", log=self.paths.supervisor_log, emit=emit
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(message: dict[str, Any]) -> None:
            if not writer.is_closing():
                writer.write(json.dumps(message).encode() + b"\n")

        try:
            line = await reader.readline()
            if not line:  # somebody only looked whether anybody listens
                return
            request = json.loads(line)
            work = asyncio.ensure_future(CALLS[request["call"]](self, request, lambda event: send({"event": event})))
            # The caller says nothing more: the next thing read is its end, be it by Ctrl-C or kill -9.
            gone = asyncio.ensure_future(reader.read())
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                if request["call"] == "up":
                    # Half a lab is of no use to anybody. All of it ends now, this process too; what it made in the
                    # kernel stays for `down`, which may be at work already.
                    report("`netlab up` went away before the lab was ready")
                    cgroup.kill(self.cgroup)
            gone.cancel()
            send({"result": await work})
        except NetlabError as error:
            send({"error": describe(error)})
        except asyncio.CancelledError:
            pass
        except Exception as error:
            report(f"{type(error).__name__}: {error}")
            send({"error": describe(NetlabBug(f"{type(error).__name__}: {error}"))})
            raise
        finally:
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            writer.close()

    def _job(self, request: dict[str, Any]) -> Job:
        node, wanted = request["node"], request.get("job")
        names = sorted(name for owner, name in self.jobs if owner == node)
        if not names:
            nodes = sorted({owner for owner, _ in self.jobs})
            raise NodeNotFound(f"{node} has no jobs", hint=f"nodes with jobs: {', '.join(nodes)}", node=node)
        if wanted is None and len(names) == 1:
            wanted = names[0]
        if wanted not in names:
            said = f"{node} has no job {wanted}" if wanted else f"{node} has {len(names)} jobs"
            raise UsageError(said, hint=f"its jobs are {', '.join(names)}", node=node, jobs=names)
        return self.jobs[node, wanted]


def report(line: str) -> None:
    """One line for the supervisor's log."""
    print(json.dumps({"time": round(time.time(), 6), "message": line}), flush=True)


async def _up(service: Service, _request: dict[str, Any], emit: Emit) -> Any:
    if service.ready_at is None:
        result = await bringup.bring_up(service, emit)
        service.ready_at = time.time()
        return result
    raise UsageError(f"lab {service.lab['name']} is up already")


async def _status(service: Service, _request: dict[str, Any], _emit: Emit) -> Any:
    return {
        "name": service.lab["name"],
        "ready": service.ready_at is not None,
        "ready_at": service.ready_at,
        "nodes": {name: {"kind": n["kind"], "address": n["address"]} for name, n in service.lab["nodes"].items()},
        "jobs": [job.as_dict() for job in service.jobs.values()],
        "containers": state.containers(service.lab["name"]),
    }


async def _task(service: Service, request: dict[str, Any], emit: Emit) -> Any:
    return await service.task(request["module"], request["params"], node=request.get("node"), emit=emit)


async def _job_start(service: Service, request: dict[str, Any], _emit: Emit) -> Any:
    job = service._job(request)
    await job.start()
    return job.as_dict()


async def _job_stop(service: Service, request: dict[str, Any], _emit: Emit) -> Any:
    job = service._job(request)
    await job.stop()
    return job.as_dict()


async def _job_kill(service: Service, request: dict[str, Any], _emit: Emit) -> Any:
    job = service._job(request)
    job.kill()
    return job.as_dict()


async def _job_restart(service: Service, request: dict[str, Any], emit: Emit) -> Any:
    await _job_stop(service, request, emit)
    return await _job_start(service, request, emit)


CALLS: dict[str, Call] = {
    "up": _up,
    "status": _status,
    "task": _task,
    "job-start": _job_start,
    "job-stop": _job_stop,
    "job-kill": _job_kill,
    "job-restart": _job_restart,
}
