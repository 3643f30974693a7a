"""What every Python component of the lab shares: its context, its log, its readiness and its end.

A component is a module with `async def run(context: Context) -> None`. The fork server calls `main` in a
fresh process that already stands in the node's network namespace; `run` sets up its listeners, calls
`context.ready()`, and returns once `context.stopping` is set.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class _JsonLines(logging.Formatter):
    """One JSON object a line, so that `netlab logs -o json` needs no parsing of free text."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record: time (Unix seconds), level, logger, message, and the exception if any."""
        line: dict[str, Any] = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


@dataclass
class Context:
    """One running component: where it is, what it was told, and how it says that it serves."""

    lab: str
    node: str
    job: str
    config: Mapping[str, Any]
    """The job's configuration; the component validates it with its own pydantic model."""
    ready_fd: int | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self) -> None:
        """Tell the supervisor, once, that every listener of the component accepts."""
        if self.ready_fd is not None:
            os.write(self.ready_fd, b"READY=1\n")
            os.close(self.ready_fd)
            self.ready_fd = None

    @property
    def log(self) -> logging.Logger:
        """The component's logger; it writes JSON lines to standard error, which is the job's log file."""
        return logging.getLogger(self.job)


def main(module: str, context: Context) -> int:
    """Run a component until SIGTERM or SIGINT; returns the process's exit status."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    started = time.monotonic()

    async def body() -> None:
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, context.stopping.set)
        await importlib.import_module(module).run(context)

    try:
        asyncio.run(body())
    except Exception:
        context.log.exception("%s failed after %.3f s", context.job, time.monotonic() - started)
        return 1
    return 0
