"""A trace's document as a table: one row a hop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDE = 150
"""Columns from which on evidence has a column of its own."""
_STYLE = {"pass": "bold green", "differs": "bold red", "dropped": "bold red", "insufficient": "bold yellow"}
_WORDS = {
    "pass": "the request took the declared path",
    "differs": "the request did not take the declared path",
    "dropped": "the request was dropped or not answered",
    "insufficient": "there is not enough evidence to tell",
}
_KINDS = {
    "client": "client",
    "lb": "load balancer",
    "dnat": "  ↳ DNAT",
    "ingress-envoy": "ingress Envoy",
    "cell": "cell",
    "container": "container",
    "sidecar-envoy": "sidecar Envoy",
    "app": "app",
}


class _Hops:
    """The hops; where the terminal is too narrow for a column of evidence it stands below each hop."""

    def __init__(self, hops: Sequence[Mapping[str, Any]]) -> None:
        self._hops = hops

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE:
            yield _table(self._hops)
        else:
            yield from _list(self._hops)


def render(result: Mapping[str, Any]) -> RenderableType:
    """The whole of a trace's document for a person."""
    return Group(_title(result), _Hops(result["hops"]), *_conclusion(result))


def _title(result: Mapping[str, Any]) -> Text:
    status = f"status {result['status']}" if result["status"] is not None else result["failure"] or "no answer"
    return Text.assemble(
        (str(result["url"]), "bold"),
        f"  {status} in {result['request_ms']:.1f} ms",
        (f"\nx-request-id {result['request_id']}", "dim"),
    )


def _table(hops: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    for column in ("node", "what", "Δ ms", "addresses"):
        table.add_column(column, justify="right" if column == "Δ ms" else "left", no_wrap=True)
    table.add_column("evidence", overflow="fold")
    for hop, delta in zip(hops, _deltas(hops), strict=True):
        table.add_row(*_cells(hop), delta, _addresses(hop), "\n".join(_evidence(hop)))
    return table


def _list(hops: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """One line a hop, its evidence below it."""
    rows = [(*_cells(hop), delta) for hop, delta in zip(hops, _deltas(hops), strict=True)]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for hop, (node, what, delta) in zip(hops, rows, strict=True):
        yield f"{node:{widths[0]}}  {what:{widths[1]}}  {delta:>{widths[2]}}  {_addresses(hop)}"
        for line in _evidence(hop):
            yield Padding(Text.from_markup(line, overflow="fold"), (0, 0, 0, 4))


def _cells(hop: Mapping[str, Any]) -> tuple[str, str]:
    node = "" if hop["kind"] == "dnat" else escape(hop["node"])
    return node, _KINDS.get(hop["kind"], hop["kind"])


def _evidence(hop: Mapping[str, Any]) -> list[str]:
    return [f"[dim]{piece['source']:10}[/dim] {escape(piece['summary'])}" for piece in hop["evidence"]]


def _deltas(hops: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Milliseconds since the hop before whose time is known."""
    last: int | None = None
    for hop in hops:
        at = hop["at_ns"]
        yield "" if at is None else "0" if last is None else f"+{(at - last) / 1e6:.3f}"
        last = at if at is not None else last


def _addresses(hop: Mapping[str, Any]) -> str:
    if hop["kind"] == "dnat":
        return f"[dim]{hop['before'].rpartition(' ')[2]}[/dim] ⇒ [bold]{hop['after'].rpartition(' ')[2]}[/bold]"
    return str(hop["before"] or hop["after"])


def _conclusion(result: Mapping[str, Any]) -> list[Text]:
    verdict = str(result["verdict"])
    lines = [Text.assemble(("\n" + verdict.upper(), _STYLE[verdict]), f"  {_WORDS[verdict]}")]
    if verdict != "pass":
        lines += [
            Text(f"expected  {' → '.join(result['expected'])}"),
            Text(f"observed  {' → '.join(result['observed']) or 'nothing'}"),
        ]
    if result["cause"]:
        lines.append(Text.assemble(("cause     ", "bold"), str(result["cause"])))
    if result["hint"]:
        lines.append(Text.assemble(("mend      ", "bold"), str(result["hint"])))
    missing = [source for source in result["sources"] if not source["available"] or source["lost"]]
    for source in missing:
        why = f"{source['lost']} lost" if source["lost"] else source["detail"]
        lines.append(Text(f"no {source['source']} evidence from {source['node']}: {why}", style="yellow"))
    if result["declared"]["problem"]:
        lines.append(Text(f"routes are those of the topology: {result['declared']['problem']}", style="yellow"))
    instances = ", ".join(result["declared"]["instances"]) or "no instance"
    lines.append(
        Text(
            f"declared by {result['declared']['origin']}: {result['declared']['route']} → {instances}; "
            f"traced in {result['duration_ms']:.0f} ms",
            style="dim",
        )
    )
    return lines
