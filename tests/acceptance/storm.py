"""A storm of writes to the Cloud Controller, and what the mesh must serve after it: every change it acknowledged.

Writers map, move, unmap and delete routes of two apps, one scales a third app, and one pushes and deletes a fourth.
For each host is kept what the Cloud Controller said last; a request that it did not answer leaves two possibilities,
until the Cloud Controller is asked which of them it holds.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from netlab.capi.client import CapiClient, Refused
from netlab.errors import MeshError
from tests.acceptance.visitor import AT_ONCE, Visitor, request

WRITERS = 4
HOSTS = 25
"""Of each writer; they are used again and again."""
SCALES = (2, 3, 1, 3)
CHURN_PAUSE = 0.3
"""Seconds between changes of the instances: a container takes about as long to start."""
Outcome = str | None
"""The app that must answer; None: nobody, with 404."""


@dataclass
class Host:
    """One host of one writer, and what the Cloud Controller has acknowledged of it."""

    url: str
    label: str
    outcomes: set[Outcome] = field(default_factory=lambda: {None})
    """More than one while a request about it is not answered."""
    since: float = 0.0
    """When the last change was acknowledged, Unix time."""
    guid: str = ""
    """The route's, if there is one."""
    going: bool = False
    """Whether a request to delete the route is not answered."""

    def acknowledge(self, outcome: Outcome) -> None:
        """The Cloud Controller said so."""
        self.outcomes = {outcome}
        self.since = time.time()


class Served(NamedTuple):
    """When a host's last change was served, Unix time: after `wrong` (0: it was at once), and no later than `right`."""

    host: Host
    wrong: float
    right: float


