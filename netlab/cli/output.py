"""How a command speaks: a person's form through rich, a machine's form as JSON on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from netlab.errors import NetlabError

lab_option = click.option("--lab", metavar="NAME", help="The lab that is meant; needed only if several are up.")
output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Form of the answer.",
)


def print_json(value: object) -> None:
    """The machine's form."""
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def show_error(error: NetlabError, *, as_json: bool) -> None:
    """One line for a person on standard error (one a problem for a topology); for a machine also JSON."""
    problems: list[dict[str, Any]] = error.fields.get("problems", [])
    if problems:
        for line in error.message.split("\n"):
            print(line, file=sys.stderr)
    else:
        print(f"netlab: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  → {error.hint}", file=sys.stderr)
    if as_json:
        print_json({"error": error.as_dict()})


def require_root(what: str) -> None:
    """Raise MachineError unless this is root."""
    import os

    from netlab.errors import MachineError

    if os.geteuid() != 0:
        raise MachineError(f"{what} needs root: it makes network namespaces and rules", hint=f"sudo {what}")
