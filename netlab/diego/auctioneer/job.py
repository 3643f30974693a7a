"""The auctioneer's job: takes instances to place, asks the cells for their state, and hands out the work.

It keeps nothing: what is lost with it is asked for again by the BBS.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import httpx
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from netlab.component import Context
from netlab.diego.auctioneer.config import AuctioneerConfig
from netlab.diego.auctioneer.placement import instances, place
from netlab.diego.bbs_client import BbsClient, BbsRefusedError, BbsUnreachableError
from netlab.diego.messages import LRP, CellState, LRPStartRequest, Work
from netlab.protocols import bbs_pb2
from netlab.serving import serving

REP_TIMEOUT = 10.0
"""Seconds in which a rep must answer to take part in an auction."""
ROUNDS = 2
"""How often an instance is offered before the BBS is told that nobody takes it."""
_REQUESTS = TypeAdapter(list[LRPStartRequest])


class Auctioneer:
    """Places what was asked for in batches, one after the other."""

    def __init__(self, bbs: BbsClient, reps: httpx.AsyncClient, log: logging.Logger) -> None:
        self._bbs = bbs
        self._reps = reps
        self._log = log
        self._asked: list[LRPStartRequest] = []
        self._urls: dict[str, str] = {}
        self._wake = asyncio.Event()

    def ask(self, requests: Sequence[LRPStartRequest]) -> None:
        """Have instances placed in the next batch."""
        self._asked.extend(requests)
        self._wake.set()

    async def run(self) -> None:
        """Hold auctions for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            asked, self._asked = self._asked, []
            try:
                await self._auction(instances(asked))
            except BbsUnreachableError as error:
                self._log.warning("auction of %d instances given up: %s", len(asked), error)

    async def _auction(self, lrps: Sequence[LRP]) -> None:
        failed: list[tuple[LRP, str]] = []
        for _ in range(ROUNDS):
            placement = place(lrps, await self._states())
            given = await asyncio.gather(*(self._give(cell, work) for cell, work in placement.work.items()))
            failed = [*placement.failed, *(pair for refused in given for pair in refused)]
            lrps = [lrp for lrp, _ in failed]
            if not lrps:
                return
        for lrp, reason in failed:
            await self._fail(lrp, reason)

    async def _states(self) -> list[CellState]:
        cells = await self._bbs.cells()
        states = await asyncio.gather(*(self._state(cell.rep_url) for cell in cells))
        self._urls = {state.cell_id: state.rep_url for state in states if state is not None}
        return [state for state in states if state is not None]

    async def _state(self, url: str) -> CellState | None:
        try:
            try:
                response = await self._reps.get(f"{url}/state")
            except httpx.RemoteProtocolError:
                # The rep closed this kept connection, perhaps because it is a new process.
                response = await self._reps.get(f"{url}/state")
            response.raise_for_status()
            return CellState.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            self._log.warning("%s takes no part: %s", url, str(error) or type(error).__name__)
            return None

    async def _give(self, cell_id: str, lrps: list[LRP]) -> list[tuple[LRP, str]]:
        """Give a cell its work; what it does not take comes back with the reason."""
        work = Work(cell_id=cell_id, lrps=lrps)
        try:
            response = await self._reps.post(f"{self._urls[cell_id]}/work", json=work.model_dump(by_alias=True))
            response.raise_for_status()
            refused = Work.model_validate_json(response.content)
        except (httpx.HTTPError, ValidationError) as error:
            return [(lrp, f"{cell_id} does not answer: {str(error) or type(error).__name__}") for lrp in lrps]
        return [(lrp, f"{cell_id} has no room") for lrp in refused.lrps]

    async def _fail(self, lrp: LRP, reason: str) -> None:
        self._log.warning("%s found no place: %s", lrp, reason)
        key = bbs_pb2.ActualLRPKey(process_guid=lrp.process_guid, index=lrp.index, domain=lrp.domain)
        try:
            await self._bbs.fail(key, reason)
        except BbsRefusedError as error:
            self._log.info("%s", error)


def make_app(auctioneer: Auctioneer) -> Starlette:
    """The API: `POST /v1/lrps` answers 202 before anything is placed."""

    async def lrps(request: Request) -> Response:
        try:
            auctioneer.ask(_REQUESTS.validate_json(await request.body()))
        except ValidationError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return JSONResponse({}, status_code=202)

    return Starlette(routes=[Route("/v1/lrps", lrps, methods=["POST"])])


async def run(context: Context) -> None:
    """Serve until the component is to stop."""
    config = AuctioneerConfig.model_validate(context.config)
    tls = config.tls.client_context()
    bbs = BbsClient(config.bbs_url, tls, context.log)
    reps = httpx.AsyncClient(verify=tls, timeout=REP_TIMEOUT, trust_env=False)
    auctioneer = Auctioneer(bbs, reps, context.log)
    try:
        async with (
            reps,
            serving(make_app(auctioneer), config.listen, config.tls.server_context()),
            asyncio.TaskGroup() as group,
        ):
            auctions = group.create_task(auctioneer.run())
            context.ready()
            await context.stopping.wait()
            auctions.cancel()
    finally:
        await bbs.aclose()
