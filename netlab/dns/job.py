"""The DNS server's job: UDP and TCP on each listen address."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

from netlab.component import Context
from netlab.dns.config import DnsConfig
from netlab.dns.zones import Zones

TCP_IDLE = 10.0
"""Seconds after which a TCP connection without a complete query is closed."""


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zones: Zones) -> None:
        self._zones = zones
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self._zones.answer(data)
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


async def run(context: Context) -> None:
    """Serve until the context says stop; ready once every listener accepts."""
    config = DnsConfig.model_validate(context.config)
    zones = Zones(config)
    loop = asyncio.get_running_loop()
    connections: set[asyncio.StreamWriter] = set()

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        try:
            await _serve_stream(zones, reader, writer)
        finally:
            connections.discard(writer)
            writer.close()

    async with contextlib.AsyncExitStack() as stack:
        for listen in config.listen:
            host, _, port = listen.rpartition(":")
            transport, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(zones), local_addr=(host, int(port)))
            stack.callback(transport.close)
            server = await asyncio.start_server(stream, host, int(port))
            stack.callback(server.close)
        context.ready()
        context.log.info("answers on %s", ", ".join(config.listen))
        await context.stopping.wait()
        for writer in connections:
            writer.close()


async def _serve_stream(zones: Zones, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the queries of one TCP connection, in order, until it ends, idles or talks nonsense."""
    with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
        while True:
            async with asyncio.timeout(TCP_IDLE):
                length = int.from_bytes(await reader.readexactly(2), "big")
                query = await reader.readexactly(length)
                answer = zones.answer(query, tcp=True)
                if answer is None:
                    return
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
