"""One cell: the containers it has, what it can still take, and how it agrees with the BBS about both."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from netlab.diego.bbs_client import BbsClient, BbsRefusedError, BbsUnreachableError
from netlab.diego.messages import LRP, CellState, Resources, Work
from netlab.diego.rep.config import RepConfig
from netlab.diego.rep.container import Container
from netlab.diego.rep.metrics import Metrics
from netlab.diego.rep.processes import adopt
from netlab.diego.rep.record import ContainerState, Record, read_all
from netlab.diego.rep.workshop import Workshop
from netlab.protocols import bbs_pb2

_RENEWAL_PAUSE = 60.0
"""Seconds between two looks at the certificates, at most: containers come and go."""
FAILING_PAUSE = 0.2
"""Seconds between heartbeats that the BBS does not answer."""


class Rep:
    """All containers of one cell, each with a task of its own."""

    def __init__(
        self, config: RepConfig, workshop: Workshop, bbs: BbsClient, tasks: asyncio.TaskGroup, log: logging.Logger
    ) -> None:
        self.config = config
        self.containers: dict[str, Container] = {}
        self.reported = asyncio.Event()
        self.evacuating = False
        self._metrics = Metrics()
        """Whether it gives its containers away and takes no new ones."""
        self._workshop = workshop
        self._bbs = bbs
        self._tasks = tasks
        self._log = log
        self._running: set[asyncio.Task[None]] = set()

    # ---- Requests

    def state(self) -> CellState:
        """What the auctioneer needs to know."""
        containers = self.containers.values()
        memory = self.config.memory_mb - sum(container.lrp.memory_mb for container in containers)
        disk = self.config.disk_mb - sum(container.lrp.disk_mb for container in containers)
        left = min(self._workshop.addresses.free, self._workshop.host_ports.free)
        return CellState(
            cell_id=self.config.cell_id,
            rep_url=rep_url(self.config),
            zone="z1",
            evacuating=self.evacuating,
            available=Resources(memory_mb=memory, disk_mb=disk, containers=left),
            total=self._total(left),
            starting=sum(not container.running and not container.stopping for container in containers),
            lrps=[container.lrp for container in containers if not container.stopping],
        )

    def work(self, work: Work) -> Work:
        """Begin what there is room for; returns the rest. What has begun already is fine."""
        if self.evacuating:
            return work
        refused = []
        begun = {(c.lrp.process_guid, c.lrp.index) for c in self.containers.values() if not c.stopping}
        for lrp in work.lrps:
            if (lrp.process_guid, lrp.index) in begun:
                continue
            address = self._workshop.addresses.take() if self._workshop.host_ports.free else None
            if address is None:
                refused.append(lrp)
                continue
            own = lrp.model_copy(update={"instance_guid": str(uuid.uuid4())})
            container = Container(own, str(IPv4Address(address)), self._workshop, self._bbs, self._log)
            self._keep(container, container.live())
        return Work(cell_id=self.config.cell_id, lrps=refused)

    async def metrics(self) -> dict[str, dict[str, Any]]:
        """What each container that serves uses, by its instance's guid; see Metrics.sample."""
        running = [guid for guid, container in self.containers.items() if container.running]
        workshop = self._workshop
        places = {guid: (workshop.groups.app(guid), self.config.containers / guid) for guid in running}
        # Counting files takes its time.
        return await asyncio.to_thread(self._metrics.sample, places)

    async def keep_credentials(self) -> None:
        """Renew the containers' certificates for ever, each before it ends."""
        while True:
            addresses = {guid: container.address for guid, container in self.containers.items()}
            due = self._workshop.credentials.renew(addresses)
            await asyncio.sleep(min(max(due, 1.0), _RENEWAL_PAUSE))

    def stop(self, instance_guid: str) -> bool:
        """Stop a container; returns at once, and False if there is none of that guid."""
        container = self.containers.get(instance_guid)
        if container is None:
            return False
        container.stop()
        return True

    def evacuate(self) -> None:
        """Give all containers away: each is stopped once its replacement runs elsewhere. Returns at once.

        The rep takes no work any more; a rep that starts anew does.
        """
        if not self.evacuating:
            self.evacuating = True
            self._log.info("evacuating %d containers", len(self.containers))
            task = self._tasks.create_task(self._until_empty())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _until_empty(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.config.evacuation_seconds
        while self.containers:
            late = asyncio.get_running_loop().time() > deadline
            for container in list(self.containers.values()):
                try:
                    await container.evacuate()
                except BbsUnreachableError as error:
                    self._log.warning("%s", error)
                if late:
                    container.stop()
            await asyncio.sleep(self.config.heartbeat_seconds)
        self._log.info("evacuated")

    # ---- Containers of an earlier rep

    def adopt(self) -> None:
        """Go on with the containers that an earlier rep of this cell left running, and take down the rest."""
        self._workshop.release_names()
        for record in read_all(self.config.containers, self.config.cell_id, self._log):
            namespace = Path(record.namespace_path)
            app, sidecar = adopt(record.app_pid, namespace), adopt(record.sidecar_pid, namespace)
            self._workshop.addresses.take_these([int(IPv4Address(record.address))])
            self._workshop.host_ports.take_these(pair.host_port for pair in record.ports)
            container = Container(_lrp(record), record.address, self._workshop, self._bbs, self._log)
            if record.state is ContainerState.RUNNING and app is not None and sidecar is not None:
                self._log.info("%s of an earlier rep goes on", record.node)
                self._keep(container, container.live_on(record, app, sidecar))
            else:
                self._log.info("%s of an earlier rep is taken down", record.node)
                self._keep(container, container.give_up(record, app, sidecar))

    # ---- The BBS

    async def keep_reporting(self) -> None:
        """Report the cell to the BBS for ever, and compare notes after each time that it was out of reach.

        `reported` is set by the first heartbeat that the BBS answers.
        """
        loop = asyncio.get_running_loop()
        presence = self._presence()
        synced_at: float | None = None
        failing = False
        while True:
            try:
                await self._bbs.heartbeat(presence)
                self.reported.set()
                if synced_at is None or failing or loop.time() - synced_at > self.config.sync_seconds:
                    await self.sync()
                    synced_at, failing = loop.time(), False
            except (BbsUnreachableError, BbsRefusedError) as error:
                if not failing:
                    self._log.warning("%s", error)
                failing = True
            await asyncio.sleep(FAILING_PAUSE if failing else self.config.heartbeat_seconds)

    async def sync(self) -> None:
        """Compare this cell's containers with what the BBS thinks it has."""
        had = dict(self.containers)
        listed = await self._bbs.actual_on(self.config.cell_id)
        known = {lrp.actual_lrp_instance_key.instance_guid for lrp in listed}
        for lrp in listed:
            guid = lrp.actual_lrp_instance_key.instance_guid
            if guid not in had and guid not in self.containers:
                self._log.warning("%s of the BBS is not here", guid)
                try:
                    await self._bbs.remove(lrp.actual_lrp_key, lrp.actual_lrp_instance_key)
                except BbsRefusedError as error:
                    self._log.info("%s", error)
        for guid, container in had.items():
            if guid not in known:
                await container.report()

    def _presence(self) -> bbs_pb2.CellPresence:
        total = self._total(min(self._workshop.addresses.free, self._workshop.host_ports.free))
        return bbs_pb2.CellPresence(
            cell_id=self.config.cell_id,
            rep_address=f"http://{self.config.listen}",
            zone="z1",
            capacity=bbs_pb2.CellCapacity(
                memory_mb=total.memory_mb, disk_mb=total.disk_mb, containers=total.containers
            ),
            rootfs_providers=[bbs_pb2.Provider(name="preloaded", properties=["netlab"])],
            rep_url=rep_url(self.config),
        )

    def _total(self, left: int) -> Resources:
        return Resources(
            memory_mb=self.config.memory_mb, disk_mb=self.config.disk_mb, containers=left + len(self.containers)
        )

    def _keep(self, container: Container, life: Coroutine[Any, Any, None]) -> None:
        self.containers[container.lrp.instance_guid] = container
        task = self._tasks.create_task(self._until_gone(container, life))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _until_gone(self, container: Container, life: Coroutine[Any, Any, None]) -> None:
        await life
        del self.containers[container.lrp.instance_guid]
        self._workshop.addresses.give_back([int(IPv4Address(container.address))])

    def leave(self) -> None:
        """End all tasks; the containers run on."""
        for task in self._running:
            task.cancel()


def rep_url(config: RepConfig) -> str:
    """Where this rep answers."""
    return f"https://{config.listen}"


def _lrp(record: Record) -> LRP:
    """The LRP that a record's container runs."""
    return LRP(
        process_guid=record.process_guid,
        index=record.index,
        domain=record.domain,
        instance_guid=record.instance_guid,
    )
