"""The lab as a library: `with Lab.up("lab.yml") as lab: lab.trace("http://hello.mesh.example.test/")`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from netlab.lab import calls, launch, state
from netlab.lab.early import EarlySupervisor, search_path
from netlab.lab.state import LabState
from netlab.topology.models import Topology


class Lab:
    """A lab that is up."""

    def __init__(self, name: str) -> None:
        """Take hold of the lab called `name`. Raises LabNotFound if it is not up."""
        self.name = name
        self.state: LabState = state.read(name)

    @classmethod
    @contextmanager
    def up(cls, topology: Topology | Path | str, *, name: str | None = None) -> Iterator[Self]:
        """Bring a lab up for the length of a `with` block; nothing of it is left, however the block ends.

        Raises what `netlab up` would print: TopologyError, LabExists, MachineError, KernelError, MeshError.
        """
        wanted = topology if isinstance(topology, Topology) else Path(topology)
        with EarlySupervisor() as supervisor:
            prepared = launch.prepare(wanted, supervisor, name=name)
        launch.bring_up(prepared, emit=lambda _event: None)
        try:
            yield cls(prepared.name)
        finally:
            calls.down(prepared.name)
            launch.reap(prepared.name)

    @property
    def nodes(self) -> list[str]:
        """The names of the VMs and of the app containers that run now."""
        return [*self.state["nodes"], *(str(record["node"]) for record in self.containers())]

    def containers(self) -> list[dict[str, Any]]:
        """The records of the app containers; see the rep for their fields."""
        return state.containers(self.name)

    def namespace(self, node: str) -> Path:
        """The file to open to enter a node's network namespace. Raises NodeNotFound."""
        return state.find_node(self.state, node)[0]

    def exec(
        self, node: str, argv: Sequence[str], *, check: bool = False, timeout: float | None = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a node, with the lab's DNS, and return its exit status and output.

        Raises NodeNotFound; with `check` subprocess.CalledProcessError; subprocess.TimeoutExpired.
        """
        state.find_node(self.state, node)  # here rather than in the child, so that it is an exception
        command = [sys.executable, "-m", "netlab", "exec", "--lab", self.name, node, "--", *argv]
        environment = {**os.environ, "PYTHONPATH": search_path()}
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=timeout, env=environment)

    def status(self) -> dict[str, Any]:
        """What `netlab status -o json` prints."""
        return calls.status(self.name)

    def trace(
        self, url: str, *, method: str = "GET", headers: Sequence[str] = (), timeout: float = 5.0
    ) -> dict[str, Any]:
        """Trace one request from the client; see netlab.trace.task for the result."""
        return calls.trace(self.name, url, method=method, headers=list(headers), timeout=timeout)

    def capi(self, action: str, **params: Any) -> Any:
        """One action of the cf CLI's kind: push, scale, map_route, unmap_route, apps, routes, delete."""
        return calls.capi(self.name, {"action": action, **params})

    def job(self, action: str, node: str, job: str | None = None) -> dict[str, Any]:
        """Act on a job: `action` is stop, start, restart or kill."""
        result: dict[str, Any] = calls.call(self.name, {"call": f"job-{action}", "node": node, "job": job})
        return result
