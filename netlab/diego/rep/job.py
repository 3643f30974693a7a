"""The rep's job: adopts what runs, serves the API, reports the cell; at its end the containers run on."""

from __future__ import annotations

import asyncio
import contextlib

from netlab.component import Context
from netlab.diego.bbs_client import BbsClient
from netlab.diego.rep import plan
from netlab.diego.rep.app import make_admin_app, make_app
from netlab.diego.rep.config import RepConfig
from netlab.diego.rep.rep import Rep
from netlab.diego.rep.workshop import MakeBootstrap, Workshop
from netlab.envoy.bootstrap import sidecar_bootstrap
from netlab.kernel import rules
from netlab.serving import serving

REPORT_SECONDS = 1.0
"""How long a rep that serves already waits for the BBS to know of it before it says that it is ready."""


async def run(context: Context, *, make_bootstrap: MakeBootstrap = sidecar_bootstrap) -> None:
    """Serve until the component is to stop; `make_bootstrap` makes the sidecars' configuration."""
    config = RepConfig.model_validate(context.config)
    backend = rules.backend(config.rule_backend)
    egress = plan.egress(config.cell_id, str(config.overlay_subnet), str(config.overlay_network))
    backend.apply(config.namespaces / config.namespace, egress)
    workshop = Workshop(config, backend, make_bootstrap, context.log)
    bbs = BbsClient(config.bbs_url, config.tls.client_context(), context.log)
    try:
        async with asyncio.TaskGroup() as tasks:
            rep = Rep(config, workshop, bbs, tasks, context.log)
            rep.adopt()
            async with (
                serving(make_app(rep), config.listen, config.tls.server_context()),
                serving(make_admin_app(rep), config.admin_listen),
            ):
                keeping = [tasks.create_task(rep.keep_reporting()), tasks.create_task(rep.keep_credentials())]
                # Whoever waits for all cells before it starts apps has them spread over all cells.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(rep.reported.wait(), REPORT_SECONDS)
                context.ready()
                await context.stopping.wait()
                for task in keeping:
                    task.cancel()
                rep.leave()
    finally:
        await bbs.aclose()
