"""The cgroups of containers: one for each, and in it one for the app, which is limited, and one for the sidecar.

A limit needs its controller in the v2 hierarchy: memory, pids, cpu. Without one there is no such limit; `netlab doctor`
says which are there. As in Diego the sidecar does not count towards its app's memory.
"""

from __future__ import annotations

from pathlib import Path

from netlab.diego.rep.processes import describe
from netlab.diego.rep.recipe import Recipe
from netlab.kernel import cgroup

_MEBIBYTE = 1024 * 1024


class Groups:
    """The cgroups below `parent`; every method does nothing where the machine has no cgroup v2 and `parent` is None."""

    def __init__(self, parent: Path | None) -> None:
        self._parent = parent

    def app(self, guid: str) -> Path | None:
        """The group of a container's app alone."""
        return self._of(guid, "app")

    def make_sidecar(self, guid: str) -> Path | None:
        """The group for a container's sidecar."""
        return self._made(self._of(guid, "sidecar"))

    def make_app(self, guid: str, recipe: Recipe) -> Path | None:
        """The group for a container's app, with the app's limits. Raises KernelError if one is refused."""
        group = self._made(self.app(guid))
        if group is not None:
            cgroup.delegate(group.parent)
            cgroup.limit(
                group,
                memory=recipe.memory_mb * _MEBIBYTE or None,
                pids=recipe.max_pids or None,
                cpu_weight=recipe.cpu_weight,
            )
        return group

    def end_of_app(self, guid: str, status: int | None) -> str:
        """How a container's app ended, in words; `status` is its exit status or minus the signal."""
        group = self.app(guid)
        if group is not None and cgroup.out_of_memory(group):
            return f"{describe(status)} (out of memory)"
        return describe(status)

    def end(self, guid: str) -> None:
        """End every process of a container and remove its groups; fine if they are gone. Raises KernelError."""
        group = self._of(guid)
        if group is not None:
            cgroup.kill(group)
            cgroup.remove(group)

    def _of(self, guid: str, *part: str) -> Path | None:
        return None if self._parent is None else self._parent.joinpath(f"container-{guid}", *part)

    def _made(self, group: Path | None) -> Path | None:
        if group is not None:
            group.mkdir(parents=True, exist_ok=True)
        return group
