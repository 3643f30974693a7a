"""The Envoys of a lab: each router's and each app container's sidecar."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from netlab.errors import NodeNotFound
from netlab.lab import state
from netlab.lab.paths import LabPaths


class Envoy(NamedTuple):
    """One Envoy. `admin` is the unix socket of its admin API; `app` is the app it stands beside, "" for a router's."""

    node: str
    kind: str
    """`router` or `sidecar`."""
    address: str
    app: str
    admin: Path


def envoys(lab: str) -> list[Envoy]:
    """Every Envoy that should run, the routers' first. Raises LabNotFound."""
    found = [
        Envoy(name, "router", node["address"], "", LabPaths(lab).envoy(name) / "admin.sock")
        for name, node in state.read(lab)["nodes"].items()
        if node["kind"] == "router"
    ]
    found += [
        Envoy(record["node"], "sidecar", record["address"], record["app_name"], Path(record["admin"]))
        for record in state.containers(lab)
        if record["sidecar_pid"] is not None
    ]
    return found


def envoy(lab: str, node: str) -> Envoy:
    """The Envoy of one node. Raises LabNotFound; NodeNotFound, with the nodes that have one."""
    known = envoys(lab)
    for each in known:
        if each.node == node:
            return each
    names = ", ".join(each.node for each in known)
    raise NodeNotFound(f"no Envoy runs on {node}", hint=f"Envoys run on {names}", node=node)


def app_names(lab: str) -> dict[str, str]:
    """The name of each app that has containers, by its guid, which is also its web process's."""
    return {record["app_guid"]: record["app_name"] for record in state.containers(lab)}
