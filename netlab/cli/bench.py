"""`netlab bench`: figures, each beside a peer or the kernel's floor measured in the same run."""

from __future__ import annotations

import click

from netlab.cli.output import lab_option, output_option, print_json, require_root


@click.group("bench")
def bench_command() -> None:
    """Measure netlab; -o json prints one flat object of figures with their units in the names."""


@bench_command.command("fabric")
@click.option(
    "--count",
    "counts",
    multiple=True,
    type=click.IntRange(1, 2000),
    default=(100, 500),
    show_default=True,
    help="Containers.",
)
@click.option("--runs", type=click.IntRange(min=1), default=3, show_default=True)
@output_option
def fabric(counts: tuple[int, ...], runs: int, output: str) -> None:
    """The kernel part of N containers beside the kernel's floor and a shell loop of `ip`; needs no lab."""
    require_root("netlab bench fabric")
    from netlab.bench import fabric

    _show(fabric.run(counts=counts, runs=runs), output)


@bench_command.command("propagation")
@click.option("--changes", type=click.IntRange(min=1), default=20, show_default=True, help="Routes to map, one by one.")
@lab_option
@output_option
def propagation(changes: int, lab: str | None, output: str) -> None:
    """From CAPI's answer to a map-route until every router answers 200."""
    require_root("netlab bench propagation")
    from netlab.lab import calls

    _show(calls.task(lab, "netlab.bench.propagation", {"changes": changes}, node="client"), output)


def _show(figures: dict[str, float], output: str) -> None:
    if output == "json":
        print_json(figures)
        return
    width = max(map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:>12.3f}" if isinstance(value, float) else f"{name:<{width}}  {value:>12}")
