"""kill -9 of any part of the control plane in a storm of writes: nothing that was acknowledged is lost or late."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from netlab.topology.models import App, Topology
from tests.acceptance import remains
from tests.acceptance.storm import Storm
from tests.acceptance.visitor import PATIENCE, Visitor

pytestmark = pytest.mark.root

JOBS = {
    "capi": "api",
    "bbs": "diego-api",
    "rep": "cell-1",
    "copilot": "control",
    "pilot": "control",
}
TARGETS = ("blue", "green")
WITHIN = 1.0
"""Seconds after the killed job is ready again in which all that was acknowledged is served."""
TRIES = 3
"""A machine that is busy with something else may be late once; a mesh that waits for a timer is late each time."""
WRITES = 100
"""How many are acknowledged before the kill."""


@pytest.fixture(scope="module")
def storm(module_lab_factory: Any) -> Iterator[Storm]:
    """Two routers and two cells, apps for the routes of the storm, one to scale, and one to ask for all the time."""
    apps = [App(name=name) for name in (*TARGETS, "scaled")]
    steady = App(name="steady", instances=2, routes=("steady.mesh.example.test",))
    with Visitor(module_lab_factory(Topology(name="storm", apps=(*apps, steady)))) as visitor:
        yield make_storm(visitor)


def make_storm(visitor: Visitor) -> Storm:
    guids = {app["name"]: app["guid"] for app in visitor.cf("apps")}
    space = visitor.api("get", "/v3/spaces")["resources"][0]["guid"]
    domain = visitor.api("get", "/v3/domains", names=visitor.lab.state["domains"][0])["resources"][0]["guid"]
    return Storm(visitor, {name: guids[name] for name in TARGETS}, guids["scaled"], space, domain)


@pytest.mark.parametrize("job", JOBS)
def test_a_killed_job_loses_nothing_in_a_storm(storm: Storm, job: str) -> None:
    figures: list[dict[str, float]] = []
    while not figures or figures[-1]["wrong_until"] >= WITHIN:
        assert len(figures) < TRIES, figures
        figures.append(survive(storm, job))


def survive(storm: Storm, job: str) -> dict[str, float]:
    """Kill a job in a storm, check all that must hold, and return how long it took, in seconds.

    `down`: from the kill until the job is ready again. Counted from there, or from the acknowledgement if that came
    later: `wrong_until`, when some host was last answered otherwise than acknowledged, and `right_by`, when all had
    been asked for and were right; `settled`, when all instances ran and nothing else was left.
    """
    visitor = storm.visitor
    with visitor.steadily("steady.mesh.example.test") as steady:
        visitor.run(storm.begin(WRITES, losing=job == "capi"))
        before = status(visitor, job)
        killed_at = time.time()
        os.kill(before["pid"], signal.SIGKILL)
        ready_at = until_ready(visitor, job, before["restarts"])
        visitor.run(storm.end())
        served = visitor.run(storm.until_served(PATIENCE))
        settled_at = settle(storm)
    assert steady.count > 50
    assert not steady.failures
    check_objects(storm)
    late = max(served, key=lambda each: each.wrong - max(ready_at, each.host.since))
    last = max(served, key=lambda each: each.right - max(ready_at, each.host.since))
    return {
        "down": ready_at - killed_at,
        "wrong_until": max(0.0, late.wrong - max(ready_at, late.host.since)),
        "right_by": last.right - max(ready_at, last.host.since),
        "settled": settled_at - ready_at,
        "writes": storm.writes,
        "lost": storm.lost,
    }


def status(visitor: Visitor, job: str) -> dict[str, Any]:
    """A job as `netlab status` has it."""
    jobs = visitor.lab.status()["jobs"]
    return next(each for each in jobs if (each["node"], each["job"]) == (JOBS[job], job))


def until_ready(visitor: Visitor, job: str, restarts: int) -> float:
    """When the supervisor's next process of a job said that it is ready, Unix time."""
    deadline = time.monotonic() + PATIENCE
    waiting = threading.Event()
    while True:
        found = status(visitor, job)
        if found["restarts"] > restarts and found["status"] == "running":
            assert found["restarts"] == restarts + 1
            return float(found["since"])
        assert time.monotonic() < deadline, found
        waiting.wait(0.01)


def settle(storm: Storm) -> float:
    """Wait until each instance runs that should, and until all there is of containers belongs to one of them.

    Returns when that was so, Unix time.
    """
    visitor = storm.visitor
    wanted = {"blue": 1, "green": 1, "steady": 2, "scaled": storm.instances}
    if storm.brief_guid:
        wanted[storm.brief.label] = 1
    deadline = time.monotonic() + PATIENCE
    waiting = threading.Event()
    while True:
        lrps = visitor.run(remains.instances(visitor.lab))
        found = remains.of_containers(visitor.lab)
        apps = {app["name"]: (app["instances"], app["running"]) for app in visitor.cf("apps")}
        complete = apps == {name: (count, count) for name, count in wanted.items()}
        tidy = all(guids == lrps.keys() for guids in found.values()) and set(lrps.values()) <= {"RUNNING"}
        if complete and tidy and len(lrps) == sum(wanted.values()):
            return time.time()
        assert time.monotonic() < deadline, f"{wanted}: {apps}; BBS {lrps}; {found}"
        waiting.wait(0.05)


def check_objects(storm: Storm) -> None:
    """The Cloud Controller holds what it acknowledged and nothing else, and so do Copilot and Pilot after it."""
    visitor = storm.visitor
    routes = {route["url"]: {each["app_guid"] for each in route["destinations"]} for route in visitor.cf("routes")}
    for host in storm.hosts:
        assert (host.url in routes) == bool(host.guid), host
        (outcome,) = host.outcomes
        assert routes.get(host.url, set()) == ({storm.targets[outcome]} if outcome else set()), host
    mapped = {url for url, apps in routes.items() if apps}
    assert visitor.run(visitor.pilot_hosts()) == mapped
