"""The load balancer's job: it checks the routers and keeps the kernel's rules in step; the kernel does the rest.

The rules outlive the process: if it is killed, connections go on as they were spread last.
"""

from __future__ import annotations

import asyncio

from netlab.component import Context
from netlab.errors import KernelError
from netlab.kernel import rules
from netlab.loadbalancer import ruleset
from netlab.loadbalancer.config import LoadBalancerConfig, Router
from netlab.loadbalancer.health import Health, check, pause


class _LoadBalancer:
    def __init__(self, config: LoadBalancerConfig, context: Context) -> None:
        self.config = config
        self.context = context
        self.health = {router.name: Health() for router in config.routers}
        self.unchecked = {router.name for router in config.routers}
        self.changed = asyncio.Event()
        if not config.routers:
            self.changed.set()

    def rotation(self) -> list[Router]:
        return [router for router in self.config.routers if self.health[router.name].healthy]

    async def watch(self, router: Router) -> None:
        """Check one router for ever."""
        log, config = self.context.log, self.config
        failures = 0
        while True:
            problem = await check(router.address, config)
            failures = failures + 1 if problem else 0
            before = self.health[router.name]
            now = before.after(
                problem is None,
                healthy_threshold=config.healthy_threshold,
                unhealthy_threshold=config.unhealthy_threshold,
            )
            self.health[router.name] = now
            if now.healthy != before.healthy:
                log.info("%s %s", router.name, f"leaves the rotation: {problem}" if problem else "joins the rotation")
            first_round = router.name in self.unchecked
            self.unchecked.discard(router.name)
            if not self.unchecked and (first_round or now.healthy != before.healthy):
                self.changed.set()
            await asyncio.sleep(pause(now, failures, config.interval_seconds))

    async def keep_rules(self) -> None:
        """Put the rules in after the first round of checks, and again whenever the rotation changes."""
        backend = rules.backend(self.config.rule_backend)
        reported = ""
        while True:
            await self.changed.wait()
            self.changed.clear()
            rotation = self.rotation()
            try:
                backend.apply(self.config.namespace_path, ruleset.transaction(self.config, rotation))
            except KernelError as error:
                if str(error) != reported:
                    reported = str(error)
                    self.context.log.error("the rules are not up to date, trying again: %s", error)
                asyncio.get_running_loop().call_later(self.config.interval_seconds, self.changed.set)
                continue
            reported = ""
            names = ", ".join(router.name for router in rotation)
            self.context.log.info("%s goes to %s", self.config.vip, names or "nobody: no router is healthy")
            self.context.ready()


async def run(context: Context) -> None:
    """Balance until the context says stop; ready once every router was checked and the rules are in."""
    balancer = _LoadBalancer(LoadBalancerConfig.model_validate(context.config), context)
    tasks = [asyncio.create_task(balancer.keep_rules())]
    tasks += [asyncio.create_task(balancer.watch(router)) for router in balancer.config.routers]
    stopped = asyncio.create_task(context.stopping.wait())
    done, _ = await asyncio.wait([stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (stopped, *tasks):
        task.cancel()
    for task in done:
        # None of them returns, so one that is done has failed.
        task.result()
