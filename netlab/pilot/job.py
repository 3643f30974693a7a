"""The Pilot process: configuration sources on one side, ADS and HTTP on the other."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import grpc

from netlab.component import Context
from netlab.errors import MeshError
from netlab.pilot.config import PilotConfig
from netlab.pilot.debounce import Debounce
from netlab.pilot.http import application
from netlab.pilot.mesh import Mesh
from netlab.pilot.source.mcp import McpSource
from netlab.pilot.source.mcp_sink import McpSink
from netlab.pilot.source.objects import Change
from netlab.pilot.source.store import Store
from netlab.pilot.xds.server import AdsServer
from netlab.serving import serving

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # Envoys ping every 5 s to notice a Pilot that is gone; that is no abuse.
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


async def run(context: Context) -> None:
    """Serve until `context.stopping` is set. Raises MeshError if a listener cannot be bound."""
    config = PilotConfig.model_validate(context.config)
    log = context.log
    mesh = Mesh(Store(), Debounce(config.debounce_ms / 1e3, config.debounce_max_ms / 1e3), log)
    ready = asyncio.Event()
    sources: list[McpSource] = []

    def on_change(changes: Sequence[Change]) -> None:
        mesh.changed(changes)
        if not ready.is_set() and all(source.synced for source in sources):
            mesh.translate()
            log.info("configuration complete")
            ready.set()

    for number, source in enumerate(config.config_sources):
        sink = McpSink(mesh.store, number, f"pilot~{context.node}")
        sources.append(McpSource(source, sink, on_change, log))
    if not sources:
        ready.set()

    server = grpc.aio.server(options=_SERVER_OPTIONS)
    server.add_generic_rpc_handlers((AdsServer(mesh.hub, ready, log).handler(),))
    try:
        server.add_insecure_port(config.ads_listen)
    except RuntimeError as error:
        raise MeshError(f"cannot listen on {config.ads_listen}: {error}") from error
    async with serving(application(mesh.store, mesh.hub, ready), config.http_listen):
        await server.start()
        tasks = [asyncio.create_task(source.run(), name="source") for source in sources]
        tasks.append(asyncio.create_task(mesh.run(), name="translation"))
        tasks.append(asyncio.create_task(_tell(ready, context), name="readiness"))
        stopping = asyncio.create_task(context.stopping.wait())
        try:
            await _first_failure(tasks, stopping)
        finally:
            await _stop(server, [*tasks, stopping], log)


async def _tell(ready: asyncio.Event, context: Context) -> None:
    await ready.wait()
    context.ready()


async def _first_failure(tasks: Sequence[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
    """Return when `stopping` is done; raise what the first task to fail raised."""
    waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stopping}
    while not stopping.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _stop(
    server: grpc.aio.Server,
    tasks: Sequence[asyncio.Task[None] | asyncio.Task[bool]],
    log: logging.Logger,
) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.stop(grace=0.1), 1.0)
    log.info("stopped")
