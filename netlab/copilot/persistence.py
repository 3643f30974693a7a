"""Routes on disk, so that a Copilot that restarts knows them before the Cloud Controller syncs again."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from google.protobuf.message import DecodeError

from netlab.copilot.cloud_controller import apply_bulk_sync, as_bulk_sync
from netlab.copilot.state import State
from netlab.protocols import copilot_pb2 as api

_INTERVAL_SECONDS = 1.0


class StateFile:
    """Routes, mappings and associations as one serialized BulkSyncRequest; nothing at all without a path."""

    def __init__(self, path: Path | None, state: State, log: logging.Logger) -> None:
        self._path = path
        self._state = state
        self._log = log
        self._saved = b""

    def load(self) -> bool:
        """Read the file into the state, and say whether there was one; a broken one is as none."""
        if self._path is None or not self._path.exists():
            return False
        try:
            self._saved = self._path.read_bytes()
            apply_bulk_sync(self._state, api.BulkSyncRequest.FromString(self._saved))
        except (OSError, DecodeError) as error:
            self._log.warning("starting without routes: %s: %s", self._path, error)
            return False
        return True

    def save(self) -> None:
        """Write the file, whole or not at all, if anything changed."""
        if self._path is None:
            return
        body = as_bulk_sync(self._state).SerializeToString(deterministic=True)
        if body == self._saved:
            return
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            fresh.write_bytes(body)
            fresh.replace(self._path)
        except OSError as error:
            self._log.warning("cannot save the routes: %s", error)
        else:
            self._saved = body

    async def run(self) -> None:
        """Save now and then, at most once a second; ends by cancellation."""
        while True:
            await asyncio.sleep(_INTERVAL_SECONDS)
            self.save()
