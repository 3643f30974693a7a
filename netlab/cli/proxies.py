"""`netlab proxy-status` and `proxy-config`: what Pilot sent to each Envoy, and what the Envoy made of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = {
    "listeners": ("listener", "address", "match", "leads_to"),
    "routes": ("table", "domains", "match", "leads_to"),
    "clusters": ("host", "port", "app", "direction", "type"),
    "endpoints": ("endpoint", "host", "app", "status", "ejected", "requests", "errors", "connections"),
    "secrets": ("name", "state", "version"),
}
_DOCUMENTS = ("bootstrap", "all")
_COLOURS = {"SYNCED": "green", "NOT SENT": "dim", "STALE": "yellow", "ERROR": "bold red", "ABSENT": "bold red"}


@click.command("proxy-status")
@click.argument("node", required=False)
@lab_option
@output_option
def proxy_status_command(node: str | None, lab: str | None, output: str) -> None:
    """Show whether each Envoy has what Pilot sent it; with NODE, what differs between the two.

    SYNCED: the last that was sent was accepted. NOT SENT: there was nothing to send. STALE: not answered yet.
    ERROR: refused, with Envoy's reason. ABSENT: not connected to Pilot.

    Exit status 1 if anything is STALE, ERROR or ABSENT, or differs.
    """
    require_root("netlab proxy-status")
    from netlab.lab import calls

    if node is not None:
        compared = calls.proxies(lab, "compare", node=node)
        ill = bool(compared["differences"]) or not _synced(compared)
        print_json(compared) if output == "json" else _show_compared(compared)
    else:
        found = calls.proxies(lab, "status")
        ill = bool(found["pilot"]) or not all(map(_synced, found["proxies"]))
        print_json(found) if output == "json" else _show_status(found)
    if ill:
        raise click.exceptions.Exit(1)


@click.command("proxy-config")
@click.argument("kind", type=click.Choice([*_COLUMNS, *_DOCUMENTS]))
@click.argument("node")
@click.option("--grep", "word", metavar="TEXT", help="Only rows in which TEXT occurs.")
@lab_option
@output_option
def proxy_config_command(kind: str, node: str, word: str | None, lab: str | None, output: str) -> None:
    """Show the configuration in force in NODE's Envoy: a router's, or the sidecar's of an app container.

    `bootstrap` is what Envoy was started with, `all` its whole configuration dump; both are JSON. With -o json the
    rows of the other kinds have more in them, as the full names of clusters.
    """
    require_root("netlab proxy-config")
    from netlab.lab import calls

    found = calls.proxies(lab, "config", node=node, kind=kind)
    if kind in _DOCUMENTS:
        print_json(found)
        return
    rows = [row for row in found if word is None or any(word in _text(value) for value in row.values())]
    if output == "json":
        print_json(rows)
    else:
        _show_rows(kind, node, rows)


def _synced(proxy: dict[str, Any]) -> bool:
    return all(state in ("SYNCED", "NOT SENT") for state in proxy["states"].values())


def _show_status(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console()
    if found["pilot"]:
        console.print(f"[bold red]{found['pilot']}[/]\n", highlight=False)
    types = list(dict.fromkeys(kind for proxy in found["proxies"] for kind in proxy["states"]))
    table = _table("node", *(kind.upper() for kind in types), "last push", "connected for")
    for proxy in found["proxies"]:
        states = [f"[{_COLOURS[state]}]{state}[/]" for state in proxy["states"].values()]
        table.add_row(proxy["node"], *states, _push(proxy), _since(proxy))
    console.print(table)
    for proxy in found["proxies"]:
        _show_errors(console, proxy)


def _show_compared(compared: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    console.print(
        f"[bold]{compared['node']}[/] ({compared['proxy']}) is connected for {_since(compared)}, "
        f"last push {_push(compared)}",
        highlight=False,
    )
    differing = {each["type"] for each in compared["differences"]}
    for kind, state in compared["states"].items():
        count = compared["counts"].get(kind, 0)
        verdict = "differs" if kind in differing else "matches" if count else "nothing to have"
        console.print(
            f"  {kind.upper():<5} [{_COLOURS[state]}]{state}[/], {count} resources, {verdict}", highlight=False
        )
    for each in compared["differences"]:
        versions = f"Pilot has {each['pilot'] or 'none'}, Envoy {each['envoy'] or 'none'}"
        console.print(f"  {each['type'].upper()} {escape(each['name'])}: {versions}", highlight=False)
        if each["refused"]:
            console.print(f"    refused: {escape(each['refused'])}", highlight=False)
    _show_errors(console, compared)


def _show_errors(console: Any, proxy: dict[str, Any]) -> None:
    from rich.markup import escape

    for kind, text in proxy["errors"].items():
        console.print(f"\n[bold red]{proxy['node']} refused {kind.upper()}[/]: {escape(text)}", highlight=False)


def _show_rows(kind: str, node: str, rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.markup import escape

    if not rows:
        print(
            f"{node} has no {kind}" if kind != "secrets" else f"{node} has no secrets: the lab's Envoys need none yet"
        )
        return
    shown = [key for key in _COLUMNS[kind] if any(row[key] not in ("", [], None, False) for row in rows)]
    table = _table(*(key.replace("_", " ") for key in shown))
    for row in rows:
        table.add_row(*(escape(_text(row[key])) for key in shown))
    Console().print(table)


def _table(*columns: str) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(value: object) -> str:
    if isinstance(value, list):
        # A virtual host is for its host with and without the listener's port: one says it.
        return ", ".join(str(each) for each in value if str(each).rpartition(":")[0] not in value)
    return {True: "yes", False: ""}.get(value, "") if isinstance(value, bool) else str(value)


def _push(proxy: dict[str, Any]) -> str:
    milliseconds = proxy.get("last_push_ms")
    return "-" if milliseconds is None else f"{milliseconds:.1f} ms"


def _since(proxy: dict[str, Any]) -> str:
    if "connected_at" not in proxy:
        return "-"
    seconds = time.time() - float(proxy["connected_at"])
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
