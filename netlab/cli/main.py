"""The `netlab` command: finds the command by its first word, and ends every error in one line and an exit status."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import NoReturn

import click

from netlab import __version__
from netlab.errors import NetlabError

COMMANDS = {
    "up": ("netlab.cli.lifecycle", "Build a lab, start the mesh, push the apps, verify each route."),
    "down": ("netlab.cli.lifecycle", "Take a lab down and leave nothing behind."),
    "status": ("netlab.cli.inspect", "Show a lab's nodes, jobs and app containers."),
    "exec": ("netlab.cli.inspect", "Run a command on a node: netlab exec client -- curl …"),
    "logs": ("netlab.cli.inspect", "Show the logs of a node's jobs or of an app."),
    "job": ("netlab.cli.inspect", "Stop, start, restart or kill one job of a node."),
    "trace": ("netlab.cli.trace", "Send one request and prove the path it took."),
    "proxy-status": ("netlab.cli.proxies", "Show whether each Envoy has what Pilot sent it."),
    "proxy-config": ("netlab.cli.proxies", "Show the listeners, routes, clusters or endpoints of an Envoy."),
    "push": ("netlab.cli.push", "Push an app, or change one; or the apps of a manifest."),
    "apps": ("netlab.cli.apps", "List the apps."),
    "app": ("netlab.cli.apps", "Show an app and how its instances fare."),
    "scale": ("netlab.cli.apps", "Change an app's number of instances, or their quotas."),
    "start": ("netlab.cli.apps", "Start an app."),
    "stop": ("netlab.cli.apps", "Stop an app."),
    "restart": ("netlab.cli.apps", "Replace an app's instances, with --rolling while it serves."),
    "restart-app-instance": ("netlab.cli.apps", "Replace one instance of an app."),
    "cancel-deployment": ("netlab.cli.apps", "Give up a rolling restart that is under way."),
    "delete": ("netlab.cli.apps", "Delete an app."),
    "env": ("netlab.cli.apps", "Show an app's environment."),
    "set-env": ("netlab.cli.apps", "Set a variable of an app's environment."),
    "unset-env": ("netlab.cli.apps", "Remove a variable from an app's environment."),
    "domains": ("netlab.cli.routes", "List the domains."),
    "routes": ("netlab.cli.routes", "List the routes and the apps behind them."),
    "create-route": ("netlab.cli.routes", "Make a route that leads to no app yet."),
    "map-route": ("netlab.cli.routes", "Map a route to an app."),
    "unmap-route": ("netlab.cli.routes", "Remove a route from an app."),
    "set-weights": ("netlab.cli.routes", "Share a route's requests among apps."),
    "delete-route": ("netlab.cli.routes", "Delete a route."),
    "delete-orphaned-routes": ("netlab.cli.routes", "Delete the routes that lead to no app."),
    "curl": ("netlab.cli.curl", "Send a request to CAPI."),
    "target": ("netlab.cli.target", "Show how a client of Cloud Foundry reaches a lab."),
    "doctor": ("netlab.cli.machine", "Check what this machine offers and what it lacks."),
    "schema": ("netlab.cli.machine", "Print the JSON Schema of topology files."),
    "bench": ("netlab.cli.bench", "Measure netlab beside a peer or the kernel's floor."),
}
"""Each command's module and one line of help: the module is imported only when its command runs."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order a newcomer meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name.replace("-", "_") + "_command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, but a mistyped command is answered with the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(
                f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""), ctx=ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="netlab (cf-netlab) %(version)s")
def netlab() -> None:
    """Cloud Foundry's Istio service mesh on one Linux kernel.

    `sudo netlab up` builds it, `sudo netlab trace URL` proves the path of a request, `sudo netlab down` removes it.
    """


def main() -> NoReturn:
    """Run the command line; never returns."""
    try:
        # Click turns its own Exit into the return value; commands return nothing.
        status = netlab.main(standalone_mode=False) or 0
    except (click.Abort, KeyboardInterrupt):
        print("netlab: interrupted", file=sys.stderr, flush=True)
        # Not sys.exit(): if the signal came while a string was being executed, as dataclasses do in an import,
        # Python would remember it and end itself by the signal.
        os._exit(130)
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "netlab"
        print(f"{command}: {error.format_message()}; `{command} --help` shows how", file=sys.stderr)
        status = 2
    except click.ClickException as error:
        print(f"netlab: {error.format_message()}", file=sys.stderr)
        status = 2
    except NetlabError as error:
        from netlab.cli.output import show_error

        show_error(error, as_json=_wants_json(sys.argv[1:]))
        status = error.exit_status
    except BrokenPipeError:  # `netlab … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def _wants_json(args: list[str]) -> bool:
    """Whether -o json stands among the options, before any `--`."""
    own = args[: args.index("--")] if "--" in args else args
    pairs = zip(own, [*own[1:], ""], strict=True)
    return any(
        arg in ("-ojson", "--output=json") or (arg in ("-o", "--output") and following == "json")
        for arg, following in pairs
    )
