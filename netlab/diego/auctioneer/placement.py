"""Which cell runs which instance: a pure function.

An instance goes to the cell with the fewest instances of the same process, among those to the least loaded one; as
in Diego, surviving the loss of a cell counts for more than an even load.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from netlab.diego.messages import LRP, CellState, LRPStartRequest, Resources


@dataclass(slots=True)
class Placement:
    """The instances for each cell, and those without a place with the reason."""

    work: dict[str, list[LRP]] = field(default_factory=dict)
    failed: list[tuple[LRP, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Cell:
    """One cell as it will be once everything placed so far runs there."""

    state: CellState
    left: Resources
    running: Counter[str]

    def fits(self, lrp: LRP) -> bool:
        return self.left.containers >= 1 and self.left.memory_mb >= lrp.memory_mb and self.left.disk_mb >= lrp.disk_mb

    def cost(self, lrp: LRP) -> tuple[int, float, str]:
        total = self.state.total
        shares = [
            1 - left / all_of_it
            for left, all_of_it in (
                (self.left.memory_mb, total.memory_mb),
                (self.left.disk_mb, total.disk_mb),
                (self.left.containers, total.containers),
            )
            if all_of_it > 0
        ]
        return self.running[lrp.process_guid], sum(shares), self.state.cell_id

    def take(self, lrp: LRP) -> None:
        self.left = Resources(
            memory_mb=self.left.memory_mb - lrp.memory_mb,
            disk_mb=self.left.disk_mb - lrp.disk_mb,
            containers=self.left.containers - 1,
        )
        self.running[lrp.process_guid] += 1


def instances(requests: Iterable[LRPStartRequest]) -> list[LRP]:
    """One LRP for each index asked for, each once however often it was asked for."""
    found: dict[tuple[str, int], LRP] = {}
    for request in requests:
        for index in request.indices:
            found[request.process_guid, index] = LRP(
                process_guid=request.process_guid,
                index=index,
                domain=request.domain,
                memory_mb=request.memory_mb,
                disk_mb=request.disk_mb,
                max_pids=request.max_pids,
                root_fs=request.root_fs,
            )
    return list(found.values())


def place(lrps: Sequence[LRP], cells: Sequence[CellState]) -> Placement:
    """Place instances, the first of each process before the second of any, large ones before small ones."""
    open_cells = [
        _Cell(cell, cell.available, Counter(lrp.process_guid for lrp in cell.lrps))
        for cell in cells
        if not cell.evacuating
    ]
    placement = Placement()
    for lrp in sorted(lrps, key=lambda lrp: (lrp.index, -lrp.memory_mb, lrp.process_guid)):
        fitting = [cell for cell in open_cells if cell.fits(lrp)]
        if not fitting:
            placement.failed.append((lrp, _why(lrp, open_cells)))
            continue
        best = min(fitting, key=lambda cell: cell.cost(lrp))
        best.take(lrp)
        placement.work.setdefault(best.state.cell_id, []).append(lrp)
    return placement


def _why(lrp: LRP, cells: Sequence[_Cell]) -> str:
    if not cells:
        return "found no cell that answers"
    lacks = [
        name
        for name, short in (
            ("containers", all(cell.left.containers < 1 for cell in cells)),
            ("memory", all(cell.left.memory_mb < lrp.memory_mb for cell in cells)),
            ("disk", all(cell.left.disk_mb < lrp.disk_mb for cell in cells)),
        )
        if short
    ]
    return f"insufficient resources: {', '.join(lacks) or 'no cell has enough of everything'}"