@dataclass
class Storm:
    """The writers and what they know, from one outbreak to the next."""

    visitor: Visitor
    targets: dict[str, str]
    """The apps that routes are mapped to: guid by name."""
    scaled: str
    """The guid of the app that is scaled."""
    space: str
    domain: str
    """The guids of where the routes are made."""
    hosts: list[Host] = field(default_factory=list)
    brief: Host = field(default_factory=lambda: Host("", ""))
    """The host of the app that is pushed and deleted."""
    brief_guid: str = ""
    """That app's, while it is there."""
    instances: int = 1
    """Of the app that is scaled."""
    losing: bool = False
    """Whether requests may fail, as when the Cloud Controller is killed."""
    writes: int = 0
    lost: int = 0
    """Requests that were not answered."""
    _ending: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        domain = self.visitor.lab.state["domains"][0]
        labels = [f"storm-{number}" for number in range(WRITERS * HOSTS)]
        self.hosts = [Host(f"{label}.{domain}", label) for label in labels]
        self.brief = Host(f"brief.{domain}", "brief")

    async def begin(self, writes: int, *, losing: bool) -> None:
        """Start writing, and return once so many writes were acknowledged."""
        self._ending.clear()
        self.losing = losing
        self.writes = self.lost = 0
        writers = [self._write_routes(self.hosts[writer::WRITERS], random.Random(writer)) for writer in range(WRITERS)]
        self._tasks = [asyncio.create_task(work) for work in (*writers, self._scale(), self._churn())]
        while self.writes < writes:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.005)

    async def end(self) -> None:
        """Let each writer finish its request; raises what went wrong with any."""
        self._ending.set()
        await asyncio.gather(*self._tasks)

    # ---- The writers

    async def _write_routes(self, hosts: list[Host], random: random.Random) -> None:
        async with self.visitor.new_capi() as capi:
            while not self._ending.is_set():
                host = random.choice(hosts)
                before = next(iter(host.outcomes))
                wanted = random.choice([None, *(name for name in self.targets if name != before)])
                await self._attempt(host, self._write_route(capi, host, before, wanted), capi)

    async def _write_route(self, capi: CapiClient, host: Host, before: Outcome, wanted: Outcome) -> None:
        """Lead a host from one app to another, or to none: by deleting the route, or its destinations."""
        host.outcomes = {before, wanted}
        if not host.guid:
            if wanted is None:
                host.acknowledge(None)
                return
            await self._create_route(capi, host)
        path = f"/v3/routes/{host.guid}"
        if wanted is None and (before is None or int(host.guid[0], 16) % 2):
            host.going = True
            await capi.delete(path)
            host.guid, host.going = "", False
        elif wanted is None:
            document = await capi.get(f"{path}/destinations")
            for destination in document["destinations"]:
                await capi.delete(f"{path}/destinations/{destination['guid']}")
        elif before is None:
            await capi.post(f"{path}/destinations", {"destinations": [{"app": {"guid": self.targets[wanted]}}]})
        else:
            await capi.patch(f"{path}/destinations", {"destinations": [{"app": {"guid": self.targets[wanted]}}]})
        host.acknowledge(wanted)
        self.writes += 1

    async def _scale(self) -> None:
        async with self.visitor.new_capi() as capi:
            for instances in itertools.cycle(SCALES):
                if await self._pause():
                    return
                work = capi.post(f"/v3/processes/{self.scaled}/actions/scale", {"instances": instances})
                await self._attempt(None, work, capi)
                # Answered or not, it is asked: the last word is the Cloud Controller's.
                process = await self._when_back(capi, f"/v3/processes/{self.scaled}")
                self.instances = process["instances"]

    async def _create_route(self, capi: CapiClient, host: Host) -> None:
        relationships = {"space": {"data": {"guid": self.space}}, "domain": {"data": {"guid": self.domain}}}
        host.guid = (await capi.post("/v3/routes", {"host": host.label, "relationships": relationships}))["guid"]
        self.writes += 1

    async def _churn(self) -> None:
        async with self.visitor.new_capi() as capi:
            if not self.brief.guid:
                await self._create_route(capi, self.brief)
            while not await self._pause():
                work = self._delete(capi, self.brief) if self.brief_guid else self._push(capi, self.brief)
                await self._attempt(self.brief, work, capi)

    async def _push(self, capi: CapiClient, host: Host) -> None:
        host.outcomes = {None, host.label}
        relationships = {"space": {"data": {"guid": self.space}}}
        guid = (await capi.post("/v3/apps", {"name": host.label, "relationships": relationships}))["guid"]
        await capi.post(f"/v3/routes/{host.guid}/destinations", {"destinations": [{"app": {"guid": guid}}]})
        await capi.post(f"/v3/apps/{guid}/actions/start")
        self.brief_guid = guid
        host.acknowledge(host.label)
        self.writes += 3

    async def _delete(self, capi: CapiClient, host: Host) -> None:
        host.outcomes = {None, host.label}
        await capi.delete(f"/v3/apps/{self.brief_guid}")
        self.brief_guid = ""
        host.acknowledge(None)
        self.writes += 1

    async def _pause(self) -> bool:
        """Wait a little; whether the storm ends."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), CHURN_PAUSE)
        return self._ending.is_set()

    # ---- What becomes of a request that is not answered

    async def _attempt(self, host: Host | None, work: Awaitable[Any], capi: CapiClient) -> None:
        try:
            await work
        except MeshError as error:
            if not self.losing or isinstance(error, Refused):
                raise
            self.lost += 1
            if host is not None and host is self.brief:
                await self._forget_brief(capi, host)
            elif host is not None:
                await self._look_up(capi, host)

    async def _look_up(self, capi: CapiClient, host: Host) -> None:
        """Take the Cloud Controller's word for a host: it must be one of the two possibilities, and nothing else."""
        found = (await self._when_back(capi, "/v3/routes", hosts=host.label))["resources"]
        assert len(found) <= 1, found
        assert found or host.going or not host.guid, f"{host.url} is lost"
        host.going = False
        host.guid = found[0]["guid"] if found else ""
        names = {guid: name for name, guid in self.targets.items()}
        present = [names[each["app"]["guid"]] for route in found for each in route["destinations"]]
        assert len(present) <= 1, f"{host.url} is half made: {present}"
        outcome = present[0] if present else None
        assert outcome in host.outcomes, f"{host.url} leads to {outcome} and not to one of {host.outcomes}"
        host.acknowledge(outcome)

    async def _forget_brief(self, capi: CapiClient, host: Host) -> None:
        """However far the push or the deletion came, the app is deleted."""
        for app in (await self._when_back(capi, "/v3/apps", names=host.label))["resources"]:
            await capi.delete(f"/v3/apps/{app['guid']}")
        self.brief_guid = ""
        host.acknowledge(None)

    async def _when_back(self, capi: CapiClient, path: str, **query: str) -> dict[str, Any]:
        while True:
            try:
                return await capi.get(path, **query)
            except MeshError as error:
                if not self.losing or isinstance(error, Refused):
                    raise
            await asyncio.sleep(0.02)

    # ---- What the mesh serves

    async def until_served(self, timeout: float) -> list[Served]:
        """Ask every router for every host until each is answered as acknowledged."""
        deadline = time.monotonic() + timeout
        free = asyncio.Semaphore(AT_ONCE)

        async def one(host: Host) -> Served:
            (outcome,) = host.outcomes
            wrong = 0.0
            for router in self.visitor.routers:
                while True:
                    async with free:
                        asked = time.time()
                        answer = await request(router, host.url)
                    if answer.status == 404 if outcome is None else (answer.status, answer.app) == (200, outcome):
                        break
                    wrong = asked
                    assert time.monotonic() < deadline, f"{host.url}: {answer} and not {outcome or 404}"
                    await asyncio.sleep(0.005)
            return Served(host, wrong, time.time())

        # Those that changed last are asked for first: they are the ones that may not be served yet.
        return await asyncio.gather(*(one(host) for host in sorted(self.hosts, key=lambda host: -host.since)))
