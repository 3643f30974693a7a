"""Waiting for instances, as the cf CLI does: by asking for the process's stats again and again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from netlab.capi.client import CapiClient, Refused
from netlab.errors import MeshError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 0.25
_STUCK_SECONDS = 5.0
"""How long instances may lack a place, or all have crashed, before that counts as the end."""


async def wait_running(client: CapiClient, process_guid: str, name: str, timeout: float) -> list[dict[str, Any]]:
    """The stats of a process once all its instances run; raises MeshError that says how far they came."""
    begun = time.monotonic()
    hopeful = begun
    pause = _FIRST_PAUSE
    while True:
        stats = await _stats(client, process_guid)
        waiting = [each for each in stats if each["state"] != "RUNNING"]
        if not waiting:
            return stats
        now = time.monotonic()
        if len(waiting) < len(stats) or not all(each["details"] for each in waiting):
            hopeful = now
        if now - begun > timeout or now - hopeful > _STUCK_SECONDS:
            raise _failure(name, stats, now - begun)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


async def wait_deployed(client: CapiClient, deployment_guid: str, name: str, timeout: float) -> None:
    """Return once a deployment is over; raises MeshError if it was given up, or halts for `timeout` seconds."""
    moved = time.monotonic()
    healthy = ""
    pause = _FIRST_PAUSE
    while True:
        deployment = await client.get(f"/v3/deployments/{deployment_guid}")
        status = deployment["status"]
        if status["value"] == "FINALIZED":
            break
        if healthy != status["details"]["last_successful_healthcheck"]:
            healthy, moved = status["details"]["last_successful_healthcheck"], time.monotonic()
        if time.monotonic() - moved > timeout:
            raise MeshError(
                f"app {name}: no further new instance runs after {timeout:g} s; the old ones serve on",
                hint=f"netlab curl -X POST /v3/deployments/{deployment_guid}/actions/cancel goes back",
                app=name,
            )
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    if status["reason"] != "DEPLOYED":
        raise MeshError(f"app {name}: the deployment was {status['reason'].lower()}", app=name)


async def _stats(client: CapiClient, process_guid: str) -> list[dict[str, Any]]:
    try:
        document = await client.get(f"/v3/processes/{process_guid}/stats")
    except Refused as refused:
        # The BBS is away; that may pass, as any other state of the instances may.
        if refused.fields.get("status") != 503:
            raise
        return [{"state": "UNKNOWN", "details": None}]
    stats: list[dict[str, Any]] = document["resources"]
    return stats


def _failure(name: str, stats: Sequence[dict[str, Any]], seconds: float) -> MeshError:
    states = Counter(each["state"] for each in stats)
    counts = ", ".join(f"{count} {state.lower()}" for state, count in sorted(states.items()))
    reasons = "; ".join(sorted({each["details"] for each in stats if each["details"]}))
    return MeshError(
        f"app {name}: {states['RUNNING']} of {len(stats)} instances run after {seconds:.1f} s ({counts})"
        + (f": {reasons}" if reasons else ""),
        hint=f"netlab logs {name}-0",
        app=name,
        states=dict(states),
    )
