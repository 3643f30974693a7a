"""The link to the BBS: protobuf over HTTPS with mutual TLS."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import httpx
from google.protobuf.message import DecodeError, Message

from netlab.capi.changes import DiegoChange, RefreshRoutes
from netlab.capi.link import Link
from netlab.capi.recipe import LRP_DOMAIN
from netlab.capi.usage import CellUsage, Usage
from netlab.errors import MeshError
from netlab.protocols import bbs_events
from netlab.protocols import bbs_pb2 as bbs
from netlab.tls import TlsFiles

_TIMEOUT_SECONDS = 5.0
_FRESH_SECONDS = 120
Answer = TypeVar("Answer", bound=Message)


class BbsClient(Link[DiegoChange]):
    """Tells the BBS what to run, and asks it what runs."""

    def __init__(
        self,
        url: str,
        tls: TlsFiles,
        state: Callable[[], list[bbs.DesiredLRP]],
        routes_updates: Callable[[str], list[bbs.UpdateDesiredLRPRequest]],
        sync_seconds: float,
        log: logging.Logger,
    ) -> None:
        super().__init__(f"BBS at {url}", sync_seconds, log)
        self._state = state
        self._routes_updates = routes_updates
        self._reps = CellUsage(tls, log)
        transport = httpx.AsyncHTTPTransport(verify=tls.client_context(), socket_options=bbs_events.KEEPALIVE)
        self._http = httpx.AsyncClient(base_url=url, transport=transport, timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            await super().run()
        finally:
            await self._http.aclose()
            await self._reps.aclose()

    def put(self, changes: Sequence[DiegoChange]) -> None:
        """Enqueue changes; a refresh that waits already is not enqueued again."""
        super().put(
            [change for change in changes if not isinstance(change, RefreshRoutes) or change not in self._pending]
        )

    async def actual_lrps(self, process_guid: str) -> Sequence[bbs.ActualLRP]:
        """The instances of a process; raises ConnectionError."""
        request = bbs.ActualLRPsRequest(process_guid=process_guid)
        answer = await self._post("/v1/actual_lrps/list", request, bbs.ActualLRPsResponse)
        if answer.HasField("error") and answer.error.type != bbs.Error.ResourceNotFound:
            raise ConnectionError(answer.error.message)
        return answer.actual_lrps

    async def usage(self, cells: Collection[str]) -> Usage:
        """What the instances on some cells use; those that cannot be asked are left out."""
        try:
            answer = await self._post("/v1/cells/list.r1", bbs.EventsByCellId(), bbs.CellsResponse)
        except ConnectionError:
            return {}
        return await self._reps.of([cell.rep_url for cell in answer.cells if cell.cell_id in cells])

    async def retire(self, process_guid: str, index: int) -> None:
        """Have an instance replaced, if there is one; raises ConnectionError."""
        key = bbs.ActualLRPKey(process_guid=process_guid, index=index, domain=LRP_DOMAIN)
        request = bbs.RetireActualLRPRequest(actual_lrp_key=key)
        answer = await self._post("/v1/actual_lrps/retire", request, bbs.ActualLRPLifecycleResponse)
        if answer.HasField("error") and answer.error.type != bbs.Error.ResourceNotFound:
            raise ConnectionError(answer.error.message)

    async def follow(self, changed: asyncio.Event) -> None:
        """Set `changed` at the beginning and whenever instances change; ends with ConnectionError."""
        timeout = httpx.Timeout(None, connect=_TIMEOUT_SECONDS)
        body = bbs.EventsByCellId().SerializeToString()
        try:
            async with self._http.stream("POST", bbs_events.PATH, content=body, timeout=timeout) as reply:
                reply.raise_for_status()
                changed.set()
                async for _ in bbs_events.instance_events(reply.aiter_lines()):
                    changed.set()
        except (httpx.HTTPError, MeshError) as error:
            raise ConnectionError(f"events of {self._peer}: {str(error) or type(error).__name__}") from error
        raise ConnectionError(f"{self._peer} ended the event stream")

    async def deliver(self, change: DiegoChange) -> None:
        """One request for one change."""
        if isinstance(change, bbs.DesireLRPRequest):
            await self._act("/v1/desired_lrp/desire.r2", change, bbs.Error.ResourceExists)
        elif isinstance(change, bbs.RemoveDesiredLRPRequest):
            await self._act("/v1/desired_lrp/remove", change, bbs.Error.ResourceNotFound)
        else:
            updates = self._routes_updates(change.process_guid) if isinstance(change, RefreshRoutes) else [change]
            for request in updates:
                if not await self._act("/v1/desired_lrp/update", request):
                    self.resync()

    async def sync(self) -> None:
        """Compare the BBS with the database, mend the difference, and declare the domain fresh."""
        listed = await self._post(
            "/v1/desired_lrps/list.r3", bbs.DesiredLRPsRequest(domain=LRP_DOMAIN), bbs.DesiredLRPsResponse
        )
        if listed.HasField("error"):
            raise ConnectionError(listed.error.message)
        self.start_over()
        repairs = differences(listed.desired_lrps, self._state())
        for repair in repairs:
            await self.deliver(repair)
        fresh = bbs.UpsertDomainRequest(domain=LRP_DOMAIN, ttl=_FRESH_SECONDS)
        await self._post("/v1/domains/upsert", fresh, bbs.UpsertDomainResponse)
        if repairs:
            self._log.info("%s: %d LRPs repaired", self._peer, len(repairs))

    async def _act(self, path: str, request: Message, harmless: bbs.Error.Type.ValueType | None = None) -> bool:
        """Send a request; whether it was done, or was not needed. Raises ConnectionError."""
        answer = await self._post(path, request, bbs.DesiredLRPLifecycleResponse)
        if not answer.HasField("error") or answer.error.type == harmless:
            return True
        if answer.error.type != bbs.Error.ResourceNotFound:
            self._log.error("%s refused %s: %s", self._peer, path, answer.error.message)
            return True
        return False

    async def _post(self, path: str, request: Message, kind: type[Answer]) -> Answer:
        try:
            response = await self._http.post(
                path,
                content=request.SerializeToString(),
                headers={"content-type": "application/x-protobuf"},
            )
            response.raise_for_status()
            answer = kind()
            answer.ParseFromString(response.content)
        except (httpx.HTTPError, DecodeError) as error:
            raise ConnectionError(f"{path}: {str(error) or type(error).__name__}") from error
        return answer


def differences(present: Sequence[bbs.DesiredLRP], wanted: Sequence[bbs.DesiredLRP]) -> list[DiegoChange]:
    """What leads the BBS from the LRPs that it has to those that it should have."""
    have = {lrp.process_guid: lrp for lrp in present}
    want = {lrp.process_guid: lrp for lrp in wanted}
    changes: list[DiegoChange] = []
    for guid, lrp in want.items():
        old = have.get(guid)
        if old is None:
            changes.append(bbs.DesireLRPRequest(desired_lrp=lrp))
        elif old.instances != lrp.instances or old.routes != lrp.routes:
            update = bbs.DesiredLRPUpdate(instances=lrp.instances, routes=lrp.routes)
            changes.append(bbs.UpdateDesiredLRPRequest(process_guid=guid, update=update))
    changes += [bbs.RemoveDesiredLRPRequest(process_guid=guid) for guid in have if guid not in want]
    return changes
