"""Carries deployments on: whenever instances begin or cease to run, those that are under way take their next step.

All that it knows is in the database and in the BBS, so one that was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from sqlalchemy import select

from netlab.capi.call import Api
from netlab.capi.changes import associate
from netlab.capi.deployments import web_process
from netlab.capi.models import Deployment, now
from netlab.capi.rollout import (
    ACTIVE,
    CANCELED,
    CANCELING,
    DEPLOYED,
    advance,
    diego_guids,
    finish,
    serving,
    version_changes,
)

_PAUSE_SECONDS = 0.2
"""After the BBS did not answer."""


class _Goal(NamedTuple):
    """A deployment under way and the Diego process that it is heading to."""

    deployment_guid: str
    diego_guid: str


class Deployer:
    """The one task that carries on all deployments."""

    def __init__(self, api: Api, log: logging.Logger) -> None:
        self._api = api
        self._log = log

    async def run(self) -> None:
        """Carry on for ever."""
        while True:
            self._api.deployments.clear()
            if not self._goals():
                await self._api.deployments.wait()
            try:
                await self._deploy()
            except ConnectionError as error:
                self._log.info("deployments wait: %s", error)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _deploy(self) -> None:
        """Follow the BBS for as long as there are deployments; raises ConnectionError."""
        changed = self._api.deployments
        follower = asyncio.create_task(self._api.diego.follow(changed))
        try:
            while self._goals():
                woken = asyncio.create_task(changed.wait())
                await asyncio.wait({follower, woken}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                if follower.done():
                    follower.result()
                changed.clear()
                await self.advance()
        finally:
            follower.cancel()
            await asyncio.gather(follower, return_exceptions=True)

    async def advance(self) -> None:
        """Take every deployment as far as its instances allow by now; raises ConnectionError."""
        for goal in self._goals():
            await self._advance(goal)

    def _goals(self) -> list[_Goal]:
        with self._api.sessions() as session:
            active = session.scalars(select(Deployment).where(Deployment.status_value == ACTIVE))
            return [_Goal(each.guid, web_process(each.app).diego_guid) for each in active]

    async def _advance(self, goal: _Goal) -> None:
        """Take a deployment's next step, if its instances have come so far."""
        lrps = await self._api.diego.actual_lrps(goal.diego_guid)
        with self._api.transaction() as transaction:
            deployment = transaction.session.get(Deployment, goal.deployment_guid)
            if deployment is None or deployment.status_value != ACTIVE:
                return
            process = web_process(deployment.app)
            if process.diego_guid != goal.diego_guid:
                return  # canceled meanwhile
            running = serving(lrps, process.instances)
            before = deployment.versions
            canceling = deployment.status_reason == CANCELING
            at_once = process.instances if canceling else deployment.max_in_flight
            after = advance(before, process.version, process.instances, at_once, running)
            if after == before and len(after) > 1:
                return
            if running > 0 and not canceling:
                deployment.healthy_at = now()
            deployment.versions = after
            transaction.diego += version_changes(process.guid, before, after)
            if after.keys() != before.keys():
                transaction.copilot.append(associate(process.guid, diego_guids(process.guid, after)))
            if after.keys() == {process.version}:
                finish(deployment, CANCELED if canceling else DEPLOYED)
                self._log.info(
                    "deployment %s of %s: %s", deployment.guid, deployment.app.name, deployment.status_reason
                )
