"""`istio.mcp.v1alpha1.ResourceSource`: the gRPC stream on which Pilot gets its resources."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import grpc

from netlab.copilot.publisher import Publisher
from netlab.copilot.session import SourceSession, UnsupportedCollection
from netlab.protocols import mcp_pb2 as mcp
from netlab.protocols import mcp_pb2_grpc

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    _Context = ServicerContext[mcp.RequestResources, mcp.Resources]


class ResourceSource(mcp_pb2_grpc.ResourceSourceServicer):
    """Serves the publisher's snapshot to any number of sinks."""

    def __init__(self, publisher: Publisher, log: logging.Logger) -> None:
        self._publisher = publisher
        self._log = log

    async def EstablishResourceStream(  # noqa: N802
        self, request_iterator: AsyncIterator[mcp.RequestResources], context: _Context
    ) -> AsyncIterator[mcp.Resources]:
        """One sink's stream, until it hangs up."""
        session = SourceSession(self._publisher.snapshot)
        async with self._publisher.listening() as wake:
            reader = asyncio.create_task(self._read(request_iterator, session, wake))
            reader.add_done_callback(lambda _: wake.set())
            self._log.info("mcp: %s connected", context.peer())
            try:
                while not reader.done():
                    await wake.wait()
                    wake.clear()
                    # All of them before the first is sent: the snapshot may change meanwhile.
                    for response in list(session.responses()):
                        yield response
                try:
                    reader.result()
                except UnsupportedCollection as error:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"unsupported collection {error}")
            finally:
                reader.cancel()
                self._log.info("mcp: %s gone", session.sink or context.peer())

    async def _read(
        self, requests: AsyncIterator[mcp.RequestResources], session: SourceSession, wake: asyncio.Event
    ) -> None:
        try:
            async for request in requests:
                refusal = session.receive(request)
                if refusal:
                    self._log.warning("mcp: %s refused %s: %s", session.sink, refusal.collection, refusal.message)
                wake.set()
        except grpc.aio.UsageError:
            # grpc.aio says so to a read that was pending when the stream ended.
            return
