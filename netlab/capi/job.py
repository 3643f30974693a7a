"""The Cloud Controller as a component: one HTTPS port for api.<system domain> and uaa.<system domain>."""

from __future__ import annotations

import asyncio
from functools import partial

# The first engine and the first server would import these; named here, the fork server has them.
import sqlalchemy.dialects.sqlite  # noqa: F401
import uvicorn.lifespan.off
import uvicorn.protocols.http.h11_impl  # noqa: F401
from sqlalchemy.orm import sessionmaker

from netlab.capi.app import make_app
from netlab.capi.bbs_client import BbsClient
from netlab.capi.call import Api
from netlab.capi.config import CapiConfig
from netlab.capi.copilot_client import CopilotClient
from netlab.capi.database import open_database, seed
from netlab.capi.deployer import Deployer
from netlab.capi.desired import copilot_state, diego_state, routes_updates
from netlab.capi.tokens import TokenIssuer
from netlab.component import Context
from netlab.serving import serving


async def run(context: Context) -> None:
    """Serve until the context is stopping; ready as soon as the port accepts.

    Copilot and the BBS need not be there: what they missed they are told as soon as they are.
    """
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
        partial(routes_updates, sessions),
        config.sync_seconds,
        context.log,
    )
    tokens = TokenIssuer.load(sessions, f"{config.uaa_url}/oauth/token")
    api = Api(config, sessions, tokens, copilot, diego)
    app = make_app(api)
    tasks = (copilot, diego, Deployer(api, context.log))
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(task.run()) for task in tasks]
            async with serving(app, config.listen, config.tls.server_context(client_certificate=False)):
                context.ready()
                await context.stopping.wait()
            for each in running:
                each.cancel()
    finally:
        engine.dispose()
