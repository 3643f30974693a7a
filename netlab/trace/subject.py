"""The lab as a trace sees it, read from the files under its folder: VMs, app containers and their addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.errors import LabNotFound, MeshError

INGRESS_PORT = 80
"""The port on which the load balancer, and the routers behind it, serve HTTP."""


@dataclass(frozen=True, slots=True)
class Vm:
    """One VM; `access_log` is there if an Envoy runs on it."""

    name: str
    kind: str
    namespace: Path
    address: str
    access_log: Path | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One app container, as its rep recorded it."""

    node: str
    namespace: Path
    cell: str
    cell_address: str
    address: str
    app_name: str
    app_guid: str
    index: int
    state: str
    ports: tuple[tuple[int, int], ...]
    """Each app port with the cell's host port that leads to it."""
    sidecar_port: int
    access_log: Path | None

    def host_port(self, app_port: int) -> int | None:
        """The cell's port that leads to an app port."""
        return dict(self.ports).get(app_port)

    def app_port(self, host_port: int) -> int | None:
        """The app port that a cell's port leads to."""
        return {host: app for app, host in self.ports}.get(host_port)


@dataclass(frozen=True, slots=True)
class Subject:
    """A lab that is up."""

    name: str
    run_dir: Path
    vip: str
    domains: tuple[str, ...]
    vms: tuple[Vm, ...]
    instances: tuple[Instance, ...]
    resolvers: tuple[str, ...]
    """Addresses of the client's DNS servers."""
    capi: Mapping[str, str] | None
    """How to reach CAPI: the arguments of its client."""
    topology: Mapping[str, Any]

    def of_kind(self, kind: str) -> tuple[Vm, ...]:
        """The VMs of a kind (client, lb, router, api, diego-api, control, cell)."""
        return tuple(vm for vm in self.vms if vm.kind == kind)

    def vm(self, name: str) -> Vm | None:
        """The VM of that name."""
        return next((vm for vm in self.vms if vm.name == name), None)

    @property
    def client(self) -> Vm:
        """Where requests come from."""
        return self._only("client")

    @property
    def balancer(self) -> Vm:
        """The load balancer."""
        return self._only("lb")

    def vm_at(self, address: str, kind: str | None = None) -> Vm | None:
        """The VM that has this address."""
        return next((vm for vm in self.vms if vm.address == address and kind in (None, vm.kind)), None)

    def instance_at(self, address: str) -> Instance | None:
        """The app container that has this address."""
        return next((instance for instance in self.instances if instance.address == address), None)

    def name_of(self, address: str) -> str:
        """An address in a person's words."""
        if address == self.vip:
            return "the mesh's address"
        found = self.instance_at(address) or self.vm_at(address)
        if isinstance(found, Vm):
            return found.name
        return found.node if found else address

    def _only(self, kind: str) -> Vm:
        found = self.of_kind(kind)
        if not found:
            raise MeshError(f"lab {self.name} has no {kind}")
        return found[0]


def load(run_dir: Path) -> Subject:
    """Read a lab's files.

    Raises LabNotFound if there is no lab in that folder.
    """
    try:
        state = json.loads((run_dir / "lab.json").read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise LabNotFound(f"no lab named {run_dir.name} is up", lab=run_dir.name) from None
    vms = tuple(
        Vm(
            name=name,
            kind=node["kind"],
            namespace=Path(node["namespace_path"]),
            address=node["address"],
            access_log=_access_log(node.get("jobs", {})),
        )
        for name, node in state["nodes"].items()
    )
    client: Mapping[str, Any] = next((node for node in state["nodes"].values() if node["kind"] == "client"), {})
    return Subject(
        name=state["name"],
        run_dir=run_dir,
        vip=state["vip"],
        domains=tuple(state["domains"]),
        vms=vms,
        instances=tuple(sorted(_instances(run_dir / "containers"), key=lambda instance: instance.node)),
        resolvers=_resolvers(client.get("resolv_conf")),
        capi=state.get("capi"),
        topology=state["topology"],
    )


def _access_log(jobs: Mapping[str, Mapping[str, Any]]) -> Path | None:
    return next((Path(job["access_log"]) for job in jobs.values() if job.get("access_log")), None)


def _instances(directory: Path) -> Iterator[Instance]:
    for path in directory.glob("*.json"):
        try:
            record = json.loads(path.read_text())
        except FileNotFoundError:  # stopped since the folder was listed
            continue
        pairs = record.get("ports") or [{"app_port": record["app_port"], "host_port": record["host_port"]}]
        access = record.get("logs", {}).get("access")
        yield Instance(
            node=record["node"],
            namespace=Path(record["namespace_path"]),
            cell=record["cell"],
            cell_address=record["cell_address"],
            address=record["address"],
            app_name=record["app_name"],
            app_guid=record["app_guid"],
            index=record["index"],
            state=record["state"],
            ports=tuple((pair["app_port"], pair["host_port"]) for pair in pairs),
            sidecar_port=record["sidecar_port"],
            access_log=Path(access) if access else None,
        )


def _resolvers(resolv_conf: str | None) -> tuple[str, ...]:
    if resolv_conf is None:
        return ()
    try:
        lines = Path(resolv_conf).read_text().splitlines()
    except FileNotFoundError:
        return ()
    return tuple(line.split()[1] for line in lines if line.startswith("nameserver ") and len(line.split()) > 1)
