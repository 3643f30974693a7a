"""Rows A9 and A15 of the acceptance table: one host, several apps, with and without weights.

The internal half of A15, and A16, are about what a container asks of another's internal route; sidecars take no
requests of their own app yet.
"""

from __future__ import annotations

from collections import Counter

import pytest

from tests.acceptance.visitor import Answer, Visitor

pytestmark = pytest.mark.root

DOMAIN = "mesh.example.test"
REQUESTS = 1000
POINTS = 3.0


def test_a9_a_route_of_two_apps_reaches_both(visitor: Visitor) -> None:
    route = f"a9.{DOMAIN}"
    for app in ("hello", "hola"):
        visitor.cf("map_route", name=app, route=route)
    visitor.until(route, 200)
    visitor.until_seen(route, lambda answer: answer.app, {"hello", "hola"})


def test_a15_a_weighted_route_is_shared_in_proportion(visitor: Visitor) -> None:
    route = f"a15.{DOMAIN}"
    guids = {}
    for app in ("hello", "hola"):
        mapped = visitor.cf("map_route", name=app, route=route)
        guids[app] = mapped["app_guid"]
    weighted = [{"app": {"guid": guids[app]}, "weight": weight} for app, weight in (("hello", 10), ("hola", 90))]
    visitor.api("patch", f"/v3/routes/{mapped['route_guid']}/destinations", {"destinations": weighted})
    visitor.settle()
    # An Envoy draws a cluster at random for each request: of 1,000 draws at 10 % fewer than 70 or more than 130
    # come once in 700 times. A wrong weight fails every time, chance twice in a row once in 500,000.
    shares = [_share(visitor.ask(route, REQUESTS))]
    if not _within(shares[0]):
        shares.append(_share(visitor.ask(route, REQUESTS)))
    assert _within(shares[-1]), shares


def _share(answers: list[Answer]) -> float:
    """The percentage of the first app; every answer must be one of the two."""
    counts = Counter((answer.status, answer.app) for answer in answers)
    assert counts.keys() <= {(200, "hello"), (200, "hola")}, counts
    return 100 * counts[200, "hello"] / len(answers)


def _within(share: float) -> bool:
    return abs(share - 10) <= POINTS
