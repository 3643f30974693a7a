"""`netlab proxy-status` and `proxy-config` against a real Pilot and real Envoys."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netlab.errors import RemoteError
from netlab.lab import calls
from netlab.lab.api import Lab

pytestmark = pytest.mark.root

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "quickstart.yml"
ROUTE = "stale.mesh.example.test"


@pytest.fixture(scope="module")
def lab(module_lab_factory):
    return module_lab_factory(TOPOLOGY)


def states(lab: Lab, node: str) -> set[str]:
    (proxy,) = (each for each in calls.proxies(lab.name, "status")["proxies"] if each["node"] == node)
    return set(proxy["states"].values())


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline  # each look is a call to the lab, which takes its time


@contextmanager
def frozen(lab: Lab, node: str) -> Iterator[None]:
    (pid,) = (job["pid"] for job in lab.status()["jobs"] if (job["node"], job["job"]) == (node, "envoy"))
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_every_envoy_is_synced_and_has_what_pilot_holds(lab):
    proxies = calls.proxies(lab.name, "status")["proxies"]
    assert {each["node"] for each in proxies} == {"router-1", "router-2", "hello-0", "hello-1", "world-0", "world-1"}
    assert all(set(each["states"].values()) <= {"SYNCED", "NOT SENT"} for each in proxies), proxies
    for node in ("router-1", "hello-0"):
        compared = calls.proxies(lab.name, "compare", node=node)
        assert compared["differences"] == []
        assert compared["counts"]["cds"] >= 2


def test_an_envoy_that_does_not_answer_is_stale_until_it_does(lab):
    with frozen(lab, "router-2"):
        lab.capi("map_route", name="hello", route=ROUTE)
        until(lambda: states(lab, "router-2") & {"STALE"} != set())
        until(lambda: states(lab, "router-1") == {"SYNCED"})
    until(lambda: states(lab, "router-2") == {"SYNCED"})
    rows = calls.proxies(lab.name, "config", node="router-2", kind="routes")
    assert any(ROUTE in row["domains"] and row["leads_to"] == "hello" for row in rows)


def test_a_pilot_that_is_gone_is_told(lab):
    lab.job("stop", "control", "pilot")
    found = calls.proxies(lab.name, "status")
    assert "Pilot does not answer" in found["pilot"]
    assert all(set(each["states"].values()) == {"ABSENT"} for each in found["proxies"])
    with pytest.raises(RemoteError, match="router-1 is not connected"):
        calls.proxies(lab.name, "compare", node="router-1")
    lab.job("start", "control", "pilot")
    until(lambda: not calls.proxies(lab.name, "status")["pilot"] and states(lab, "hello-0") <= {"SYNCED", "NOT SENT"})


def test_the_configuration_of_each_envoy_can_be_read(lab):
    def config(node: str, kind: str) -> list:
        return calls.proxies(lab.name, "config", node=node, kind=kind)

    assert {"0.0.0.0:80", "0.0.0.0:8002"} <= {row["address"] for row in config("router-1", "listeners")}
    assert {("hello", 2), ("world", 2)} <= {
        (app, len({row["endpoint"] for row in config("router-1", "endpoints") if row["app"] == app}))
        for app in ("hello", "world")
    }
    assert any(row["direction"] == "inbound" and row["port"] == "8080" for row in config("hello-0", "clusters"))
    assert config("hello-0", "secrets") == []
    assert calls.proxies(lab.name, "config", node="hello-0", kind="bootstrap")["node"]["cluster"] == "proxy-cluster"
    with pytest.raises(RemoteError, match="no Envoy runs on api"):
        config("api", "routes")
