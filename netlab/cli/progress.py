"""What `netlab up` shows while it works: each phase, what it builds, and how long it took."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table


class Progress:
    """A live list of phases on a terminal; one line a finished phase elsewhere. On standard error."""

    def __init__(self, lab: str, console: Console | None = None) -> None:
        self._lab = lab
        self._console = console or Console(stderr=True)
        self._running: dict[str, float] = {}
        self._details: dict[str, str] = {}
        self._live = Live(get_renderable=self._render, console=self._console, transient=True, refresh_per_second=12)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.stop()

    def event(self, event: dict[str, Any]) -> None:
        """Take one event of the bring-up: {"phase", "state": "start" | "done", "detail", "seconds"}."""
        phase = event["phase"]
        if event["state"] == "start":
            self._running[phase] = time.monotonic()
            self._details[phase] = event["detail"]
            return
        self._running.pop(phase, None)
        line = Table.grid(padding=(0, 1))
        line.add_row("[green]✓[/]", f"{phase:<22}", f"[cyan]{event['seconds']:5.2f} s[/]", f"[dim]{event['detail']}[/]")
        self._console.print(line)

    def _render(self) -> RenderableType:
        rows = Table.grid(padding=(0, 1))
        for phase, since in self._running.items():
            seconds = f"[cyan]{time.monotonic() - since:5.2f} s[/]"
            rows.add_row(Spinner("dots"), f"{phase:<22}", seconds, f"[dim]{self._details[phase]}[/]")
        return rows
