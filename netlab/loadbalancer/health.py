"""Whether a router is fit for traffic: the rule that decides, and the check that it is asked of."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from netlab.loadbalancer.config import LoadBalancerConfig

FIRST_RETRY = 0.02
"""Seconds until a router that is out of rotation is asked again; doubles up to the interval."""
RECHECK_FRACTION = 0.2
"""How much of the interval passes until a router in rotation that failed a check is asked again."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the checks so far say about one router. A new router is not healthy."""

    healthy: bool = False
    streak: int = 0
    """Checks in a row that contradict `healthy`."""

    def after(self, passed: bool, *, healthy_threshold: int, unhealthy_threshold: int) -> Health:
        """The state after one more check."""
        if passed == self.healthy:
            return Health(self.healthy)
        streak = self.streak + 1
        threshold = healthy_threshold if passed else unhealthy_threshold
        return Health(passed) if streak >= threshold else Health(self.healthy, streak)


def pause(health: Health, failures: int, interval: float) -> float:
    """Seconds until the next check; `failures` counts the checks in a row that failed.

    One that is doubted is asked again soon, so that a dead router leaves the rotation, and a new one joins it, in
    less than an interval.
    """
    if failures == 0:
        return interval if health.streak == 0 else interval * RECHECK_FRACTION
    if health.healthy:
        return interval * RECHECK_FRACTION
    return min(interval, FIRST_RETRY * 2.0 ** min(failures - 1, 16))


async def check(address: str, config: LoadBalancerConfig) -> str | None:
    """Ask one router for its health over HTTP; None if it is fine, else what is wrong with it."""
    try:
        async with asyncio.timeout(config.timeout_seconds):
            status = await _status(address, config.health_port, config.health_path)
    except TimeoutError:
        return f"no answer within {config.timeout_seconds:g} s"
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return str(error) or type(error).__name__
    return None if status == 200 else f"status {status}"


async def _status(address: str, port: int, path: str) -> int:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readuntil(b"\r\n")
    finally:
        writer.close()
    version, status = line.decode("latin-1").split(" ", 2)[:2]
    if not version.startswith("HTTP/1."):
        raise ValueError(f"not HTTP: {line[:40]!r}")
    return int(status)
