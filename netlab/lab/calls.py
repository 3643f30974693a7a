"""What a command asks of a lab that is up, or does to it as a whole; light to import, so that each answers fast."""

from __future__ import annotations

from typing import Any

from netlab.capi import ORGANIZATION, SPACE
from netlab.lab import state, teardown, wire
from netlab.lab.paths import LabPaths, labs

Emit = wire.Emit


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


def proxies(lab: str | None, action: str, **params: str) -> Any:
    """Ask Pilot and the Envoys; see netlab.proxies.task for the actions and their answers."""
    name = state.choose(lab)
    params = {"action": action, "pilot": state.read(name)["pilot"], **params}
    return task(name, "netlab.proxies.task", params, node="control")


def target(lab: str | None) -> dict[str, str]:
    """How a client of its own reaches CAPI and UAA, from which node, and where it may push to."""
    name = state.choose(lab)
    found = state.read(name)
    capi = found["capi"]
    return {
        "lab": name,
        "api": capi["api"],
        "uaa": f"https://uaa.{found['topology']['system_domain']}",
        "username": capi["username"],
        "password": capi["password"],
        "ca_file": capi["ca"],
        "org": ORGANIZATION,
        "space": SPACE,
        "node": "client",
    }


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
