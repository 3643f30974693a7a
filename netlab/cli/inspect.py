"""`netlab status`, `exec`, `logs` and `job`: looking into a lab and acting on one node."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NoReturn

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root


@click.command("status")
@lab_option
@output_option
def status_command(lab: str | None, output: str) -> None:
    """Show a lab's nodes, jobs and app containers; exit 1 if something that should run does not."""
    require_root("netlab status")
    from netlab.lab import calls

    status = calls.status(lab)
    if output == "json":
        print_json(status)
    else:
        _show_status(status)
    if not status["healthy"]:
        raise click.exceptions.Exit(1)


def _show_status(status: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    colours = {"running": "green", "RUNNING": "green", "starting": "yellow", "STARTING": "yellow", "stopped": "dim"}
    table = Table(
        "node", "address", "job", "status", "pid", "restarts", "for", box=None, header_style="bold", pad_edge=False
    )
    now = time.time()
    for job in status["jobs"]:
        colour = colours.get(job["status"], "red")
        node = status["nodes"][job["node"]]
        age = _age(now - job["since"])
        pid = str(job["pid"] or "-")
        table.add_row(
            job["node"], node["address"], job["job"], f"[{colour}]{job['status']}[/]", pid, str(job["restarts"]), age
        )
    for container in status["containers"]:
        colour = colours.get(container["state"], "red")
        state = f"[{colour}]{container['state'].lower()}[/]"
        where = f"app on {container['cell']}:{container['host_port']}"
        table.add_row(container["node"], container["address"], where, state, str(container["app_pid"] or "-"), "", "")
    state = "[green]ready[/]" if status["healthy"] else "[red]not healthy[/]"
    console = Console()
    console.print(f"lab [bold]{status['name']}[/] is {state}\n", highlight=False)
    console.print(table)


def _age(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@lab_option
@output_option
@click.argument("node")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(lab: str | None, output: str, node: str, command: tuple[str, ...]) -> NoReturn:
    """Run COMMAND on NODE (a VM or an app container), with the lab's DNS; its exit status is the answer.

    With -o json it has no terminal, and its output and exit status are printed as one object.
    """
    require_root("netlab exec")
    from netlab.lab import state

    lab_state = state.read(state.choose(lab))
    argv = command[1:] if command[0] == "--" else command
    if output == "json":
        from netlab.lab.api import Lab

        done = Lab(lab_state["name"]).exec(node, argv, timeout=None)
        print_json({"exit_status": done.returncode, "stdout": done.stdout, "stderr": done.stderr})
        raise click.exceptions.Exit(done.returncode)
    from netlab.kernel import takeover

    netns, resolv_conf = state.find_node(lab_state, node)
    takeover.execute(argv, netns=netns, resolv_conf=resolv_conf, cgroup=Path(lab_state["cgroup"]) / "exec")


@click.command("logs")
@lab_option
@click.argument("node")
@click.argument("job", required=False)
@click.option("-n", "--lines", type=click.IntRange(min=0), default=50, show_default=True, help="Lines of each log.")
@output_option
def logs_command(lab: str | None, node: str, job: str | None, lines: int, output: str) -> None:
    """Show the last lines of what NODE's jobs (or only JOB) have printed; for an app: app, sidecar, access."""
    require_root("netlab logs")
    from netlab.lab import logs

    found = logs.tail(lab, node, job, lines)
    if output == "json":
        print_json([{"log": name, "line": line} for name, text in found.items() for line in text])
        return
    for name, text in found.items():
        if len(found) > 1:
            click.secho(f"==> {name}", bold=True)
        for line in text:
            click.echo(_readable(line))


def _readable(line: str) -> str:
    """A component's JSON line as a person reads it; anything else as it is."""
    try:
        entry = json.loads(line)
        stamp = time.strftime("%H:%M:%S", time.localtime(entry["time"])) + f"{entry['time'] % 1:.3f}"[1:]
    except (ValueError, KeyError, TypeError):
        return line
    text = f"{stamp} {entry.get('level', 'info')} {entry['message']}"
    return f"{text}\n{entry['exception']}" if entry.get("exception") else text


@click.group("job")
def job_command() -> None:
    """Stop, start, restart or kill one job of a node; a job that was stopped stays so until it is started."""


def _job_call(action: str, past: str, lab: str | None, node: str, job: str | None, output: str) -> None:
    require_root(f"netlab job {action}")
    from netlab.lab import calls

    result = calls.call(lab, {"call": f"job-{action}", "node": node, "job": job})
    if output == "json":
        print_json(result)
    else:
        print(f"{result['node']}: {result['job']} {past}")


def _job_action(action: str, past: str, text: str) -> None:
    @job_command.command(action, help=text)
    @lab_option
    @click.argument("node")
    @click.argument("job", required=False)
    @output_option
    def command(lab: str | None, node: str, job: str | None, output: str) -> None:
        _job_call(action, past, lab, node, job, output)


_job_action("stop", "stopped", "Stop a job; it is not restarted.")
_job_action("start", "started", "Start a job that was stopped.")
_job_action("restart", "restarted", "Stop a job and start it again.")
_job_action("kill", "killed", "Kill a job's process with SIGKILL; the supervisor restarts it.")
