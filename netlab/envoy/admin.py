"""A client of an Envoy's admin API on its unix socket, which works from any network namespace."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netlab.errors import MeshError

# Envoy tells nobody when it turns ready; this is how often we ask while waiting.
_ASK_INTERVAL = 0.005


@dataclass(frozen=True)
class Admin:
    """The admin API behind the unix socket `path`. Methods raise MeshError if Envoy does not answer."""

    path: Path

    async def get(self, target: str, timeout: float = 5.0) -> bytes:
        """The body of `GET target`; MeshError unless the status is 200. `timeout` is in seconds."""
        status, body = await self._request("GET", target, timeout)
        if status != 200:
            raise MeshError(f"{self.path}: GET {target} answered {status}", path=str(self.path), status=status)
        return body

    async def post(self, target: str, timeout: float = 5.0) -> bytes:
        """The body of `POST target` (`/quitquitquit`, `/drain_listeners`, …); MeshError unless it is 200."""
        status, body = await self._request("POST", target, timeout)
        if status != 200:
            raise MeshError(f"{self.path}: POST {target} answered {status}", path=str(self.path), status=status)
        return body

    async def ready(self) -> bool:
        """Whether Envoy is up and has applied Pilot's first configuration."""
        status, _ = await self._request("GET", "/ready", 5.0)
        return status == 200

    async def wait_ready(self, timeout: float) -> None:
        """Return once Envoy is ready; MeshError after `timeout` seconds, with the last state."""
        state = "no answer"

        async def ask() -> None:
            nonlocal state
            while True:
                try:
                    status, body = await self._request("GET", "/ready", timeout)
                except MeshError as error:
                    state = error.message
                else:
                    state = body.decode(errors="replace").strip()
                    if status == 200:
                        return
                await asyncio.sleep(_ASK_INTERVAL)

        try:
            await asyncio.wait_for(ask(), timeout)
        except TimeoutError:
            raise MeshError(
                f"Envoy at {self.path} is not ready after {timeout:g} s: {state}", path=str(self.path)
            ) from None

    async def stats(self, filter_regex: str | None = None) -> dict[str, int | str]:
        """Counters and gauges by name; with `filter_regex` only those whose name it matches."""
        target = "/stats?format=json" + (f"&filter={filter_regex}" if filter_regex else "")
        rows = json.loads(await self.get(target))["stats"]
        return {row["name"]: row["value"] for row in rows if "name" in row}

    async def config_dump(self, *, endpoints: bool = True) -> dict[str, Any]:
        """The configuration in force, as Envoy's `/config_dump` gives it."""
        target = "/config_dump?include_eds" if endpoints else "/config_dump"
        dump: dict[str, Any] = json.loads(await self.get(target, timeout=30.0))
        return dump

    async def cluster_statuses(self) -> dict[str, Any]:
        """The clusters with their endpoints as Envoy sees them now: envoy.admin.v3.Clusters, as JSON."""
        statuses: dict[str, Any] = json.loads(await self.get("/clusters?format=json", timeout=30.0))
        return statuses

    async def _request(self, method: str, target: str, timeout: float) -> tuple[int, bytes]:
        try:
            return await asyncio.wait_for(self._exchange(method, target), timeout)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            reason = str(error) or "no answer in time"
            raise MeshError(f"{self.path}: {method} {target}: {reason}", path=str(self.path)) from error

    async def _exchange(self, method: str, target: str) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            # HTTP/1.0 semantics by "close": the body then simply ends with the connection.
            writer.write(
                f"{method} {target} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode()
            )
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            status = int(head.split(" ", 2)[1])
            if "transfer-encoding: chunked" in head:
                return status, await _chunked(reader)
            return status, await reader.read()
        finally:
            writer.close()


async def _chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return bytes(body)
