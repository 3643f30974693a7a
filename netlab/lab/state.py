"""lab.json: what a lab is made of, for every process that has to know; plain JSON, so that reading it is cheap."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, TypedDict

from netlab.errors import LabNotFound, NodeNotFound, UsageError
from netlab.lab.paths import LabPaths, labs


class JobState(TypedDict):
    """Where a job's files lie; `access_log` is there for Envoys only."""

    log: str
    access_log: str | None


class NodeState(TypedDict):
    """One VM: its kind (client, lb, router, api, diego-api, control, cell), namespace and main address."""

    kind: str
    namespace: str
    namespace_path: str
    address: str
    resolv_conf: str
    jobs: dict[str, JobState]


class CapiState(TypedDict):
    """How a client reaches CAPI: URL, the address to connect to, the account, and the CA's file."""

    api: str
    connect: str
    username: str
    password: str
    ca: str


class LabState(TypedDict):
    """The whole of lab.json."""

    name: str
    run_dir: str
    cgroup: str
    topology: dict[str, Any]
    topology_file: str | None
    nodes: dict[str, NodeState]
    vip: str
    domains: list[str]
    pilot: str
    """Where Pilot's pages are, `ip:port`."""
    capi: CapiState


def write_private(path: Path, value: object) -> None:
    """Replace a JSON file in one step: a reader sees the old one or the new one. Root only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(value, file, indent=1)
    temporary.rename(path)


def read(name: str) -> LabState:
    """Read a lab's state.

    Raises LabNotFound if no lab of that name is up.
    """
    try:
        state: LabState = json.loads(LabPaths(name).state.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise LabNotFound(f"no lab named {name} is up", hint=_up_hint(), lab=name) from None
    return state


def choose(name: str | None) -> str:
    """The lab that a command means: the named one, or the only one that is up.

    Raises LabNotFound if none is up, UsageError if several are and none was named.
    """
    if name is not None:
        read(name)
        return name
    match labs():
        case []:
            raise LabNotFound("no lab is up", hint="`sudo netlab up` brings up the quickstart")
        case [only]:
            return only
        case several:
            raise UsageError(
                f"{len(several)} labs are up: {', '.join(several)}", hint="name one with --lab NAME", labs=several
            )


def containers(name: str) -> list[dict[str, Any]]:
    """The records of a lab's app containers, by node name; see the rep for their fields."""
    records = []
    for path in LabPaths(name).containers.glob("*.json"):
        try:
            records.append(json.loads(path.read_text()))
        except FileNotFoundError:  # stopped since the folder was listed
            continue
    return sorted(records, key=lambda record: str(record["node"]))


def find_node(state: LabState, node: str) -> tuple[Path, Path | None]:
    """The namespace and resolv.conf of a VM or an app container.

    Raises NodeNotFound, with the nodes there are.
    """
    if node in state["nodes"]:
        found = state["nodes"][node]
        return Path(found["namespace_path"]), Path(found["resolv_conf"])
    records = containers(state["name"])
    for record in records:
        if node in (record["node"], record["instance_guid"]):
            resolv_conf = Path(state["run_dir"]) / "etc" / "container" / "resolv.conf"
            return Path(record["namespace_path"]), resolv_conf
    known = [*state["nodes"], *(str(record["node"]) for record in records)]
    raise NodeNotFound(
        f"lab {state['name']} has no node {node}", hint=f"its nodes are {', '.join(known)}", node=node, nodes=known
    )


def _up_hint() -> str:
    names = labs()
    return f"labs that are up: {', '.join(names)}" if names else "`sudo netlab up` brings up the quickstart"
