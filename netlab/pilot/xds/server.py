"""`envoy.service.discovery.v3.AggregatedDiscoveryService`, delta only: the streams of the Envoys."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from netlab.errors import MeshError
from netlab.pilot.xds.hub import Connection, Hub
from netlab.pilot.xds.proxy import Proxy
from netlab.pilot.xds.types import SHORT

if TYPE_CHECKING:
    from grpc.aio import ServicerContext

    _Context = ServicerContext[Any, Any]

_NOTHING = DeltaDiscoveryRequest()
SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
# A proxy that answers nothing for that long is pushed to all the same.
_BUSY_SECONDS = 5.0


class AdsServer:
    """Serves a hub's views. Routers wait until `synced` is set; sidecars depend on no configuration."""

    def __init__(self, hub: Hub, synced: asyncio.Event, log: logging.Logger) -> None:
        self._hub = hub
        self._synced = synced
        self._log = log

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler to add to a gRPC server; responses are bytes already."""
        method: Any = grpc.stream_stream_rpc_method_handler(self._delta, DeltaDiscoveryRequest.FromString, None)
        return grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})

    async def _delta(self, requests: AsyncIterator[DeltaDiscoveryRequest], context: _Context) -> AsyncIterator[bytes]:
        first = await anext(requests, _NOTHING)
        if first is _NOTHING:
            return
        try:
            proxy = Proxy.of(first.node)
        except MeshError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        if proxy.kind == "router":
            await self._synced.wait()
        wake = asyncio.Event()
        with self._hub.connected(proxy, wake) as connection:
            self._log.info("ads: %s connected", proxy.node_id)
            outbox = connection.session.receive(first)
            reader = asyncio.create_task(self._read(requests, connection, outbox))
            reader.add_done_callback(lambda _: wake.set())
            try:
                while not reader.done():
                    pushed = connection.session.push()
                    if pushed:
                        connection.push_began()
                    for response in self._take(outbox, pushed):
                        yield response
                    await self._sleep(connection)
                reader.result()
            finally:
                reader.cancel()
                self._log.info("ads: %s gone", proxy.node_id)

    def _take(self, outbox: list[bytes], pushed: list[bytes]) -> list[bytes]:
        """Answers go before pushes, as they were made before them."""
        taken = [*outbox, *pushed]
        outbox.clear()
        return taken

    async def _sleep(self, connection: Connection) -> None:
        """Until something is to be done for this proxy."""
        session, wake = connection.session, connection.wake
        if session.busy and session.revision != session.view.revision:
            try:
                await asyncio.wait_for(wake.wait(), _BUSY_SECONDS)
            except TimeoutError:
                self._log.warning("ads: %s does not answer", connection.proxy.node_id)
                session.give_up_waiting()
        else:
            await wake.wait()
        wake.clear()

    async def _read(
        self, requests: AsyncIterator[DeltaDiscoveryRequest], connection: Connection, outbox: list[bytes]
    ) -> None:
        try:
            async for request in requests:
                if request.HasField("error_detail"):
                    kind = SHORT.get(request.type_url, request.type_url)
                    self._log.warning(
                        "ads: %s refused %s: %s",
                        connection.proxy.node_id,
                        kind,
                        request.error_detail.message,
                    )
                outbox.extend(connection.session.receive(request))
                connection.answered()
                connection.wake.set()
        except grpc.aio.UsageError:
            # grpc.aio says so to a read that was pending when the stream ended.
            return
