"""Finding one request's lines in the access logs of Envoys that are running."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from netlab.errors import KernelError
from netlab.trace.evidence import LogLine

LOOK_SECONDS = 0.002
"""How often a log is looked at for growth."""
Proxy = Literal["ingress", "sidecar"]


class AccessLogs:
    """The ends of access logs, from the moment it is made; lines before that are never read."""

    def __init__(self, files: Mapping[str, tuple[Proxy, Path]], request_id: str) -> None:
        self._request_id = request_id
        self._proxies = {node: proxy for node, (proxy, _) in files.items()}
        self._paths = {node: path for node, (_, path) in files.items()}
        self._offsets: dict[str, int] = {}
        self.problems: dict[str, str] = {}
        """Why a node's log cannot be read, by node."""
        for node, path in self._paths.items():
            try:
                self._offsets[node] = path.stat().st_size
            except OSError as error:
                self.problems[node] = f"{path}: {error.strerror}"
        self.watched = tuple(files)
        """The nodes whose logs it reads."""
        self.lines: list[LogLine] = []
        """The request's lines so far."""

    def wait(self, enough: Callable[[], bool], seconds: float) -> bool:
        """Read the logs as they grow until `enough()`, or for so long; whether it was enough."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while True:
            self.read()
            if enough():
                return True
            if time.monotonic() >= deadline:
                return False
            pause.wait(LOOK_SECONDS)

    def has(self, node: str) -> bool:
        """Whether the request's line in a node's log has been read."""
        return any(line.node == node for line in self.lines)

    def read(self) -> None:
        """Read what the logs have grown by."""
        for node, offset in self._offsets.items():
            path = self._paths[node]
            try:
                size = path.stat().st_size
                if size == offset:
                    continue
                with path.open("rb") as file:
                    # A log that shrank was emptied; what is in it is all new.
                    file.seek(offset if size > offset else 0)
                    data = file.read()
                    end = file.tell()
            except OSError as error:
                raise KernelError(f"read {path}: {error.strerror}", errno=error.errno) from error
            # The last line may be half written; it is read again when it is whole.
            whole, _, rest = data.rpartition(b"\n")
            self._offsets[node] = end - len(rest)
            self._take(node, whole)

    def _take(self, node: str, data: bytes) -> None:
        needle = self._request_id.encode()
        for line in data.splitlines():
            if needle not in line:
                continue
            try:
                fields = json.loads(line)
            except ValueError:
                continue
            if isinstance(fields, dict) and fields.get("request_id") == self._request_id:
                self.lines.append(LogLine(node, self._proxies[node], fields))
