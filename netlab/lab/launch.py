"""Starting a lab: its name is taken, its state written, its supervisor started, and then it is brought up."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.errors import LabExists, NetlabError
from netlab.kernel import cgroup
from netlab.lab import mesh, plan, state, teardown, wire
from netlab.lab.early import EarlySupervisor
from netlab.lab.jobs import ProgramSpec
from netlab.lab.paths import LabPaths, labs
from netlab.topology.addressing import LabAddresses, addresses
from netlab.topology.models import Topology

Emit = wire.Emit

_supervisors: dict[str, subprocess.Popen[bytes]] = {}
"""The supervisors that this process started and has not reaped, by lab."""


@dataclass(frozen=True)
class Prepared:
    """A lab that has a name, a state file and a supervisor, and nothing in the kernel yet."""

    name: str


def prepare(
    topology: Topology | Path, supervisor: EarlySupervisor, *, name: str | None = None, replace: bool = False
) -> Prepared:
    """Take the name, write the state, give the lab to its supervisor.

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
        cgroup.delegate(group)
        _supervisors[lab] = supervisor.give(paths)
    except BaseException:
        teardown.destroy(lab)
        reap(lab)
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
            reap(prepared.name)
        raise
    return {**result, "several": len(labs()) > 1}


def reap(lab: str) -> None:
    """Reap the supervisor of a lab that is down; only a program that goes on after `down` has to."""
    if supervisor := _supervisors.pop(lab, None):
        supervisor.wait()


def _exists(lab: str) -> LabExists:
    there = "is up already" if wire.answers(LabPaths(lab).socket) else "was not taken down: its remains are there"
    return LabExists(
        f"a lab named {lab} {there}",
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
        "pilot": f"{where.control}:{mesh.PILOT_HTTP}",
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
