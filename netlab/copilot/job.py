"""The Copilot process: three gRPC listeners, the BBS watcher and the publisher around one state."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import grpc

from netlab.component import Context
from netlab.copilot.bbs import BbsClient
from netlab.copilot.cloud_controller import CloudController
from netlab.copilot.config import CopilotConfig
from netlab.copilot.mcp_server import ResourceSource
from netlab.copilot.persistence import StateFile
from netlab.copilot.publisher import Publisher
from netlab.copilot.state import State
from netlab.copilot.vip_resolver import VipResolver
from netlab.copilot.watcher import InstanceWatcher
from netlab.errors import MeshError
from netlab.protocols import copilot_pb2_grpc, mcp_pb2_grpc

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    # A Pilot whose machine vanished must not hold a stream for ever, nor be hung up on for its own probes.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)
# Without a BBS there is no instance to route to, and telling Pilot so would take every app off the air; but a
# Pilot that starts cannot wait for ever either.
_WAIT_FOR_BBS_SECONDS = 5.0
# The file may be a second old, and publishing it would take back what changed since. The Cloud Controller connects
# and says what it knows within a moment, unless it is away too.
_WAIT_FOR_SYNC_SECONDS = 1.0


async def run(context: Context) -> None:
    """Serve until `context.stopping` is set. Raises MeshError if a listener cannot be bound."""
    config = CopilotConfig.model_validate(context.config)
    log = context.log
    state = State()
    publisher = Publisher(state, config.ingress_port, log)
    state_file = StateFile(config.state_file, state, log)
    restarted = state_file.load()

    credentials = config.tls.grpc_server_credentials()
    controller = _server(config.cloud_controller_listen, credentials)
    servicer = CloudController(state)
    copilot_pb2_grpc.add_CloudControllerCopilotServicer_to_server(servicer, controller)
    resolver = _server(config.vip_resolver_listen, None)
    copilot_pb2_grpc.add_VIPResolverCopilotServicer_to_server(VipResolver(state), resolver)
    source = _server(config.mcp_listen, credentials)
    mcp_pb2_grpc.add_ResourceSourceServicer_to_server(ResourceSource(publisher, log), source)
    servers = (controller, resolver, source)

    async with BbsClient(config.bbs_url, config.tls.client_context()) as client:
        watcher = InstanceWatcher(client, state, config.reconcile_seconds, log)
        tasks = [
            asyncio.create_task(watcher.run(), name="bbs watcher"),
            asyncio.create_task(publisher.run(), name="publisher"),
            asyncio.create_task(state_file.run(), name="state file"),
            asyncio.create_task(
                _open_when_known(watcher, servicer if restarted else None, publisher, log), name="first publication"
            ),
        ]
        stopping = asyncio.create_task(context.stopping.wait())
        try:
            for server in servers:
                await server.start()
            await watcher.tried.wait()
            context.ready()
            await _first_failure(tasks, stopping)
        finally:
            await _stop(servers, [*tasks, stopping])
            state_file.save()


def _server(listen: str, credentials: grpc.ServerCredentials | None) -> grpc.aio.Server:
    server = grpc.aio.server(options=_SERVER_OPTIONS)
    try:
        if credentials is None:
            server.add_insecure_port(listen)
        else:
            server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise MeshError(f"cannot listen on {listen}: {error}") from error
    return server


async def _open_when_known(
    watcher: InstanceWatcher, controller: CloudController | None, publisher: Publisher, log: logging.Logger
) -> None:
    """Let Pilot see the first snapshot once instances and, with a `controller`, routes are up to date."""
    try:
        await asyncio.wait_for(watcher.listed.wait(), _WAIT_FOR_BBS_SECONDS)
    except TimeoutError:
        log.warning("no BBS for %g s: publishing routes without instances", _WAIT_FOR_BBS_SECONDS)
    if controller is not None:
        try:
            await asyncio.wait_for(controller.synced.wait(), _WAIT_FOR_SYNC_SECONDS)
        except TimeoutError:
            log.warning("no Cloud Controller for %g s: publishing the routes of the file", _WAIT_FOR_SYNC_SECONDS)
    await publisher.open()


async def _first_failure(tasks: Sequence[asyncio.Task[None]], stopping: asyncio.Task[bool]) -> None:
    """Return when `stopping` is done; raise what the first task to fail raised."""
    waiting: set[asyncio.Task[None] | asyncio.Task[bool]] = {*tasks, stopping}
    while not stopping.done():
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()


async def _stop(servers: Sequence[grpc.aio.Server], tasks: Sequence[asyncio.Task[None] | asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(server.stop(grace=0.1) for server in servers)), 1.0)
