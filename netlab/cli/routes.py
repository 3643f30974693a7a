"""The cf CLI's words for domains and routes."""

from __future__ import annotations

from typing import Any

import click

from netlab.cli.output import lab_option, output_option, print_json
from netlab.cli.words import act, app_argument, confirmed, route_argument, show, table
from netlab.errors import UsageError


@click.command("domains")
@lab_option
@output_option
def domains_command(lab: str | None, output: str) -> None:
    """List the domains that routes can have."""
    domains = act(lab, "domains")
    if output == "json":
        print_json(domains)
        return
    rows = [[each["name"], "internal" if each["internal"] else "external"] for each in domains]
    table(["domain", "kind"], rows, none="no domains")


@click.command("routes")
@lab_option
@output_option
def routes_command(lab: str | None, output: str) -> None:
    """List the routes and the apps behind them."""
    routes = act(lab, "routes")
    if output == "json":
        print_json(routes)
        return
    rows = [[route["url"], ", ".join(map(_destination, route["destinations"])) or "-"] for route in routes]
    table(["route", "apps"], rows, none="no routes; `netlab map-route APP HOST.DOMAIN` makes one")


def _destination(destination: dict[str, Any]) -> str:
    weight = destination["weight"]
    return f"{destination['app']} ({weight} %)" if weight is not None else str(destination["app"])


@click.command("create-route")
@route_argument
@lab_option
@output_option
def create_route_command(route: str, lab: str | None, output: str) -> None:
    """Make a route that leads to no app yet; it is fine if it is there.

    Example: netlab create-route shop.mesh.example.test/basket
    """
    result = act(lab, "create_route", route=route)
    show(result, output, f"{route} is made" if result["created"] else f"{route} was there already")


@click.command("map-route")
@app_argument
@route_argument
@click.option("--port", type=click.IntRange(1024, 65535), help="The app's port; by default that of its push.")
@click.option(
    "--weight",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="Share of the requests; the route's other apps share the rest as they did before.",
)
@lab_option
@output_option
def map_route_command(app: str, route: str, port: int | None, weight: int | None, lab: str | None, output: str) -> None:
    """Map a route to APP; the route is made if it is new.

    Example: netlab map-route canary shop.mesh.example.test --weight 10
    """
    share = "" if weight is None else f" with {weight} % of the requests"
    result = act(lab, "map_route", name=app, route=route, port=port, weight=weight)
    show(result, output, f"{route} is mapped to {app}{share}")


@click.command("unmap-route")
@app_argument
@route_argument
@lab_option
@output_option
def unmap_route_command(app: str, route: str, lab: str | None, output: str) -> None:
    """Remove a route from APP; the route itself stays."""
    show(act(lab, "unmap_route", name=app, route=route), output, f"{route} is no longer mapped to {app}")


@click.command("set-weights")
@route_argument
@click.argument("weights", nargs=-1, required=True, metavar="APP=PERCENT...")
@lab_option
@output_option
def set_weights_command(route: str, weights: tuple[str, ...], lab: str | None, output: str) -> None:
    """Give a route exactly these apps, each with its share of the requests; the shares must add up to 100.

    Example: netlab set-weights shop.mesh.example.test stable=90 canary=10
    """
    shares: dict[str, int] = {}
    for each in weights:
        name, _, number = each.rpartition("=")
        if not name or not number.isdecimal() or not 1 <= int(number) <= 100:
            raise UsageError(f"{each} is not APP=PERCENT with a whole number from 1 to 100")
        if name in shares:
            raise UsageError(f"{name} is given twice")
        shares[name] = int(number)
    if sum(shares.values()) != 100:
        raise UsageError(f"the weights add up to {sum(shares.values())}, and must to 100")
    result = act(lab, "set_weights", route=route, weights=shares)
    show(result, output, f"{route}: " + ", ".join(f"{weight} % to {name}" for name, weight in shares.items()))


@click.command("delete-route")
@route_argument
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@lab_option
@output_option
def delete_route_command(route: str, force: bool, lab: str | None, output: str) -> None:
    """Delete a route; the apps behind it stay."""
    confirmed(f"Delete the route {route}?", force=force)
    show(act(lab, "delete_route", route=route), output, f"{route} is deleted")


@click.command("delete-orphaned-routes")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@lab_option
@output_option
def delete_orphaned_routes_command(force: bool, lab: str | None, output: str) -> None:
    """Delete every route that leads to no app."""
    confirmed("Delete all routes that lead to no app?", force=force)
    result = act(lab, "delete_orphaned_routes")
    show(result, output, "deleted: " + ", ".join(result["deleted"]) if result["deleted"] else "no route is orphaned")
