"""The BBS's job: opens the records, serves the API, watches the cells, and keeps the instances as desired."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
from sqlalchemy.engine import make_url

from netlab.bbs.app import make_app, make_health_app
from netlab.bbs.asks import Asks
from netlab.bbs.config import BbsConfig
from netlab.bbs.presence import Presence
from netlab.bbs.service import Service
from netlab.bbs.store import Store
from netlab.bbs.stream import Hub
from netlab.component import Context
from netlab.serving import serving

ASK_TIMEOUT = 5.0
"""Seconds in which an auctioneer or a rep must answer."""


async def run(context: Context) -> None:
    """Serve until the component is to stop."""
    config = BbsConfig.model_validate(context.config)
    _make_parent(config.database_url)
    store = Store(config.database_url)
    hub = Hub()
    service = Service(store, hub, context.log)

    def cell_appeared(cell_id: str) -> None:
        context.log.info("cell %s reports", cell_id)
        service.converge_all()
        if service.asks is not None:
            service.asks.hurry()

    def cell_lost(cell_id: str) -> None:
        context.log.warning("cell %s did not report for %g s", cell_id, config.cell_ttl_seconds)
        service.converge_all()

    presence = Presence(store, config.cell_ttl_seconds, cell_appeared, cell_lost)
    client = httpx.AsyncClient(verify=config.tls.client_context(), timeout=ASK_TIMEOUT, trust_env=False)
    try:
        async with client, contextlib.AsyncExitStack() as stack:
            asks = service.asks = Asks(
                client=client,
                auctioneer_url=config.auctioneer_url,
                log=context.log,
                waiting=service.waiting,
                refused=service.refused,
                start_request=service.start_request,
                rep_url=service.rep_url,
                running=service.running,
                unknown=service.unknown,
            )
            app = make_app(service, presence, hub)
            await stack.enter_async_context(serving(app, config.listen, config.tls.server_context()))
            await stack.enter_async_context(serving(make_health_app(), config.health_listen))
            stack.callback(hub.close)
            presence.start()
            context.ready()
            await _until_stopping(context, asks, service, config.repair_seconds)
    finally:
        store.close()


async def _until_stopping(context: Context, asks: Asks, service: Service, repair_seconds: float) -> None:
    async def repair() -> None:
        while True:
            service.converge_all()
            await asyncio.sleep(repair_seconds)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asks.run()), group.create_task(repair())]
        await context.stopping.wait()
        for task in tasks:
            task.cancel()


def _make_parent(database_url: str) -> None:
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
