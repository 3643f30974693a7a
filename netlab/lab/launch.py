"""What a command does with labs: prepare one, bring it up, call its supervisor, take it down."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.errors import LabExists, NetlabError
from netlab.kernel import cgroup
from netlab.lab import mesh, plan, state, teardown, wire
from netlab.lab.jobs import ProgramSpec
from netlab.lab.paths import LabPaths, labs
from netlab.topology.addressing import LabAddresses, addresses
from netlab.topology.models import Topology

Emit = wire.Emit

_supervisors: list[subprocess.Popen[bytes]] = []
"""The supervisors that this process started: a program that makes many labs has to reap them."""


@dataclass(frozen=True)
class Prepared:
    """A lab that has a name, a state file and a supervisor, and nothing in the kernel yet."""

    name: str


def prepare(topology: Topology | Path, *, name: str | None = None, replace: bool = False) -> Prepared:
    """Take the name, write the state, start the supervisor.

    Raises TopologyError, LabExists if a lab of that name is there and `replace` is false, MachineError if the
    machine has no cgroup v2.
    """
    if isinstance(topology, Path):
        from netlab.topology.load import load

        file, wanted = topology, load(topology)
    else:
        file, wanted = None, topology
    if name is not None:
        wanted = Topology.model_validate({**wanted.model_dump(), "name": name})
    lab = wanted.name
    if teardown.exists(lab):
        if not replace:
            raise _exists(lab)
        teardown.destroy(lab)
    paths = LabPaths(lab)
    group = cgroup.path("netlab", lab)
    paths.run_dir.parent.mkdir(mode=0o755, exist_ok=True)
    try:
        paths.run_dir.mkdir(mode=0o711)
    except FileExistsError:
        raise _exists(lab) from None
    try:
        state.write_private(paths.state, _state(wanted, file, paths, group))
        cgroup.create("netlab", lab)
        _start_supervisor(paths)
    except BaseException:
        teardown.destroy(lab)
        raise
    return Prepared(lab)


def bring_up(prepared: Prepared, *, emit: Emit, keep: bool = False) -> dict[str, Any]:
    """Have the supervisor build the lab, and return its report once it is ready and verified.

    If that fails or is interrupted, nothing of the lab stays, unless `keep` is set.
    """
    paths = LabPaths(prepared.name)
    try:
        result: dict[str, Any] = wire.call(paths.socket, prepared.name, {"call": "up"}, emit)
    except BaseException as error:
        if not keep or not isinstance(error, NetlabError):
            teardown.destroy(prepared.name)
        raise
    return {**result, "several": len(labs()) > 1}


def down(name: str | None, *, every: bool = False) -> list[str]:
    """Take a lab down (by default the only one), or every one; returns the names of those that were there.

    Raises UsageError if several are up and none was named.
    """
    if every:
        names = labs()
    elif name is not None:
        names = [name] if teardown.exists(name) else []
    else:
        names = [state.choose(None)] if labs() else []
    for lab in names:
        teardown.destroy(lab)
    for supervisor in list(_supervisors):
        if supervisor.poll() is not None:
            _supervisors.remove(supervisor)
    return names


def call(lab: str | None, request: dict[str, Any], emit: Emit | None = None) -> Any:
    """Call the supervisor of a lab (by default the only one)."""
    name = state.choose(lab)
    return wire.call(LabPaths(name).socket, name, request, emit)


def task(lab: str | None, module: str, params: dict[str, Any], *, node: str | None = None) -> Any:
    """Run a task in a fork of the lab's fork server; `params` gains the lab's name and folder."""
    name = state.choose(lab)
    params = {"lab": name, "run_dir": str(LabPaths(name).run_dir), **params}
    return call(name, {"call": "task", "module": module, "params": params, "node": node})


def capi(lab: str | None, params: dict[str, Any]) -> Any:
    """Run one action of the cf CLI's kind against the lab's CAPI, from the client."""
    name = state.choose(lab)
    request = {"call": "task", "module": "netlab.capi.task", "node": "client"}
    return call(name, {**request, "params": {**state.read(name)["capi"], **params}})


def trace(lab: str | None, url: str, *, method: str, headers: list[str], timeout: float) -> dict[str, Any]:
    """Trace one request; see netlab.trace.task for the result."""
    params = {"url": url, "method": method, "headers": headers, "timeout": timeout}
    result: dict[str, Any] = task(lab, "netlab.trace.task", params)
    return result


def status(lab: str | None) -> dict[str, Any]:
    """The lab's nodes, jobs and containers, and whether everything that should run does (`healthy`)."""
    result: dict[str, Any] = call(lab, {"call": "status"})
    jobs = all(job["status"] == "running" for job in result["jobs"])
    containers = all(container["state"] == "RUNNING" for container in result["containers"])
    return {**result, "healthy": bool(result["ready"] and jobs and containers)}


def _exists(lab: str) -> LabExists:
    return LabExists(
        f"a lab named {lab} is up already",
        hint=f"`sudo netlab up --replace` rebuilds it, `sudo netlab down --lab {lab}` removes it, "
        "`sudo netlab up --lab NAME` builds another beside it",
        lab=lab,
    )


def _state(topology: Topology, file: Path | None, paths: LabPaths, group: Path) -> state.LabState:
    where = addresses(topology)
    return {
        "name": topology.name,
        "run_dir": str(paths.run_dir),
        "cgroup": str(group),
        "topology": topology.model_dump(mode="json"),
        "topology_file": str(file.resolve()) if file else None,
        "nodes": _nodes(topology, where, paths, group),
        "vip": where.vip,
        "domains": list(topology.istio_domains),
        "capi": {
            "api": f"https://api.{topology.system_domain}",
            "connect": f"{where.system_vip}:{mesh.CAPI}",
            "username": "admin",
            "password": secrets.token_urlsafe(18),
            "ca": str(paths.tls / "ca.crt"),
        },
    }


def _nodes(topology: Topology, where: LabAddresses, paths: LabPaths, group: Path) -> dict[str, state.NodeState]:
    specs = [
        *mesh.routers(where, paths),
        *mesh.control_plane(topology, where, paths, ""),
        *mesh.reps(topology, where, paths, group),
        *mesh.network_services(topology, where, paths),
    ]
    kinds = [(vm.name, vm.kind, vm.address) for vm in plan.vms(where)]
    kinds.insert(1, ("lb", "lb", where.lb_deployment))
    return {
        node: {
            "kind": kind,
            "namespace": paths.namespace(node),
            "namespace_path": str(paths.namespace_path(node)),
            "address": address,
            "resolv_conf": str(paths.resolv_conf(node)),
            "jobs": {
                spec.job: {
                    "log": str(paths.log(node, spec.job)),
                    "access_log": str(paths.access_log(node, spec.job)) if isinstance(spec, ProgramSpec) else None,
                }
                for spec in specs
                if spec.node == node
            },
        }
        for node, kind, address in kinds
    }


def _start_supervisor(paths: LabPaths) -> None:
    """Start the supervisor in a session of its own; it inherits the socket, so a call can be made at once."""
    paths.supervisor_log.parent.mkdir(exist_ok=True)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener,
        paths.supervisor_log.open("ab") as log,
    ):
        before = os.umask(0o177)
        try:
            listener.bind(str(paths.socket))
        finally:
            os.umask(before)
        listener.listen()
        package_root = str(Path(__file__).resolve().parents[2])
        search = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "netlab.lab.supervisor", paths.name, str(listener.fileno())],
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "PYTHONPATH": search},
            start_new_session=True,
        )
        _supervisors.append(supervisor)
