"""No request is lost while instances come and go, with wrk at full speed through the load balancer."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netlab.envoy.admin import Admin
from netlab.errors import MeshError
from netlab.lab.api import Lab
from netlab.lab.paths import LabPaths
from netlab.topology.models import App, Topology
from tests.acceptance.visitor import Visitor
from tests.integration.load import CONNECTIONS, Load, load

pytestmark = pytest.mark.root

HOST = "hello.mesh.example.test"


@pytest.fixture(scope="module")
def visitor(module_lab_factory: Callable[..., Lab]) -> Iterator[Visitor]:
    lab = module_lab_factory(Topology(name="steady", apps=(App(name="hello", instances=2, routes=(HOST,)),)))
    with Visitor(lab) as visitor:
        yield visitor


def instances(lab: Lab) -> set[str]:
    return {record["instance_guid"] for record in lab.containers()}


def until(look: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Look until there is something; returns it."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, look
        threading.Event().wait(0.01)
    return found


def begin(visitor: Visitor) -> str:
    """Begin a rolling deployment; its guid."""
    app = visitor.api("get", "/v3/apps", names="hello")["resources"][0]["guid"]
    body = {"relationships": {"app": {"data": {"guid": app}}}, "strategy": "rolling"}
    return str(visitor.api("post", "/v3/deployments", body)["guid"])


def reason(visitor: Visitor, deployment: str) -> str:
    return str(visitor.api("get", f"/v3/deployments/{deployment}")["status"]["reason"])


def survived(visitor: Visitor, deployment: str) -> bool:
    """Whether the Cloud Controller is back and the deployment over."""
    try:
        return reason(visitor, deployment) == "DEPLOYED"
    except MeshError:
        return False


def assert_nothing_lost(seen: Load) -> None:
    assert seen.requests > 200, seen.report
    assert seen.failures == 0, seen.report


def test_the_load_notices_what_is_lost(visitor: Visitor) -> None:
    with load(visitor.lab, HOST) as seen:
        visitor.cf("stop", name="hello")
        visitor.until(HOST, 503)
        visitor.cf("start", name="hello")
        visitor.until(HOST, 200)
    assert seen.failures > 0, seen.report


def test_a_rolling_restart(visitor: Visitor) -> None:
    before = instances(visitor.lab)
    with load(visitor.lab, HOST) as seen:
        visitor.cf("restart_rolling", name="hello")
        until(lambda: len(instances(visitor.lab)) == 2)
    assert_nothing_lost(seen)
    assert not before & instances(visitor.lab)


def test_scaling_up_and_down(visitor: Visitor) -> None:
    with load(visitor.lab, HOST) as seen:
        visitor.cf("scale", name="hello", instances=6)
        visitor.cf("scale", name="hello", instances=2)
        until(lambda: len(visitor.lab.containers()) == 2)
    assert_nothing_lost(seen)
    assert {record["index"] for record in visitor.lab.containers()} == {0, 1}


def test_a_cell_is_evacuated(visitor: Visitor) -> None:
    lab = visitor.lab
    ask = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"]
    with load(lab, HOST) as seen:
        url = "http://127.0.0.1:1800"
        assert lab.exec("cell-1", [*ask, "-X", "POST", f"{url}/evacuate"], check=True).stdout == "202"
        until(lambda: {record["cell"] for record in lab.containers()} == {"cell-2"})
    assert_nothing_lost(seen)
    until(lambda: lab.exec("cell-1", [*ask, f"{url}/ping"], check=True).stdout == "503")
    lab.job("restart", "cell-1", "rep")
    visitor.cf("restart_rolling", name="hello")
    until(lambda: {record["cell"] for record in lab.containers()} == {"cell-1", "cell-2"})


def test_a_deployment_survives_a_killed_cloud_controller(visitor: Visitor) -> None:
    before = instances(visitor.lab)
    with load(visitor.lab, HOST) as seen:
        deployment = begin(visitor)
        visitor.lab.job("kill", "api", "capi")
        until(lambda: survived(visitor, deployment))
        until(lambda: len(instances(visitor.lab)) == 2)
    assert_nothing_lost(seen)
    assert not before & instances(visitor.lab)


def test_a_version_that_does_not_come_up_takes_nobodys_place(visitor: Visitor) -> None:
    before = instances(visitor.lab)
    process = visitor.api("get", "/v3/processes")["resources"][0]["guid"]
    visitor.api("patch", f"/v3/processes/{process}", {"command": "sleep 600"})
    with load(visitor.lab, HOST) as seen:
        deployment = begin(visitor)
        until(lambda: len(instances(visitor.lab)) == 3)
        assert reason(visitor, deployment) == "DEPLOYING"
        visitor.api("post", f"/v3/deployments/{deployment}/actions/cancel")
        until(lambda: reason(visitor, deployment) == "CANCELED")
        until(lambda: instances(visitor.lab) == before)
    assert_nothing_lost(seen)
    visitor.api("patch", f"/v3/processes/{process}", {"command": None})


def test_an_instance_that_is_killed_leaves_the_routes_before_it_is_missed(visitor: Visitor) -> None:
    lab = visitor.lab
    victim = lab.containers()[0]
    gone = f"{victim['cell_address']}:{victim['host_port']}"
    routers = [Admin(LabPaths(lab.name).run_dir / "envoy" / f"router-{n}" / "admin.sock") for n in (1, 2)]

    def known() -> bool:
        return any(gone in asyncio.run(router.get("/clusters")).decode() for router in routers)

    assert known()
    with load(lab, HOST) as seen:
        os.kill(victim["app_pid"], signal.SIGKILL)
        killed = time.monotonic()
        until(lambda: not known())
        print(f"out of rotation after {1000 * (time.monotonic() - killed):.0f} ms")
        until(lambda: victim["instance_guid"] not in instances(lab) and len(instances(lab)) == 2)
    assert seen.requests > 200, seen.report
    # What was under way in the instance's last moment may be lost; what comes after it is asked elsewhere.
    assert seen.failures <= CONNECTIONS, seen.report
