"""`netlab doctor` and `netlab schema`: what needs no lab."""

from __future__ import annotations

import click

from netlab.cli.output import output_option, print_json, require_root


@click.command("doctor")
@output_option
def doctor_command(output: str) -> None:
    """Check what this machine offers; exit 5 if netlab lacks something it cannot do without."""
    require_root("netlab doctor")
    from netlab.lab import doctor

    findings = doctor.examine()
    if output == "json":
        print_json([finding.as_dict() for finding in findings])
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table("", "feature", "finding", box=None, header_style="bold", pad_edge=False)
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else ("[red]✗[/]" if finding.required else "[yellow]-[/]")
            table.add_row(mark, finding.name, finding.detail)
        Console().print(table)
    if any(finding.required and not finding.ok for finding in findings):
        raise click.exceptions.Exit(5)


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of topology files; editors use it to complete and check them."""
    from netlab.topology.schema import schema

    print_json(schema())
