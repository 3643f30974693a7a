"""The first task of a bring-up: the lab's files, certificates and network, before any component starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from netlab.errors import ForeignObjectError
from netlab.kernel import executor, netns
from netlab.lab import certificates, mesh, plan, state
from netlab.lab.paths import ETC_NETNS, LabPaths
from netlab.topology.addressing import CELL_DNS, LabAddresses, addresses
from netlab.topology.models import Topology


def task(params: dict[str, Any], _emit: Callable[[dict[str, Any]], None]) -> None:
    """Lay the groundwork of the lab `params["lab"]`."""
    lab = state.read(params["lab"])
    paths = LabPaths(lab["name"])
    topology = Topology.model_validate(lab["topology"])
    where = addresses(topology)
    netns.mount_directory(paths.namespaces)
    executor.apply(plan.fabric(where, paths), paths.namespaces)
    _write_resolvers(paths, where)
    certificates.make(paths.tls, lab["name"], mesh.tls_names(topology, where))
    paths.databases.mkdir(mode=0o700, exist_ok=True)
    paths.containers.mkdir(mode=0o711, exist_ok=True)


def _write_resolvers(paths: LabPaths, where: LabAddresses) -> None:
    """A resolv.conf for each node; `ip netns exec` finds a VM's through a link in /etc/netns."""
    servers = {vm.name: plan.resolver(vm.name, where) for vm in plan.vms(where)}
    for node, server in {**servers, "lb": where.lb_deployment, "container": CELL_DNS}.items():
        path = paths.resolv_conf(node)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# the DNS of lab {paths.name}\nnameserver {server}\n")
        if node != "container":
            _link(ETC_NETNS / paths.namespace(node), path.parent)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(exist_ok=True)
    if link.is_symlink() and link.readlink() == target:
        return
    try:
        link.symlink_to(target)
    except FileExistsError:
        raise ForeignObjectError(
            f"{link} exists already and is not this lab's",
            hint="remove it, or give the lab another name",
            path=str(link),
        ) from None
