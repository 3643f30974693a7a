"""HTTP(S) servers inside a component's own event loop: uvicorn without its signal handlers, lifespan and ticking."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

# uvicorn would import these only when the first server starts; named here, the fork server has them.
import uvicorn.lifespan.off
import uvicorn.protocols.http.auto
import uvicorn.protocols.http.h11_impl
import uvicorn.protocols.websockets.auto
from starlette.types import ASGIApp

from netlab.errors import MeshError

BACKLOG = 1024
SHUTDOWN_SECONDS = 1
"""How long requests under way may go on once the server stops."""


def split_address(listen: str) -> tuple[str, int]:
    """`ip:port` as a pair."""
    host, _, port = listen.rpartition(":")
    return host, int(port)


def bind(listen: str) -> socket.socket:
    """A listening TCP socket on `ip:port`.

    Raises MeshError that names the address if it cannot be had.
    """
    address = split_address(listen)
    # asyncio turns Nagle off only for a socket that says it is TCP; with it, an answer of two writes takes 40 ms.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise MeshError(f"cannot listen on {listen}: {error.strerror}", listen=listen) from error
    return sock


@asynccontextmanager
async def serving(
    app: ASGIApp, listen: str | socket.socket, context: ssl.SSLContext | None = None
) -> AsyncIterator[socket.socket]:
    """Serve `app` on `listen` (an `ip:port` or a listening socket) within the block, by TLS if there is a `context`.

    The listener accepts when the block begins. At its end it takes no more connections and gives requests under way
    `SHUTDOWN_SECONDS`.
    """
    sock = bind(listen) if isinstance(listen, str) else listen
    # Without the ticking main loop nothing would refresh a Date header, so there is none.
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=300,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        ssl_context_factory=None if context is None else lambda _config, _default: context,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config.load()
    server = uvicorn.Server(config)
    # `serve()` would take the process's signal handlers, which are the component's own.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[sock])
    try:
        yield sock
    finally:
        await asyncio.shield(server.shutdown(sockets=[sock]))
