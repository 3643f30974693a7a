"""The link to Copilot: gRPC with mutual TLS, a full synchronisation whenever the connection is made anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import grpc

from netlab.capi.changes import CopilotChange
from netlab.capi.link import Link
from netlab.protocols import copilot_pb2 as copilot
from netlab.protocols import copilot_pb2_grpc
from netlab.tls import TlsFiles

CHUNK_BYTES = 1024 * 1024
"""Of a bulk synchronisation; gRPC refuses messages over 4 MiB."""
_CALL_SECONDS = 5.0
_SYNC_SECONDS = 60.0
_OPTIONS = (
    # The least that gRPC takes: a Copilot that restarts waits for what this tells it.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 100),
)
_FINAL = frozenset({grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED})
"""Copilot heard and refused; telling it again would not help."""


class CopilotClient(Link[CopilotChange]):
    """Tells Copilot of routes, their mappings, and which Diego processes run what."""

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        state: Callable[[], copilot.BulkSyncRequest],
        sync_seconds: float,
        log: logging.Logger,
    ) -> None:
        super().__init__(f"Copilot at {address}", sync_seconds, log)
        self._state = state
        self._channel = grpc.aio.secure_channel(address, tls.grpc_channel_credentials(), options=_OPTIONS)
        self._stub: copilot_pb2_grpc.CloudControllerCopilotAsyncStub = copilot_pb2_grpc.CloudControllerCopilotStub(
            self._channel
        )

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch())
                group.create_task(super().run())
        finally:
            await self._channel.close()

    async def _watch(self) -> None:
        """Ask for a synchronisation each time the connection is there again: Copilot keeps nothing on disk."""
        first = True
        while True:
            state = self._channel.get_state(try_to_connect=True)
            if state is grpc.ChannelConnectivity.READY:
                if first:
                    self.retry()
                else:
                    self.resync()
                first = False
            await self._channel.wait_for_state_change(state)

    def subject(self, change: CopilotChange) -> str:
        """The route or the process: Copilot takes a mapping before its route, and a route before its app runs."""
        if isinstance(change, copilot.UpsertRouteRequest):
            return change.route.guid
        if isinstance(change, copilot.DeleteRouteRequest):
            return change.guid
        if isinstance(change, (copilot.MapRouteRequest, copilot.UnmapRouteRequest)):
            return change.route_mapping.route_guid
        if isinstance(change, copilot.UpsertCapiDiegoProcessAssociationRequest):
            return change.capi_diego_process_association.capi_process_guid
        return change.capi_process_guid

    async def deliver(self, change: CopilotChange) -> None:
        """One call for one change."""
        try:
            if isinstance(change, copilot.UpsertRouteRequest):
                await self._stub.UpsertRoute(change, timeout=_CALL_SECONDS)
            elif isinstance(change, copilot.DeleteRouteRequest):
                await self._stub.DeleteRoute(change, timeout=_CALL_SECONDS)
            elif isinstance(change, copilot.MapRouteRequest):
                await self._stub.MapRoute(change, timeout=_CALL_SECONDS)
            elif isinstance(change, copilot.UnmapRouteRequest):
                await self._stub.UnmapRoute(change, timeout=_CALL_SECONDS)
            elif isinstance(change, copilot.UpsertCapiDiegoProcessAssociationRequest):
                await self._stub.UpsertCapiDiegoProcessAssociation(change, timeout=_CALL_SECONDS)
            else:
                await self._stub.DeleteCapiDiegoProcessAssociation(change, timeout=_CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _FINAL:
                raise ConnectionError(_text(error)) from error
            self._log.error("%s refused %s: %s", self._peer, type(change).__name__, _text(error))

    async def sync(self) -> None:
        """Replace all that Copilot knows."""
        # A periodic repair is no news; a new connection is.
        level = logging.INFO if self.stale else logging.DEBUG
        self.start_over()
        request = self._state()
        body = request.SerializeToString()
        try:
            await self._stub.BulkSync(_chunks(body), timeout=_SYNC_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise ConnectionError(_text(error)) from error
        self._log.log(
            level,
            "%s synchronised: %d routes, %d mappings, %d processes",
            self._peer,
            len(request.routes),
            len(request.route_mappings),
            len(request.capi_diego_process_associations),
        )


async def _chunks(body: bytes) -> AsyncIterator[copilot.BulkSyncRequestChunk]:
    for start in range(0, max(1, len(body)), CHUNK_BYTES):
        yield copilot.BulkSyncRequestChunk(chunk=body[start : start + CHUNK_BYTES])


def _text(error: grpc.aio.AioRpcError) -> str:
    return f"{error.code().name}: {error.details()}"
