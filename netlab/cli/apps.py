"""The words of the cf CLI: each one call of CAPI, made in a process that stands on the lab's client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root
from netlab.errors import UsageError


def _act(lab: str | None, action: str, **params: Any) -> Any:
    require_root(f"netlab {action.replace('_', '-')}")
    from netlab.lab import calls

    return calls.capi(lab, {"action": action, **params})


@click.command("push")
@click.argument("app")
@click.option(
    "-i", "--instances", type=click.IntRange(min=0), default=1, show_default=True, help="Number of instances."
)
@click.option(
    "-p",
    "--path",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with the app's files.",
)
@click.option("-c", "--command", help="What to run there; by default the demo app.")
@click.option(
    "--port",
    type=click.IntRange(1024, 65535),
    default=8080,
    show_default=True,
    help="Port the app listens on; it finds it in $PORT.",
)
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Environment of the app; may be given often.")
@click.option(
    "-r", "--route", "routes", multiple=True, metavar="HOST.DOMAIN[/PATH]", help="Route to map; may be given often."
)
@lab_option
@output_option
def push_command(
    app: str,
    instances: int,
    directory: Path | None,
    command: str | None,
    port: int,
    env: tuple[str, ...],
    routes: tuple[str, ...],
    lab: str | None,
    output: str,
) -> None:
    """Push APP: start its instances and wait until they run."""
    if directory is not None and command is None:
        raise UsageError("--path needs --command: an app of your own says how it is started", hint="-c './run.sh'")
    pairs = [pair.partition("=") for pair in env]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise UsageError(f"--env {wrong[0]} is not NAME=VALUE")
    result = _act(
        lab,
        "push",
        name=app,
        instances=instances,
        directory=str(directory.resolve()) if directory else None,
        command=command,
        port=port,
        env={name: value for name, _, value in pairs},
        routes=list(routes),
    )
    _show(result, output, f"{app} runs with {instances} instance{'s' * (instances != 1)}")


@click.command("apps")
@lab_option
@output_option
def apps_command(lab: str | None, output: str) -> None:
    """List the apps: state, running and wanted instances, routes."""
    apps = _act(lab, "apps")
    if output == "json":
        print_json(apps)
        return
    rows = [[a["name"], a["state"].lower(), f"{a['running']}/{a['instances']}", ", ".join(a["routes"])] for a in apps]
    _table(["app", "state", "instances", "routes"], rows)


@click.command("scale")
@click.argument("app")
@click.option("-i", "--instances", type=click.IntRange(min=0), required=True, help="Number of instances.")
@lab_option
@output_option
def scale_command(app: str, instances: int, lab: str | None, output: str) -> None:
    """Change the number of instances of APP and wait until they run."""
    result = _act(lab, "scale", name=app, instances=instances)
    _show(result, output, f"{app} runs with {instances} instance{'s' * (instances != 1)}")


@click.command("delete")
@click.argument("app")
@lab_option
@output_option
def delete_command(app: str, lab: str | None, output: str) -> None:
    """Delete APP; its routes stay, without it."""
    _show(_act(lab, "delete", name=app), output, f"{app} is deleted")


@click.command("routes")
@lab_option
@output_option
def routes_command(lab: str | None, output: str) -> None:
    """List the routes and the apps behind them."""
    routes = _act(lab, "routes")
    if output == "json":
        print_json(routes)
        return
    rows = [[route["url"], ", ".join(_destination(d) for d in route["destinations"])] for route in routes]
    _table(["route", "apps"], rows)


def _destination(destination: dict[str, Any]) -> str:
    weight = destination.get("weight")
    return f"{destination['app']} ({weight} %)" if weight is not None else str(destination["app"])


@click.command("map-route")
@click.argument("app")
@click.argument("route", metavar="HOST.DOMAIN[/PATH]")
@lab_option
@output_option
def map_route_command(app: str, route: str, lab: str | None, output: str) -> None:
    """Map a route to APP; the route is made if it is new."""
    _show(_act(lab, "map_route", name=app, route=route), output, f"{route} is mapped to {app}")


@click.command("unmap-route")
@click.argument("app")
@click.argument("route", metavar="HOST.DOMAIN[/PATH]")
@lab_option
@output_option
def unmap_route_command(app: str, route: str, lab: str | None, output: str) -> None:
    """Remove a route from APP; the route itself stays."""
    _show(_act(lab, "unmap_route", name=app, route=route), output, f"{route} is no longer mapped to {app}")


def _show(result: Any, output: str, sentence: str) -> None:
    if output == "json":
        print_json(result)
    else:
        print(sentence)


def _table(headers: list[str], rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*headers, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
