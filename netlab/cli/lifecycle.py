"""`netlab up` and `netlab down`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root

QUICKSTART = Path(__file__).resolve().parents[2] / "topologies" / "quickstart.yml"


@click.command("up")
@click.argument("topology", required=False, type=click.Path(path_type=Path))
@click.option("--lab", "--name", metavar="NAME", help="Name the lab so, instead of by the topology's own name.")
@click.option("--replace", is_flag=True, help="Take a lab of that name down first.")
@click.option("--keep", is_flag=True, help="If it fails, leave what there is for a look.")
@output_option
def up_command(topology: Path | None, lab: str | None, replace: bool, keep: bool, output: str) -> None:
    """Build the lab of TOPOLOGY (by default the quickstart), start the mesh, push the apps, verify each route."""
    require_root("netlab up")
    from netlab.lab.early import EarlySupervisor

    with EarlySupervisor() as supervisor:
        from netlab.lab import launch

        started = launch.prepare(topology or QUICKSTART, supervisor, name=lab, replace=replace)
    if output == "json":
        print_json(launch.bring_up(started, emit=lambda _event: None, keep=keep))
        return
    from netlab.cli.progress import Progress

    with Progress(started.name) as progress:
        result = launch.bring_up(started, emit=progress.event, keep=keep)
    _show_result(result)


def _show_result(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(title_justify="left", box=None, header_style="bold", pad_edge=False)
    table.add_column("route", no_wrap=True)
    for heading in ("app", "instances", "verified"):
        table.add_column(heading)
    for route in result["routes"]:
        count = len(route["routers"])
        verified = f"200 at {count} router{'s' * (count != 1)}" if count else "no instance to ask"
        table.add_row(f"http://{route['route']}/", ", ".join(route["apps"]), str(route["instances"]), verified)
    console.print(f"[bold green]{result['name']}[/] is ready after {result['seconds']:.2f} s\n", highlight=False)
    console.print(table)
    if result["routes"]:
        url = f"http://{result['routes'][0]['route']}/"
        where = f" --lab {result['name']}" if result["several"] else ""
        console.print("\nTry next:", style="bold")
        for line in (
            f"sudo netlab exec{where} client -- curl -s {url}",
            f"sudo netlab trace{where} {url}",
            f"sudo netlab status{where}",
            f"sudo netlab down{where}",
        ):
            console.print(f"  {line}", highlight=False, soft_wrap=True)


@click.command("down")
@lab_option
@click.option("--all", "every", is_flag=True, help="Take every lab down.")
@output_option
def down_command(lab: str | None, every: bool, output: str) -> None:
    """Take a lab down; without --lab the only one that is up."""
    require_root("netlab down")
    from netlab.lab import calls

    taken = calls.down(lab, every=every)
    if output == "json":
        print_json({"down": taken})
        return
    for name in taken:
        print(f"{name} is down")
    if not taken:
        print(f"no lab{f' named {lab}' if lab else ''} is up: nothing to take down")
