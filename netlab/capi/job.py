"""The Cloud Controller as a component: one HTTPS port for api.<system domain> and uaa.<system domain>."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import uvicorn

# Named here so that the fork server has it: uvicorn would import it only when the first server starts.
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
    host, _, port = config.listen.rpartition(":")
    listener = socket.create_server((host, int(port)), backlog=512)
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
        http=uvicorn.protocols.http.h11_impl.H11Protocol,
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
