"""The bring-up of a lab, in the supervisor: network, control plane, routers and cells, apps, verification."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netlab.errors import NetlabError
from netlab.lab import mesh, state
from netlab.lab.jobs import JobSpec, ProgramSpec
from netlab.lab.processes import Emit
from netlab.topology.addressing import addresses
from netlab.topology.models import App, Topology

if TYPE_CHECKING:
    from netlab.lab.service import Service

APP_START_SECONDS = 60.0
VERIFY_SECONDS = 20.0


async def bring_up(service: Service, emit: Emit) -> dict[str, Any]:
    """Build the whole lab and return what `netlab up` reports.

    Raises the NetlabError of the first step that failed; what was built so far stays for `down`.
    """
    started = time.monotonic()
    topology = Topology.model_validate(service.lab["topology"])
    where = addresses(topology)
    phases = _Phases(emit)
    containers = sum(app.instances for app in topology.apps)
    try:
        async with asyncio.TaskGroup() as group:
            async with phases.phase("network", f"{len(service.lab['nodes']) + 1} namespaces, their links and routes"):
                await service.task("netlab.lab.groundwork", {"lab": topology.name}, node=None)
            specs: list[tuple[str, str, list[JobSpec]]] = [
                ("routers", f"{topology.routers} ingress Envoys", mesh.routers(where, service.paths)),
                (
                    "control plane",
                    "BBS, auctioneer, CAPI, Copilot, Pilot",
                    mesh.control_plane(topology, where, service.paths, service.lab["capi"]["password"]),
                ),
                ("cells", f"{topology.cells} reps", mesh.reps(topology, where, service.paths, service.cgroup)),
                ("network services", "load balancer, DNS", mesh.network_services(topology, where, service.paths)),
            ]
            starting = [group.create_task(_start(service, phases, name, detail, jobs)) for name, detail, jobs in specs]
            await asyncio.gather(*starting)
            service.preload(*mesh.PRELOAD_TASKS)
            if topology.apps:
                async with phases.phase("apps", f"{len(topology.apps)} apps in {containers} containers"):
                    await asyncio.gather(*(_push(service, app) for app in topology.apps))
            async with phases.phase("verification", "each route at each router"):
                routes = await _verify(service, topology)
            service.preload(*mesh.PRELOAD_LATER)
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors
    return {
        "name": topology.name,
        "seconds": round(time.monotonic() - started, 3),
        "routes": routes,
        "phases": phases.seconds,
        "namespaces": {node: found["namespace"] for node, found in service.lab["nodes"].items()},
    }


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a person should read of several failures: one that netlab raised on purpose, if there is one."""
    leaves = [_first(error) if isinstance(error, BaseExceptionGroup) else error for error in errors.exceptions]
    return next((error for error in leaves if isinstance(error, NetlabError)), leaves[0])


class _Phases:
    """Tells the caller when each phase begins and ends."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.seconds: dict[str, float] = {}

    @asynccontextmanager
    async def phase(self, name: str, detail: str) -> AsyncIterator[None]:
        """Mark what happens inside as one phase."""
        started = time.monotonic()
        self._emit({"phase": name, "state": "start", "detail": detail})
        yield
        self.seconds[name] = round(time.monotonic() - started, 3)
        self._emit({"phase": name, "state": "done", "detail": detail, "seconds": self.seconds[name]})


async def _start(service: Service, phases: _Phases, name: str, detail: str, specs: Iterable[JobSpec]) -> None:
    """Start jobs side by side. A fork server takes requests in order: each is forked once its module is there."""
    async with phases.phase(name, detail):
        starting = []
        for spec in specs:
            if isinstance(spec, ProgramSpec):
                _write_program_config(spec)
            else:
                state.write_private(service.paths.job_config(spec.node, spec.job), spec.config)
                service.preload(spec.module)
            starting.append(service.add(spec).start())
        await asyncio.gather(*starting)


def _write_program_config(spec: ProgramSpec) -> None:
    """The program's folder belongs to its user: it makes its sockets there."""
    folder = spec.config_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, spec.uid, spec.gid)
    spec.config_path.write_text(json.dumps(spec.config, indent=1))


async def _push(service: Service, app: App) -> None:
    file = service.lab["topology_file"]
    directory = str(Path(file or ".").parent / app.directory) if app.directory else None
    params = {
        **service.lab["capi"],
        "action": "push",
        "name": app.name,
        "instances": app.instances,
        "port": app.port,
        "env": app.env,
        "command": app.command,
        "directory": directory,
        "memory_mb": app.memory_mb,
        "routes": list(app.routes),
        "timeout": APP_START_SECONDS,
    }
    await service.task("netlab.capi.task", params, node="client")


async def _verify(service: Service, topology: Topology) -> list[dict[str, Any]]:
    """Ask for each route that has a running instance at each router and through the load balancer."""
    behind: dict[str, list[App]] = {}
    for app in topology.apps:
        for route in app.routes:
            behind.setdefault(route, []).append(app)
    served = [route for route, apps in behind.items() if any(app.instances for app in apps)]
    where = addresses(topology)
    params = {
        "routes": served,
        "vip": where.vip,
        "dns": where.lb_public,
        "routers": {router.name: router.address for router in where.routers},
        "timeout": VERIFY_SECONDS,
    }
    await service.task("netlab.lab.verify", params, node="client")
    routers = [router.name for router in where.routers]
    return [
        {
            "route": route,
            "apps": [app.name for app in apps],
            "instances": sum(app.instances for app in apps),
            "routers": routers if route in served else [],
        }
        for route, apps in behind.items()
    ]
