"""`netlab push`: an app by its options, or the apps of a manifest."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from netlab.cli.output import lab_option, output_option, print_json
from netlab.cli.words import Megabytes, act, plural
from netlab.errors import UsageError

_PORT = 8080


@click.command("push")
@click.argument("app", required=False)
@click.option(
    "-f",
    "--manifest",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Push the apps of a manifest in Cloud Foundry's format, or only APP of it.",
)
@click.option("--var", "variables", multiple=True, metavar="NAME=VALUE", help="A value for ((NAME)) in the manifest.")
@click.option(
    "--vars-file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of such values.",
)
@click.option("-i", "--instances", type=click.IntRange(min=0), help="Number of instances; 1 for a new app.")
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
    help=f"Port the app listens on, {_PORT} by default; it finds it in $PORT.",
)
@click.option("-m", "--memory", type=Megabytes(), help="Memory of an instance, as 512M.")
@click.option("-k", "--disk", type=Megabytes(), help="Disk of an instance, as 1G.")
@click.option(
    "-u",
    "--health-check-type",
    "check",
    type=click.Choice(["port", "http", "process"]),
    help="How to tell that an instance is well; by default its port accepts.",
)
@click.option("--endpoint", metavar="PATH", help="What to ask for, with -u http.")
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="Environment of the app; may be given often.")
@click.option(
    "-r", "--route", "routes", multiple=True, metavar="HOST.DOMAIN[/PATH]", help="Route to map; may be given often."
)
@click.option("--no-route", is_flag=True, help="Take the app off every route.")
@click.option("--no-start", is_flag=True, help="Do not start the app.")
@click.option("--strategy", type=click.Choice(["rolling"]), help="Replace a running app's instances while it serves.")
@lab_option
@output_option
def push_command(
    app: str | None,
    manifest: Path | None,
    variables: tuple[str, ...],
    files: tuple[Path, ...],
    lab: str | None,
    output: str,
    strategy: str | None,
    no_start: bool,
    **options: Any,
) -> None:
    """Push APP, or the apps of a manifest: start the instances and wait until they run.

    Examples: netlab push hello -i 2 -r hello.mesh.example.test; netlab push -f manifest.yml
    """
    if manifest is None:
        if app is None:
            raise UsageError("name the app, or a manifest with -f", hint="netlab push hello")
        if variables or files:
            raise UsageError("--var and --vars-file are for a manifest: give it with -f")
        pushes: Sequence[dict[str, Any]] = [{"name": app, **_parameters(options)}]
    else:
        pushes = _of_manifest(manifest, app, variables, files, options)
    general = {"start": not no_start, "rolling": strategy is not None}
    results = []
    for push in pushes:
        try:
            result = act(lab, "push", **push, **general)
        except KeyboardInterrupt:
            name = push["name"]
            hint = f"`netlab app {name}` shows how far it came, another push goes on from there"
            print(f"netlab: the push of {name} was interrupted\n  → {hint}", file=sys.stderr)
            raise
        results.append(result)
        if output != "json":
            print(_sentence(result))
    if output == "json":
        print_json(results if manifest is not None else results[0])


def _sentence(result: Mapping[str, Any]) -> str:
    if "instances" not in result:
        return f"{result['name']} is {'made' if result['created'] else 'changed'}, and not started"
    return f"{result['name']} runs with {plural(result['instances'], 'instance')}"


def _parameters(options: Mapping[str, Any]) -> dict[str, Any]:
    """What the options say, as parameters of the push; what they leave out is not among them."""
    if options["directory"] is not None and options["command"] is None:
        raise UsageError("--path needs --command: an app of your own says how it is started", hint="-c './run.sh'")
    if options["endpoint"] is not None and options["check"] != "http":
        raise UsageError("--endpoint is for -u http")
    if options["no_route"] and options["routes"]:
        raise UsageError("--no-route and --route contradict each other")
    data = {} if options["endpoint"] is None else {"endpoint": options["endpoint"]}
    found = {
        "instances": options["instances"],
        "directory": str(options["directory"].resolve()) if options["directory"] else None,
        "command": options["command"],
        "port": options["port"],
        "memory_mb": options["memory"],
        "disk_mb": options["disk"],
        "env": _pairs(options["env"], "--env") or None,
        "routes": list(options["routes"]) or None,
        "no_route": options["no_route"] or None,
        "health_check": options["check"] and {"type": options["check"], "data": data},
    }
    return {name: value for name, value in found.items() if value is not None}


def _of_manifest(
    path: Path, only: str | None, variables: tuple[str, ...], files: tuple[Path, ...], options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The pushes that a manifest asks for; the options win over what it says, and are for a single app."""
    from netlab.topology import manifest

    values: dict[str, Any] = {}
    for file in files:
        values |= manifest.load_variables(file)
    loaded = manifest.load(path, values | _pairs(variables, "--var"))
    for warning in loaded.warnings:
        print(f"netlab: {warning}", file=sys.stderr)
    apps = [app for app in loaded.manifest.applications if only in (None, app.name)]
    if not apps:
        names = ", ".join(app.name for app in loaded.manifest.applications)
        raise UsageError(f"{path} has no app {only}", hint=f"its apps are {names}")
    own = _parameters({**options, "directory": None}) | (
        {"directory": str(options["directory"].resolve())} if options["directory"] else {}
    )
    if own and len(apps) > 1:
        hint = f"netlab push {apps[0].name} -f {path} …"
        raise UsageError("options change a single app: name which of the manifest's", hint=hint)
    return [app.pushed() | own for app in apps]


def _pairs(given: tuple[str, ...], option: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given]
    if wrong := [name for name, equals, _ in pairs if not equals or not name]:
        raise UsageError(f"{option} {wrong[0]} is not NAME=VALUE")
    return {name: value for name, _, value in pairs}
