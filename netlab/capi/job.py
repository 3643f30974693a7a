"""The Cloud Controller as a component: one HTTPS port for api.<system domain> and uaa.<system domain>."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

# These would be imported by the first engine and the first server; named here, the fork server has them.
import sqlalchemy.dialects.sqlite  # noqa: F401
import uvicorn
import uvicorn.lifespan.off
import uvicorn.protocols.http.h11_impl
from sqlalchemy.orm import sessionmaker

from netlab.capi.app import make_app
from netlab.capi.bbs_client import BbsClient
from netlab.capi.call import Api
from netlab.capi.config import CapiConfig
from netlab.capi.copilot_client import CopilotClient
from netlab.capi.database import open_database, seed
from netlab.capi.desired import copilot_state, diego_state, routes_update
from netlab.capi.tokens import TokenIssuer
from netlab.component import Context


async def run(context: Context) -> None:
    """Serve until the context is stopping; ready as soon as the port accepts."""
    config = CapiConfig.model_validate(context.config)
    engine = open_database(config.database_url)
    sessions = sessionmaker(engine, expire_on_commit=False)
    seed(sessions, config.system_domain, config.istio_domains)
    copilot = CopilotClient(
        config.copilot_address,
        config.tls,
        partial(copilot_state, sessions, config),
        config.sync_seconds,
        context.log,
    )
    diego = BbsClient(
        config.bbs_url,
        config.tls,
        partial(diego_state, sessions, config),
        partial(routes_update, sessions),
        config.sync_seconds,
        context.log,
    )
    tokens = TokenIssuer.load(sessions, f"{config.uaa_url}/oauth/token")
    server = _server(Api(config, sessions, tokens, copilot, diego))
    listener = _listen(config.listen)
    links = [asyncio.create_task(link.run()) for link in (copilot, diego)]
    try:
        await server.startup(sockets=[listener])
        context.ready()
        await _first_of(context.stopping, links)
    finally:
        await server.shutdown(sockets=[listener])
        for link in links:
            link.cancel()
        await asyncio.wait(links)
        engine.dispose()


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    # asyncio turns Nagle's algorithm off only where it sees the protocol number; socket.create_server leaves it
    # out, and each answer then waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, int(port)))
    listener.listen(512)
    return listener


async def _first_of(stopping: asyncio.Event, links: list[asyncio.Task[None]]) -> None:
    """Wait for the end; a link ends only through a bug, which is raised."""
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([stop, *links], return_when=asyncio.FIRST_COMPLETED)
    for link in links:
        if link.done():
            link.result()
    stop.cancel()


def _server(api: Api) -> uvicorn.Server:
    """A server that runs in this loop: without signal handlers, without a tick, its log in the component's."""
    config = uvicorn.Config(
        make_app(api),
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # The date would be refreshed by the main loop, which only `Server.serve` runs.
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=1,
        ssl_context_factory=lambda _config, _default: api.config.tls.server_context(client_certificate=False),
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    return server
