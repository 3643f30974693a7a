"""Copilot's client of the BBS: lists of instances, and the stream of their events."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Self

# httpx would import these only at its first request; named here, the fork server has them.
import anyio._backends._asyncio  # noqa: F401
import httpcore  # noqa: F401
import httpx
from google.protobuf.message import DecodeError, Message

from netlab.errors import MeshError
from netlab.protocols import bbs_events
from netlab.protocols import bbs_pb2 as bbs

if TYPE_CHECKING:
    from types import TracebackType

_PROTOBUF: Final = {"content-type": "application/x-protobuf"}


class BbsClient:
    """Speaks to one BBS; an async context manager. Methods raise MeshError when it does not answer."""

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=_PROTOBUF,
            timeout=httpx.Timeout(10.0, connect=2.0),
            trust_env=False,  # the lab is its own world: no proxy of the machine stands in it
            transport=httpx.AsyncHTTPTransport(verify=tls, socket_options=bbs_events.KEEPALIVE),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def actual_lrps(self) -> list[bbs.ActualLRP]:
        """Every actual LRP of every cell."""
        try:
            reply = await self._client.post("/v1/actual_lrps/list", content=bbs.ActualLRPsRequest().SerializeToString())
            reply.raise_for_status()
            response = bbs.ActualLRPsResponse.FromString(reply.content)
        except (httpx.HTTPError, DecodeError) as error:
            raise self._error("list the instances", error) from error
        if response.HasField("error"):
            raise MeshError(f"the BBS at {self._url} refused to list the instances: {response.error.message}")
        return list(response.actual_lrps)

    @asynccontextmanager
    async def subscribed(self) -> AsyncIterator[AsyncIterator[Message]]:
        """The stream of instance events, from the moment of entry on; it ends with a MeshError.

        Nothing of before is replayed: list after entry, then read.
        """
        body = bbs.EventsByCellId().SerializeToString()
        timeout = httpx.Timeout(None, connect=2.0)
        try:
            async with self._client.stream("POST", bbs_events.PATH, content=body, timeout=timeout) as reply:
                reply.raise_for_status()
                yield self._events(reply)
        except httpx.HTTPError as error:
            raise self._error("subscribe to events", error) from error

    async def _events(self, reply: httpx.Response) -> AsyncIterator[Message]:
        try:
            async for event in bbs_events.instance_events(reply.aiter_lines()):
                yield event
        except httpx.HTTPError as error:
            raise self._error("follow events", error) from error
        raise MeshError(f"the BBS at {self._url} ended the event stream")

    def _error(self, what: str, error: Exception) -> MeshError:
        return MeshError(f"cannot {what} at the BBS {self._url}: {error or type(error).__name__}")
