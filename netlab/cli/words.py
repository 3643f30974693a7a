"""What the cf CLI's words have in common: a call of CAPI made in a process on the lab's client, and how it is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from netlab.cli.output import print_json, require_root

MEMORY = "a number with a unit: 512M, 1G"


def act(lab: str | None, action: str, **params: Any) -> Any:
    """Do one of the actions of netlab.capi.task; parameters that are None are left out, and have their default."""
    require_root(f"netlab {action.replace('_', '-')}")
    from netlab.lab import calls

    return calls.capi(lab, {"action": action, **{name: value for name, value in params.items() if value is not None}})


def show(result: Any, output: str, sentence: str) -> None:
    """The result for a machine, or a sentence for a person."""
    if output == "json":
        print_json(result)
    else:
        print(sentence)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, none: str) -> None:
    """Rows for a person; `none` is what to say if there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        print(none)
        return
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for header in headers:
        shown.add_column(header, overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    Console().print(shown)


def plural(count: int, word: str) -> str:
    """`1 instance`, `2 instances`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


class Megabytes(click.ParamType[int]):
    """A quota as the cf CLI takes it, in MiB: `512M`, `1G`, `1024MB`."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number of MiB."""
        if isinstance(value, int):
            return value
        try:
            return megabytes(str(value))
        except ValueError:
            self.fail(f"{value!r} is not {MEMORY}", param, ctx)


def megabytes(text: str) -> int:
    """The MiB of `512M` or `1G`. Raises ValueError."""
    digits = text.strip().upper().removesuffix("B")
    factor = {"M": 1, "G": 1024, "T": 1024 * 1024}.get(digits[-1:])
    if factor is None or not digits[:-1].isdecimal() or int(digits[:-1]) == 0:
        raise ValueError(text)
    return int(digits[:-1]) * factor


def size(count: float) -> str:
    """Bytes as the cf CLI shows them: `12.4M`, `1G`."""
    for unit in ("B", "K", "M", "G"):
        if count < 1024 or unit == "G":
            return f"{count:.1f}".removesuffix(".0") + unit
        count /= 1024
    return ""


def confirmed(question: str, *, force: bool) -> None:
    """Ask a person who sits at a terminal; raises click.Abort for a no. A script is not asked."""
    if not force and sys.stdin.isatty() and sys.stdout.isatty():
        click.confirm(question, abort=True)


app_argument: Callable[[Any], Any] = click.argument("app")
route_argument: Callable[[Any], Any] = click.argument("route", metavar="HOST.DOMAIN[/PATH]")
