"""`netlab trace`: one request, every hop, and a verdict."""

from __future__ import annotations

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root


@click.command("trace")
@click.argument("url")
@click.option("-X", "--request", "method", default="GET", show_default=True, help="The request's method.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be given often.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="Seconds to wait for the answer."
)
@lab_option
@output_option
def trace_command(
    url: str, method: str, headers: tuple[str, ...], timeout: float, lab: str | None, output: str
) -> None:
    """Send one request for URL from the client and show each hop it took, with evidence.

    Exit status: 0 the request took the declared path, 1 another one, 3 it was dropped or not answered,
    4 there is not enough evidence to tell.
    """
    require_root("netlab trace")
    from netlab.lab import calls

    result = calls.trace(lab, url, method=method, headers=list(headers), timeout=timeout)
    if output == "json":
        print_json(result)
    else:
        from rich.console import Console

        from netlab.trace.render import render

        Console().print(render(result))
    raise click.exceptions.Exit(result["exit_status"])
