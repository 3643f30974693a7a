"""The cf CLI's words for apps, but for push."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli.output import lab_option, output_option, print_json
from netlab.cli.words import Megabytes, act, app_argument, confirmed, plural, show, size, table
from netlab.errors import UsageError


@click.command("apps")
@lab_option
@output_option
def apps_command(lab: str | None, output: str) -> None:
    """List the apps: state, running and wanted instances, routes."""
    apps = act(lab, "apps")
    if output == "json":
        print_json(apps)
        return
    rows = [[a["name"], a["state"].lower(), f"{a['running']}/{a['instances']}", ", ".join(a["routes"])] for a in apps]
    table(["app", "state", "instances", "routes"], rows, none="no apps; `netlab push NAME` makes one")


@click.command("app")
@app_argument
@lab_option
@output_option
def app_command(app: str, lab: str | None, output: str) -> None:
    """Show APP: what is wanted of it, its routes, and how each instance fares."""
    found = act(lab, "app", name=app)
    if output == "json":
        print_json(found)
        return
    facts = {
        "name": found["name"],
        "requested state": found["state"].lower(),
        "routes": ", ".join(found["routes"]) or "none",
        "command": found["command"] or "the demo app",
        "instances": f"{found['running']}/{found['instances']}",
        "memory, disk": f"{size(found['memory_mb'] << 20)}, {size(found['disk_mb'] << 20)}",
        "health check": found["health_check"],
    }
    for name, value in facts.items():
        print(f"{name + ':':<17} {value}")
    print()
    rows = [_instance(each) for each in found["stats"]]
    table(["", "state", "for", "cpu", "memory", "disk", "at", "details"], rows, none="no instances")


def _instance(stats: dict[str, Any]) -> list[str]:
    usage = stats.get("usage", {})
    first = next(iter(stats.get("instance_ports", [])), {"external": ""})
    return [
        f"#{stats['index']}",
        stats["state"].lower(),
        _span(stats["uptime"]),
        f"{100 * usage['cpu']:.1f} %" if usage else "-",
        size(usage["mem"]) if usage else "-",
        size(usage["disk"]) if usage else "-",
        f"{stats['host']}:{first['external']}" if "host" in stats else "-",
        stats["details"] or "",
    ]


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


@click.command("scale")
@app_argument
@click.option("-i", "--instances", type=click.IntRange(min=0), help="Number of instances.")
@click.option("-m", "--memory", type=Megabytes(), help="Memory of an instance, as 512M; restarts the app.")
@click.option("-k", "--disk", type=Megabytes(), help="Disk of an instance, as 1G; restarts the app.")
@lab_option
@output_option
def scale_command(
    app: str, instances: int | None, memory: int | None, disk: int | None, lab: str | None, output: str
) -> None:
    """Change the number of instances of APP or what each may use, and wait until they run.

    Example: netlab scale hello -i 10
    """
    if instances is memory is disk is None:
        raise click.UsageError("say what to change: --instances, --memory or --disk")
    result = act(lab, "scale", name=app, instances=instances, memory_mb=memory, disk_mb=disk)
    runs = "runs with" if result["state"] == "STARTED" else "is stopped; once started it has"
    show(result, output, f"{app} {runs} {plural(result['instances'], 'instance')}")


@click.command("start")
@app_argument
@lab_option
@output_option
def start_command(app: str, lab: str | None, output: str) -> None:
    """Start APP and wait until its instances run."""
    show(act(lab, "start", name=app), output, f"{app} runs")


@click.command("stop")
@app_argument
@lab_option
@output_option
def stop_command(app: str, lab: str | None, output: str) -> None:
    """Stop APP; its routes answer 503."""
    show(act(lab, "stop", name=app), output, f"{app} is stopped")


@click.command("restart")
@app_argument
@click.option("--rolling", is_flag=True, help="Replace the instances while the app serves: no request is lost.")
@click.option("--strategy", type=click.Choice(["rolling"]), help="The cf CLI's way to say --rolling.")
@click.option(
    "--max-in-flight", type=click.IntRange(min=1), help="How many instances are replaced at a time; 1 by default."
)
@lab_option
@output_option
def restart_command(
    app: str, rolling: bool, strategy: str | None, max_in_flight: int | None, lab: str | None, output: str
) -> None:
    """Replace the instances of APP by new ones; it is away for a moment, unless --rolling.

    Example: netlab restart hello --rolling
    """
    if not rolling and strategy is None:
        if max_in_flight is not None:
            raise UsageError("--max-in-flight is for a rolling restart", hint=f"netlab restart {app} --rolling")
        result = act(lab, "restart", name=app)
    else:
        result = act(lab, "restart_rolling", name=app, max_in_flight=max_in_flight)
    show(result, output, f"{app} runs with new instances")


@click.command("cancel-deployment")
@app_argument
@lab_option
@output_option
def cancel_deployment_command(app: str, lab: str | None, output: str) -> None:
    """Give up a rolling restart of APP that is under way; the instances from before serve on."""
    show(act(lab, "cancel_deployment", name=app), output, f"{app} goes back to its instances from before")


@click.command("restart-app-instance")
@app_argument
@click.argument("index", type=click.IntRange(min=0))
@lab_option
@output_option
def restart_app_instance_command(app: str, index: int, lab: str | None, output: str) -> None:
    """End one instance of APP; another takes its place."""
    show(act(lab, "restart_instance", name=app, index=index), output, f"instance {index} of {app} is replaced")


@click.command("delete")
@app_argument
@click.option("-r", "--routes", is_flag=True, help="Delete its routes too, if they lead to no other app.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@lab_option
@output_option
def delete_command(app: str, routes: bool, force: bool, lab: str | None, output: str) -> None:
    """Delete APP; its routes stay, without it, unless -r."""
    confirmed(f"Delete the app {app}?", force=force)
    result = act(lab, "delete", name=app, routes=routes)
    gone = f" with {', '.join(result['routes'])}" if result["routes"] else ""
    show(result, output, f"{app} is deleted{gone}")


@click.command("env")
@app_argument
@lab_option
@output_option
def env_command(app: str, lab: str | None, output: str) -> None:
    """Show the environment of APP: what somebody set, and what the system adds."""
    found = act(lab, "env", name=app)
    if output == "json":
        print_json(found)
        return
    import json

    for name, value in sorted(found["environment_variables"].items()):
        print(f"{name}={value}")
    for name, value in {**found["system_env_json"], **found["application_env_json"]}.items():
        print(f"{name}={json.dumps(value, indent=2)}")


@click.command("set-env")
@app_argument
@click.argument("name")
@click.argument("value")
@lab_option
@output_option
def set_env_command(app: str, name: str, value: str, lab: str | None, output: str) -> None:
    """Set a variable of APP's environment; the app sees it after a restart."""
    result = act(lab, "set_env", name=app, variables={name: value})
    show(result, output, f"{name} is set; `netlab restart {app} --rolling` shows it to {app}")


@click.command("unset-env")
@app_argument
@click.argument("name")
@lab_option
@output_option
def unset_env_command(app: str, name: str, lab: str | None, output: str) -> None:
    """Remove a variable from APP's environment; the app sees it after a restart."""
    result = act(lab, "set_env", name=app, variables={name: None})
    show(result, output, f"{name} is removed; `netlab restart {app} --rolling` takes it from {app}")
