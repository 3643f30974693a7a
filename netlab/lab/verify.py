"""The last task of a bring-up: each route must answer, at each router and through the load balancer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import dns.asyncquery
import dns.message
import dns.rdatatype

from netlab.errors import MeshError

FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
"""Seconds between two tries; there is no event for "the data plane serves this", only the request itself."""


async def task(params: dict[str, Any], _emit: Callable[[dict[str, Any]], None]) -> None:
    """Wait until each of `routes` (host[/path]) answers 200 at each of `routers`, and at `vip` by the lab's DNS.

    Raises MeshError naming the route, the place and the last answer, after `timeout` seconds.
    """
    deadline = time.monotonic() + params["timeout"]
    places = {**params["routers"], "the load balancer": params["vip"]}
    async with asyncio.TaskGroup() as group:
        for route in params["routes"]:
            for place, address in places.items():
                group.create_task(_until_200(route, place, address, deadline))
            group.create_task(_resolves(route.partition("/")[0], params["dns"], params["vip"]))


async def _until_200(route: str, place: str, address: str, deadline: float) -> None:
    pause = FIRST_PAUSE
    while True:
        answer = await status(address, route)
        if answer == 200:
            return
        if time.monotonic() > deadline:
            said = f"answers {answer}" if answer else "does not answer"
            raise MeshError(f"http://{route}/ {said} at {place}", hint="netlab logs control pilot", route=route)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


async def status(address: str, route: str, port: int = 80) -> int | None:
    """The HTTP status of one GET of `route` (host[/path]) at an address; None if nobody answers."""
    host, _, path = route.partition("/")
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(address, port)
            try:
                writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


async def _resolves(host: str, server: str, vip: str) -> None:
    answer = await dns.asyncquery.udp(dns.message.make_query(host, dns.rdatatype.A), server, timeout=2)
    found = {str(record) for rrset in answer.answer for record in rrset}
    if found != {vip}:
        raise MeshError(f"the lab's DNS says {', '.join(found) or 'nothing'} for {host}, not {vip}", host=host)
