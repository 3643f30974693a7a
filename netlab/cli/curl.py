"""`netlab curl`: a request to CAPI with the lab's token."""

from __future__ import annotations

import json

import click

from netlab.cli.output import lab_option
from netlab.cli.words import act
from netlab.errors import UsageError


@click.command("curl")
@click.argument("path")
@click.option("-X", "--request", "method", metavar="METHOD", help="By default GET, or POST with -d.")
@click.option("-d", "--data", help="The body; @FILE reads it from a file.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header; may be given often.")
@click.option("-i", "--include", is_flag=True, help="Show the answer's status and headers too.")
@click.option("--fail", is_flag=True, help="Exit with status 1 if CAPI refuses.")
@lab_option
def curl_command(
    path: str,
    method: str | None,
    data: str | None,
    headers: tuple[str, ...],
    include: bool,
    fail: bool,
    lab: str | None,
) -> None:
    """Send a request to CAPI and print its answer.

    Example: netlab curl '/v3/apps?names=hello'
    """
    if data is not None and data.startswith("@"):
        try:
            with open(data[1:], encoding="utf-8") as file:
                data = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"-d {data}: {getattr(error, 'strerror', None) or error}") from None
    pairs = [header.partition(":") for header in headers]
    if wrong := [name for name, colon, _ in pairs if not colon or not name.strip()]:
        raise UsageError(f"-H {wrong[0]!r} is not NAME: VALUE")
    sent = {name.strip(): value.strip() for name, _, value in pairs}
    answer = act(lab, "curl", path=path, method=method, data=data, headers=sent or None)
    if include:
        print(f"HTTP/1.1 {answer['status']} {answer['reason']}")
        for name, value in answer["headers"].items():
            print(f"{name}: {value}")
        print()
    print(_readable(answer["body"]))
    if fail and answer["status"] >= 400:
        raise click.exceptions.Exit(1)


def _readable(body: str) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body
