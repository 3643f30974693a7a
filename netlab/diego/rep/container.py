"""The life of one container: claimed, made, healthy, running, ended by itself or stopped, taken down, reported."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from netlab.diego.bbs_client import BbsClient, BbsRefusedError, BbsUnreachableError
from netlab.diego.messages import LRP
from netlab.diego.rep import health, recipe
from netlab.diego.rep.drain import outside_connections
from netlab.diego.rep.plan import SIDECAR_PORT
from netlab.diego.rep.processes import Watched, describe
from netlab.diego.rep.recipe import HttpCheck, Recipe, TcpCheck
from netlab.diego.rep.record import ContainerState, Record
from netlab.diego.rep.workshop import ContainerFailedError, Workshop
from netlab.errors import NetlabError
from netlab.protocols import bbs_pb2

HEARD_SECONDS = 0.5
"""How long a stop waits for the BBS to take note before it goes on without."""
KILL_SECONDS = 5.0
DRAIN_PAUSE = 0.05
"""Seconds between two looks at who is still connected."""
CRASH_DRAIN_SECONDS = 1.0
"""How long the sidecar of an instance that crashed may go on telling those who did not hear yet."""
ASK_AGAIN_SECONDS = 1.0
"""After the BBS did not say how an instance is to be checked."""
SLOT_SECONDS = 1.0
"""How long a container that does not answer yet counts as one of those that are being started."""
_Result = TypeVar("_Result")


class _StopError(Exception):
    """The container was asked to stop."""


class Container:
    """One container of this cell. Cancelling what it does leaves it running, for the next rep to adopt."""

    def __init__(self, lrp: LRP, address: str, workshop: Workshop, bbs: BbsClient, log: logging.Logger) -> None:
        self.lrp = lrp
        self.address = address
        self.record: Record | None = None
        self._workshop = workshop
        self._bbs = bbs
        self._log = log
        self._stop = asyncio.Event()
        self._app: Watched | None = None
        self._sidecar: Watched | None = None
        self._key = bbs_pb2.ActualLRPKey(process_guid=lrp.process_guid, index=lrp.index, domain=lrp.domain)
        self._instance = bbs_pb2.ActualLRPInstanceKey(instance_guid=lrp.instance_guid, cell_id=workshop.config.cell_id)

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self.record is not None and self.record.state is ContainerState.RUNNING

    def stop(self) -> None:
        """Ask it to stop; returns at once."""
        self._stop.set()

    async def live(self) -> None:
        """A new container's whole life."""
        try:
            wanted = recipe.of_desired(await self._bbs.desired(self.lrp.process_guid))
            await self._bbs.claim(self._key, self._instance)
        except (BbsRefusedError, BbsUnreachableError) as error:
            self._log.info("%s is not begun: %s", self.lrp, error)
            return
        await self._until_end(self._begin(wanted))

    async def live_on(self, record: Record, app: Watched, sidecar: Watched) -> None:
        """The rest of the life of a container that an earlier rep began."""
        self.record, self._app, self._sidecar = record, app, sidecar
        await self._until_end(self._serve(record, None))

    async def give_up(self, record: Record, app: Watched | None, sidecar: Watched | None) -> None:
        """The end of a container that an earlier rep began and that cannot go on."""
        self.record, self._app, self._sidecar = record, app, sidecar
        self.stop()
        await self._end()

    async def report(self) -> None:
        """Tell the BBS again that the container serves; if it is not wanted any more, it stops."""
        if self.record is not None and self.running and not self.stopping:
            try:
                await self._bbs.start(self._key, self._instance, net_info(self.record))
            except BbsRefusedError as error:
                self._log.warning("%s stops: %s", self.record.node, error)
                self.stop()

    async def evacuate(self) -> None:
        """Have the container replaced on another cell; it stops once nobody needs it, and at once if it starts only.

        Raises BbsUnreachableError.
        """
        if self.stopping:
            return
        if self.record is None or not self.running:
            self.stop()
            return
        try:
            needed = await self._bbs.evacuate_running(self._key, self._instance, net_info(self.record))
        except BbsRefusedError as error:
            self._log.warning("%s stops: %s", self.record.node, error)
            needed = False
        if not needed:
            self.stop()

    async def _until_end(self, life: Coroutine[Any, Any, None]) -> None:
        try:
            await life
        except _StopError:
            await self._end()
        except BbsRefusedError as error:
            self._log.warning("%s stops: %s", self.lrp, error)
            await self._end()
        except (NetlabError, OSError) as error:
            self._log.warning("%s crashed: %s", self.lrp, error)
            await self._crash(str(error))

    async def _begin(self, wanted: Recipe) -> None:
        healthy: asyncio.Task[None] | None = None
        try:
            async with self._workshop.starting:
                if self.stopping:
                    raise _StopError
                record = await self._make(wanted)
                healthy = asyncio.create_task(self._until_healthy(record, wanted))
                # An app that takes its time must not hold up others.
                await self._while_alive(asyncio.wait({healthy}, timeout=SLOT_SECONDS))
            await self._while_alive(healthy)
        finally:
            if healthy is not None:
                healthy.cancel()
        await self._serve(record, wanted)

    async def _make(self, wanted: Recipe) -> Record:
        """The container with both processes, which need not answer yet."""
        workshop, lrp = self._workshop, self.lrp
        record = self.record = workshop.reserve(wanted, lrp.instance_guid, lrp.index, lrp.domain, self.address)
        await workshop.furnish(record, wanted)
        await workshop.connect(record)
        self._sidecar = workshop.start_sidecar(record)
        record.sidecar_pid = self._sidecar.pid
        self._app = workshop.start_app(record, wanted)
        record.app_pid = self._app.pid
        record.write(workshop.config.containers)
        return record

    async def _serve(self, record: Record, wanted: Recipe | None) -> None:
        await self._while_alive(self._bbs.start(self._key, self._instance, net_info(record)))
        record.state = ContainerState.RUNNING
        record.write(self._workshop.config.containers)
        self._log.info("%s serves at %s:%d", record.node, record.cell_address, record.host_port)
        await self._while_alive(self._until_unhealthy(record, wanted))

    async def _until_unhealthy(self, record: Record, wanted: Recipe | None) -> None:
        """Check the app for as long as it serves; raises ContainerFailedError once it does not answer as it should."""
        while wanted is None:
            # An earlier rep made the container.
            try:
                wanted = recipe.of_desired(await self._bbs.desired(self.lrp.process_guid))
            except (BbsRefusedError, BbsUnreachableError):
                await asyncio.sleep(ASK_AGAIN_SECONDS)
        namespace = Path(record.namespace_path)
        checks = [
            asyncio.create_task(health.until_unhealthy(namespace, record.address, check)) for check in wanted.checks
        ]
        if not checks:  # of a process only its end counts
            await asyncio.Event().wait()
        try:
            failed, _ = await asyncio.wait(checks, return_when=asyncio.FIRST_COMPLETED)
            reason = failed.pop().result()
            raise ContainerFailedError(f"Instance became unhealthy: Liveness check unsuccessful: {reason}")
        finally:
            for check in checks:
                check.cancel()

    async def _until_healthy(self, record: Record, wanted: Recipe) -> None:
        namespace = Path(record.namespace_path)
        unhealthy: dict[str, HttpCheck | TcpCheck] = {"its sidecar": TcpCheck(SIDECAR_PORT)}
        unhealthy |= {f"port {check.port}": check for check in wanted.checks}

        async def wait(name: str, check: HttpCheck | TcpCheck) -> None:
            await health.until_healthy(namespace, record.address, check)
            del unhealthy[name]

        try:
            async with asyncio.timeout(wanted.start_timeout), asyncio.TaskGroup() as group:
                for name, check in list(unhealthy.items()):
                    group.create_task(wait(name, check))
        except TimeoutError:
            silent = " and ".join(unhealthy)
            raise ContainerFailedError(f"{silent} did not answer within {wanted.start_timeout:g} s") from None

    async def _while_alive(self, work: Awaitable[_Result]) -> _Result:
        """Do something for as long as both processes run and nobody asks the container to stop."""
        assert self._app is not None
        assert self._sidecar is not None
        task, stop = asyncio.ensure_future(work), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(
                {task, stop, self._app.exited, self._sidecar.exited}, return_when=asyncio.FIRST_COMPLETED
            )
            if self._stop.is_set():
                raise _StopError
            if self._app.exited.done():
                end = self._workshop.groups.end_of_app(self.lrp.instance_guid, self._app.exited.result())
                raise ContainerFailedError(f"the app {end}")
            if self._sidecar.exited.done():
                raise ContainerFailedError(f"the sidecar {describe(self._sidecar.exited.result())}")
            return await task
        finally:
            for pending in (task, stop):
                pending.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    async def _end(self) -> None:
        """Stop as one that was asked to: out of the routes first, then the app, then the rest."""
        removal = asyncio.create_task(self._report_removal())
        # What an earlier rep began to stop may not have been drained.
        served = self.record is not None and self.record.state is not ContainerState.STARTING
        if self.record is not None:
            self.record.state = ContainerState.STOPPING
            self.record.write(self._workshop.config.containers)
        if served and self._app is not None and self._sidecar is not None:
            await self._drained(removal, self._workshop.config.drain_limit_seconds)
        if self._app is not None:
            self._app.signal(signal.SIGTERM)
            await asyncio.wait({self._app.exited}, timeout=self._workshop.config.grace_seconds)
        await self._take_down()
        await removal

    async def _crash(self, reason: str) -> None:
        """End as one that cannot go on: out of the routes first, then the rest.

        Its sidecar stays for a moment: it answers 503 at once to those who have yet to hear, and they ask another.
        """
        served = self.running
        self.stop()  # a successor may be placed on this cell
        if self.record is not None:
            self.record.state = ContainerState.STOPPING
            # Its successor is about to come, and is to be found under its name.
            self._workshop.rename(self.record)
        report = asyncio.create_task(self._report_crash(reason))
        if served:
            await self._drained(report, CRASH_DRAIN_SECONDS)
        await self._take_down()
        await report

    async def _drained(self, report: asyncio.Task[None], limit: float) -> None:
        """Return when nobody is connected to the instance any more who was told by `report` to go elsewhere.

        At the latest after `limit` seconds, or when the sidecar has ended.
        """
        assert self.record is not None
        assert self._sidecar is not None
        config = self._workshop.config
        await asyncio.wait({report}, timeout=HEARD_SECONDS)
        ports = {SIDECAR_PORT, *(pair.app_port for pair in self.record.ports)}
        deadline = asyncio.get_running_loop().time() + limit
        pause = min(config.drain_seconds, limit)
        while not self._sidecar.exited.done():
            await asyncio.wait({self._sidecar.exited}, timeout=pause)
            left = outside_connections(self._sidecar.pid, ports)
            if not left:
                return
            if asyncio.get_running_loop().time() >= deadline:
                self._log.info("%s ends with %d connections", self.record.node, left)
                return
            pause = DRAIN_PAUSE

    async def _take_down(self) -> None:
        ended = {process.exited for process in (self._app, self._sidecar) if process is not None}
        for process in (self._app, self._sidecar):
            if process is not None:
                process.signal(signal.SIGKILL)
        if ended:
            await asyncio.wait(ended, timeout=KILL_SECONDS)
        if self.record is not None:
            await self._workshop.dismantle(self.record)

    async def _report_removal(self) -> None:
        try:
            await self._bbs.remove(self._key, self._instance)
        except BbsRefusedError as error:
            self._log.info("%s: %s", self.lrp, error)

    async def _report_crash(self, reason: str) -> None:
        try:
            await self._bbs.crash(self._key, self._instance, reason)
        except BbsRefusedError as error:
            self._log.info("%s: %s", self.lrp, error)


def net_info(record: Record) -> bbs_pb2.ActualLRPNetInfo:
    """A container's addresses as the BBS is told of them."""
    return bbs_pb2.ActualLRPNetInfo(
        address=record.cell_address,
        ports=[bbs_pb2.PortMapping(container_port=pair.app_port, host_port=pair.host_port) for pair in record.ports],
        instance_address=record.address,
        preferred_address=bbs_pb2.ActualLRPNetInfo.HOST,
    )
