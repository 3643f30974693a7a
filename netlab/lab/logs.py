"""The logs of a lab's nodes: files that jobs and apps append to."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from netlab.errors import NodeNotFound, UsageError
from netlab.lab import state


def tail(lab: str | None, node: str, job: str | None, lines: int) -> dict[str, list[str]]:
    """The last `lines` lines of each log of a node, by the log's name.

    Raises NodeNotFound for an unknown node, UsageError for an unknown job of a known one.
    """
    lab_state = state.read(state.choose(lab))
    logs = _logs(lab_state, node)
    if job is not None:
        if job not in logs:
            raise UsageError(f"{node} has no log {job}", hint=f"its logs are {', '.join(logs)}", node=node)
        logs = {job: logs[job]}
    return {name: _last(path, lines) for name, path in logs.items()}


def _logs(lab: state.LabState, node: str) -> dict[str, Path]:
    if node in lab["nodes"]:
        logs: dict[str, Path] = {}
        for job, files in lab["nodes"][node]["jobs"].items():
            logs[job] = Path(files["log"])
            if files["access_log"] is not None:
                logs[f"{job}-access"] = Path(files["access_log"])
        return logs
    records = {str(record["node"]): record for record in state.containers(lab["name"])}
    if node not in records:
        known = ", ".join([*lab["nodes"], *records, "supervisor"])
        if node == "supervisor":
            return {"supervisor": Path(lab["run_dir"]) / "log" / "supervisor.log"}
        raise NodeNotFound(f"lab {lab['name']} has no node {node}", hint=f"its nodes are {known}", node=node)
    return {name: Path(path) for name, path in records[node]["logs"].items()}


def _last(path: Path, lines: int) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:  # the job has printed nothing yet
        return []
