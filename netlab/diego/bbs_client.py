"""Diego's side of the BBS's API: protobuf bodies by mutual TLS, with retries."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TypeVar

import httpx
from google.protobuf.message import DecodeError

from netlab.errors import MeshError
from netlab.protocols import bbs_pb2 as pb

TIMEOUT = 5.0
TRIES = 3
"""How often a call is tried that is not bound to succeed."""
BACKOFF = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds before the n-th retry."""


class BbsRefusedError(MeshError):
    """The BBS does not do it in the present state; `kind` is a value of `models.Error.Type`."""

    def __init__(self, error: pb.Error) -> None:
        super().__init__(f"the BBS refused: {error.message}", type=pb.Error.Type.Name(error.type))
        self.kind = error.type


class BbsUnreachableError(MeshError):
    """The BBS does not answer."""


_Lifecycle = pb.ActualLRPLifecycleResponse
_Answer = TypeVar(
    "_Answer",
    pb.ActualLRPLifecycleResponse,
    pb.ActualLRPsResponse,
    pb.CellsResponse,
    pb.DesiredLRPResponse,
    pb.EvacuationResponse,
)
_Asked = (
    pb.ActualLRPsRequest
    | pb.CellPresence
    | pb.ClaimActualLRPRequest
    | pb.CrashActualLRPRequest
    | pb.DesiredLRPByProcessGuidRequest
    | pb.EvacuateRunningActualLRPRequest
    | pb.EventsByCellId
    | pb.FailActualLRPRequest
    | pb.RemoveActualLRPRequest
    | pb.StartActualLRPRequest
)


class BbsClient:
    """One component's client; close it with `aclose`."""

    def __init__(self, url: str, context: ssl.SSLContext, log: logging.Logger) -> None:
        self._client = httpx.AsyncClient(base_url=url, verify=context, timeout=TIMEOUT, trust_env=False)
        self._log = log

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def heartbeat(self, cell: pb.CellPresence) -> None:
        """Report a cell; not retried, as the next one follows soon."""
        await self._call("cells/heartbeat", cell, _Lifecycle, tries=1)

    async def cells(self) -> list[pb.CellPresence]:
        """The cells that report."""
        return list((await self._call("cells/list.r1", pb.EventsByCellId(), pb.CellsResponse)).cells)

    async def desired(self, process_guid: str) -> pb.DesiredLRP:
        """What is desired of a process."""
        request = pb.DesiredLRPByProcessGuidRequest(process_guid=process_guid)
        answer = await self._call("desired_lrps/get_by_process_guid.r3", request, pb.DesiredLRPResponse)
        return answer.desired_lrp

    async def actual_on(self, cell_id: str) -> list[pb.ActualLRP]:
        """The instances that a cell holds, as far as the BBS knows."""
        request = pb.ActualLRPsRequest(cell_id=cell_id)
        return list((await self._call("actual_lrps/list", request, pb.ActualLRPsResponse)).actual_lrps)

    async def claim(self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey) -> None:
        """Take an instance before its container is made."""
        request = pb.ClaimActualLRPRequest(
            process_guid=key.process_guid, index=key.index, actual_lrp_instance_key=instance
        )
        await self._call("actual_lrps/claim", request, _Lifecycle)

    async def start(self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey, net: pb.ActualLRPNetInfo) -> None:
        """Report that an instance serves; tried until the BBS answers."""
        request = pb.StartActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance, actual_lrp_net_info=net
        )
        await self._call("actual_lrps/start", request, _Lifecycle, tries=None)

    async def crash(self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey, reason: str) -> None:
        """Report that an instance ended by itself; tried until the BBS answers."""
        request = pb.CrashActualLRPRequest(actual_lrp_key=key, actual_lrp_instance_key=instance, error_message=reason)
        await self._call("actual_lrps/crash", request, _Lifecycle, tries=None)

    async def remove(self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey) -> None:
        """Report that an instance is gone; tried until the BBS answers."""
        request = pb.RemoveActualLRPRequest(
            process_guid=key.process_guid, index=key.index, actual_lrp_instance_key=instance
        )
        await self._call("actual_lrps/remove", request, _Lifecycle, tries=None)

    async def evacuate_running(
        self, key: pb.ActualLRPKey, instance: pb.ActualLRPInstanceKey, net: pb.ActualLRPNetInfo
    ) -> bool:
        """Ask for a replacement of a running instance; whether its container is needed until that runs."""
        request = pb.EvacuateRunningActualLRPRequest(
            actual_lrp_key=key, actual_lrp_instance_key=instance, actual_lrp_net_info=net
        )
        return (await self._call("actual_lrps/evacuate_running", request, pb.EvacuationResponse)).keep_container

    async def fail(self, key: pb.ActualLRPKey, reason: str) -> None:
        """Report that no cell can take an instance."""
        request = pb.FailActualLRPRequest(actual_lrp_key=key, error_message=reason)
        await self._call("actual_lrps/fail", request, _Lifecycle)

    async def _call(self, path: str, request: _Asked, answer: type[_Answer], *, tries: int | None = TRIES) -> _Answer:
        body = request.SerializeToString()
        failures = 0
        while True:
            try:
                return await self._once(path, body, answer)
            except BbsUnreachableError as error:
                failures += 1
                if tries is not None and failures >= tries:
                    raise
                if failures == TRIES:
                    self._log.warning("%s; trying on", error)
            await asyncio.sleep(BACKOFF[min(failures - 1, len(BACKOFF) - 1)])

    async def _once(self, path: str, body: bytes, answer: type[_Answer]) -> _Answer:
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            response = await self._client.post(f"/v1/{path}", content=body, headers=headers)
            response.raise_for_status()
            message = answer.FromString(response.content)
        except (httpx.HTTPError, DecodeError) as error:
            reason = str(error) or type(error).__name__
            raise BbsUnreachableError(f"the BBS does not answer {path}: {reason}") from error
        if message.HasField("error"):
            raise BbsRefusedError(message.error)
        return message
