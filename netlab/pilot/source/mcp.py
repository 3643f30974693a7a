"""A source of configuration that is an MCP server: Pilot is the gRPC client, and reconnects for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import grpc

from netlab.pilot.config import ConfigSource
from netlab.pilot.source.mcp_sink import McpSink
from netlab.pilot.source.objects import Change
from netlab.protocols import mcp_pb2 as mcp
from netlab.protocols import mcp_pb2_grpc

if TYPE_CHECKING:
    from grpc.aio import Channel

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_LONGEST_RETRY_SECONDS = 1.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),  # no proxy of the machine stands in the lab
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    # The channel itself connects again: at once, then every 100 ms, the least that gRPC takes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 250),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class McpSource:
    """Keeps a store's part of one source up to date; `on_change` is told of what changed, maybe nothing."""

    def __init__(
        self,
        source: ConfigSource,
        sink: McpSink,
        on_change: Callable[[Sequence[Change]], None],
        log: logging.Logger,
    ) -> None:
        self._source = source
        self._sink = sink
        self._on_change = on_change
        self._log = log
        self._responses = 0

    @property
    def synced(self) -> bool:
        """Whether every collection was answered once."""
        return self._sink.synced

    async def run(self) -> None:
        """Follow the source for ever; ends by cancellation."""
        async with self._channel() as channel:
            stub = mcp_pb2_grpc.ResourceSourceStub(channel)
            delay = 0.0
            while True:
                answered = self._responses
                try:
                    await self._stream(stub)
                    self._log.warning("mcp: %s ended the stream; connecting again", self._source.address)
                except grpc.aio.AioRpcError as error:
                    self._log.warning("mcp: %s: %s; connecting again", self._source.address, error.details())
                # At once after a stream that worked; slower against a source that accepts only to refuse.
                worked = self._responses > answered
                delay = 0.0 if worked else min(max(2 * delay, 0.05), _LONGEST_RETRY_SECONDS)
                await asyncio.sleep(delay)

    def _channel(self) -> Channel:
        if self._source.tls is None:
            return grpc.aio.insecure_channel(self._source.address, options=_OPTIONS)
        credentials = self._source.tls.grpc_channel_credentials()
        return grpc.aio.secure_channel(self._source.address, credentials, options=_OPTIONS)

    async def _stream(self, stub: mcp_pb2_grpc.ResourceSourceAsyncStub) -> None:
        outgoing: asyncio.Queue[mcp.RequestResources] = asyncio.Queue()
        for request in self._sink.requests():
            outgoing.put_nowait(request)

        async def requests() -> AsyncIterator[mcp.RequestResources]:
            while True:
                yield await outgoing.get()

        # Waiting for the channel is what makes the retry immediate once the source is back.
        call = stub.EstablishResourceStream(requests(), wait_for_ready=True)
        async for response in call:
            self._responses += 1
            changes, reply = self._sink.receive(response)
            if reply.HasField("error_detail"):
                self._log.warning("mcp: refused of %s: %s", self._source.address, reply.error_detail.message)
            outgoing.put_nowait(reply)
            self._on_change(changes)
