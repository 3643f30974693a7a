"""A visitor: somebody in the client's namespace who asks the mesh for URLs and the Cloud Controller for changes.

The visitor is an event loop in a thread that entered the namespace, so that a request costs a millisecond and
hundreds may be under way at once; the tests talk to it from outside.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import httpx

from netlab.capi import app_actions, route_actions
from netlab.capi.client import CapiClient
from netlab.kernel import netns
from netlab.lab.api import Lab
from netlab.lab.mesh import PILOT_HTTP

PATIENCE = 60.0
"""Seconds in which what is to happen must have happened; on an idle machine hardly anything takes one."""
REQUEST_SECONDS = 10.0
AT_ONCE = 16


@dataclass(frozen=True)
class Answer:
    """What came back for one GET: the status, and who answered if it was the demo app."""

    status: int | None
    """None if nobody answered, or the connection broke."""
    app: str = ""
    instance: str = ""
    path: str = ""


class Visitor:
    """Asks through the load balancer by `host/path`; `with Visitor(lab) as visitor`."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.vip = lab.state["vip"]
        self.routers = [node["address"] for node in lab.state["nodes"].values() if node["kind"] == "router"]
        self._loop = asyncio.new_event_loop()
        self._entered = threading.Event()
        self._thread = threading.Thread(target=self._live, name="visitor", daemon=True)
        self._markers = itertools.count(1)
        self._capi: CapiClient

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._entered.wait(PATIENCE)
        self._capi = self.run(self.new_capi().__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._capi.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _live(self) -> None:
        netns.enter(self.lab.namespace("client"))
        self._loop.call_soon(self._entered.set)
        self._loop.run_forever()

    def run(self, work: Coroutine[Any, Any, Any], *, timeout: float = 120.0) -> Any:
        """Have the visitor do something, and wait for the result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    # ---- The Cloud Controller

    def new_capi(self) -> CapiClient:
        """A connection of its own, not logged in yet."""
        return CapiClient(**self.lab.state["capi"])

    def cf(self, word: str, **arguments: Any) -> Any:
        """One of the cf CLI's words: push, map_route, …"""
        return self.run((getattr(route_actions, word, None) or getattr(app_actions, word))(self._capi, **arguments))

    def api(self, method: str, path: str, *arguments: Any, **query: Any) -> Any:
        """One request to the API: `get`, `post`, `patch`, `put`, `delete` or `list`."""
        return self.run(getattr(self._capi, method)(path, *arguments, **query))

    # ---- The mesh

    def get(self, url: str) -> Answer:
        """One request through the load balancer."""
        return self.run(request(self.vip, url))

    def ask(self, url: str, times: int) -> list[Answer]:
        """Many requests through the load balancer, several at a time and each by a connection of its own."""
        return self.run(self._ask([self.vip] * times, url))

    def ask_routers(self, url: str, times: int = 20) -> list[Answer]:
        """So many requests at each router."""
        return self.run(self._ask([router for router in self.routers for _ in range(times)], url))

    async def _ask(self, addresses: list[str], url: str) -> list[Answer]:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(address: str) -> Answer:
            async with free:
                return await request(address, url)

        return await asyncio.gather(*(one(address) for address in addresses))

    def until(self, url: str, status: int) -> None:
        """Wait until `url` answers so at every router: from then on that change is in force wherever a request goes."""

        async def wait() -> None:
            for router in self.routers:
                await eventually(lambda router=router: request(router, url), lambda answer: answer.status == status)

        self.run(wait())

    async def pilot_hosts(self) -> set[str]:
        """The hosts of all VirtualServices that Pilot has in force."""
        control = self.lab.state["nodes"]["control"]["address"]
        async with httpx.AsyncClient(trust_env=False) as client:
            document = (await client.get(f"http://{control}:{PILOT_HTTP}/debug/configz")).json()
        services = document.get("istio/networking/v1alpha3/virtualservices", [])
        return {host for service in services for host in service["spec"]["hosts"]}

    def settle(self) -> None:
        """Wait until all changes so far are in force at every router, also one that makes no visible difference.

        A host that is mapped now is told to Copilot with or after the changes before it, and one that is mapped when
        the first is served after all of them. From there on the way keeps the order: Copilot's VirtualServices go to
        Pilot by revision, and a router has one table for all hosts. So once the second is served, they are in force.
        """
        for _ in range(2):
            marker = f"marker-{next(self._markers)}.{self.lab.state['domains'][0]}"
            self.cf("map_route", name="hello", route=marker)
            self.until(marker, 200)
            self.cf("delete_route", route=marker)

    def until_seen(self, url: str, wanted: Callable[[Answer], Any], expected: set[Any]) -> None:
        """Ask through the load balancer until every one of the expected was among the answers, and nothing else."""

        async def wait() -> None:
            seen: set[Any] = set()

            async def another() -> set[Any]:
                answer = await request(self.vip, url)
                assert answer.status == 200, answer
                seen.add(wanted(answer))
                return seen

            await eventually(another, lambda found: found >= expected)
            assert seen == expected

        self.run(wait())

    @contextmanager
    def steadily(self, url: str) -> Iterator[Steady]:
        """Ask for `url` all the time within the block."""
        steady = Steady()
        task = asyncio.run_coroutine_threadsafe(self._steadily(url, steady), self._loop)
        try:
            yield steady
        finally:
            steady.ending.set()
            task.result(REQUEST_SECONDS + 5)

    async def _steadily(self, url: str, steady: Steady) -> None:
        while not steady.ending.is_set():
            sent = time.time()
            answer = await request(self.vip, url)
            steady.count += 1
            if answer.status != 200:
                steady.failures.append((sent, answer))
            await asyncio.sleep(STEADY_PAUSE)


STEADY_PAUSE = 0.004


@dataclass
class Steady:
    """How steady requests fared."""

    count: int = 0
    failures: list[tuple[float, Answer]] = field(default_factory=list)
    """When they were sent (Unix time), and what came back."""
    ending: threading.Event = field(default_factory=threading.Event)


async def eventually(
    ask: Callable[[], Awaitable[Any]], good: Callable[[Any], bool], *, timeout: float = PATIENCE
) -> Any:
    """Ask until the answer is good; only the answer itself tells that the mesh serves something."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        answer = await ask()
        if good(answer):
            return answer
        assert time.monotonic() < deadline, f"after {timeout:g} s still {answer}"
        await asyncio.sleep(pause)
        pause = min(2 * pause, 0.05)


async def request(address: str, url: str) -> Answer:
    """GET `host/path` at an address's port 80, with the host's own name in the Host header."""
    host, _, path = url.partition("/")
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            reader, writer = await asyncio.open_connection(address, 80)
            try:
                writer.write(f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                # Not up to the end of the connection: an Envoy leaves the closing of one to its client for a second.
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                _, _, length = head.partition("\r\ncontent-length: ")
                body = await reader.readexactly(int(length.partition("\r\n")[0] or 0))
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return Answer(None)
    status = int(head.split(" ", 2)[1])
    if status != 200:
        return Answer(status)
    document = json.loads(body)
    return Answer(status, document["app"], document["instance_guid"], document["path"])
