"""`netlab target`: how a client that is not netlab's own reaches the lab's Cloud Controller."""

from __future__ import annotations

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root


@click.command("target")
@lab_option
@output_option
def target_command(lab: str | None, output: str) -> None:
    """Show how a client of Cloud Foundry reaches the lab: URLs, account, CA, and the node that it has to run on."""
    require_root("netlab target")
    from netlab.lab import calls

    target = calls.target(lab)
    if output == "json":
        print_json(target)
        return
    for name, value in target.items():
        print(f"{name + ':':<10} {value}")
    print(f"\nRun the client on the node: sudo netlab exec --lab {target['lab']} {target['node']} -- COMMAND")
