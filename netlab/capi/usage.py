"""What instances use, asked of the cells that they run on: Cloud Foundry's container metrics, without a firehose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import httpx

from netlab.tls import TlsFiles

_TIMEOUT_SECONDS = 1.0
"""Statistics without what a cell's instances use are better than none."""

Usage = Mapping[str, Mapping[str, Any]]
"""By instance guid: `cpu` (share of one processor), `memory` and `disk` (bytes), `time` (Unix seconds)."""


class CellUsage:
    """A client of the reps, each at its own URL, with mutual TLS."""

    def __init__(self, tls: TlsFiles, log: logging.Logger) -> None:
        self._log = log
        self._http = httpx.AsyncClient(verify=tls.client_context(), timeout=_TIMEOUT_SECONDS, trust_env=False)

    async def of(self, rep_urls: list[str]) -> Usage:
        """What all instances of some cells use, one request a cell; a cell that does not answer is left out."""
        found: dict[str, Mapping[str, Any]] = {}
        for answer in await asyncio.gather(*map(self._ask, rep_urls)):
            found.update(answer)
        return found

    async def _ask(self, url: str) -> Usage:
        try:
            reply = await self._http.get(f"{url}/v1/containers/metrics")
            reply.raise_for_status()
            answer: Usage = reply.json()
        except (httpx.HTTPError, ValueError) as error:
            self._log.info("metrics of %s: %s", url, str(error) or type(error).__name__)
            return {}
        return answer

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
