"""A trace's document as a table: one row a hop."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
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
        yield _table(self._hops, wide=options.max_width >= WIDE)


def render(result: Mapping[str, Any]) -> RenderableType:
    """The whole of a trace's document for a person."""
    return Group(_title(result), _Hops(result["hops"]), *_conclusion(result))


def _title(result: Mapping[str, Any]) -> Text:
    status = f"status {result['status']}" if result["status"] is not None else result["failure"] or "no answer"
    return Text.assemble(
        (str(result["url"]), "bold"),
        f"  {status} in {result['request_ms']:.1f} ms  ",
        (f"x-request-id {result['request_id']}", "dim"),
    )


def _table(hops: Iterable[Mapping[str, Any]], *, wide: bool) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim", pad_edge=False)
    table.add_column("node", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("Δ ms", justify="right", no_wrap=True)
    table.add_column("addresses" if wide else "addresses and evidence", no_wrap=wide, overflow="fold")
    if wide:
        table.add_column("evidence", overflow="fold")
    last: int | None = None
    for hop in hops:
        at = hop["at_ns"]
        delta = "" if at is None else "0" if last is None else f"+{(at - last) / 1e6:.3f}"
        last = at if at is not None else last
        evidence = "\n".join(f"[dim]{piece['source']:10}[/dim] {escape(piece['summary'])}" for piece in hop["evidence"])
        node = "" if hop["kind"] == "dnat" else escape(hop["node"])
        table.add_row(node, _KINDS.get(hop["kind"], hop["kind"]), delta, _addresses(hop), *([evidence] if wide else []))
        if not wide and evidence:
            table.add_row("", "", "", evidence)
    return table


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
    instances = ", ".join(result["declared"]["instances"]) or "no instance"
    lines.append(
        Text(
            f"declared by {result['declared']['origin']}: {result['declared']['route']} → {instances}; "
            f"traced in {result['duration_ms']:.0f} ms",
            style="dim",
        )
    )
    return lines
