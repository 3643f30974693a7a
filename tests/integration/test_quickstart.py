"""The quickstart as a person uses it: one lab for the module, requests through it, faults in it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from netlab.lab.api import Lab

pytestmark = pytest.mark.root

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "quickstart.yml"
HELLO = "http://hello.mesh.example.test/"


@pytest.fixture(scope="module")
def lab(module_lab_factory):
    return module_lab_factory(TOPOLOGY)


def get(lab: Lab, url: str, *options: str) -> dict:
    return json.loads(lab.exec("client", ["curl", "-fsS", *options, url], check=True).stdout)


def test_everything_runs(lab):
    status = lab.status()
    assert status["healthy"], status
    jobs = {(job["node"], job["job"]) for job in status["jobs"]}
    assert {("lb", "load-balancer"), ("router-1", "envoy"), ("router-2", "envoy"), ("control", "copilot")} <= jobs
    assert {("control", "pilot"), ("api", "capi"), ("diego-api", "bbs"), ("cell-1", "rep"), ("cell-2", "rep")} <= jobs
    assert len(status["containers"]) == 4


def test_every_job_is_a_process_of_its_own_in_its_nodes_namespace(lab):
    status = lab.status()
    pids = [job["pid"] for job in status["jobs"]]
    assert len(set(pids)) == len(pids)
    for job in status["jobs"]:
        assert os.stat(f"/proc/{job['pid']}/ns/net").st_ino == lab.namespace(job["node"]).stat().st_ino, job


def test_envoys_and_apps_are_unprivileged(lab):
    status = lab.status()
    pids = [job["pid"] for job in status["jobs"] if job["job"] == "envoy"]
    pids += [container[key] for container in status["containers"] for key in ("app_pid", "sidecar_pid")]
    assert len(pids) == 10
    for pid in pids:
        fields = dict(
            line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
        )
        assert "0" not in fields["Uid"].split(), fields["Name"]
        assert int(fields["CapEff"], 16) == 0, fields["Name"]


def test_a_request_reaches_the_app_with_its_own_headers(lab):
    answer = get(lab, HELLO + "a/path", "-H", "X-Mine: yes")
    assert answer["app"] == "hello"
    assert answer["path"] == "/a/path"
    assert {name.lower(): value for name, value in answer["headers"].items()}["x-mine"] == "yes"


def test_requests_reach_both_routers_and_both_instances(lab):
    before = {router: access_lines(lab, router) for router in ("router-1", "router-2")}
    seen = Counter(get(lab, HELLO)["instance_guid"] for _ in range(20))
    assert len(seen) == 2
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        served = {router: access_lines(lab, router) - count for router, count in before.items()}
        if sum(served.values()) >= 20:
            break
    assert all(served.values()), served


def access_lines(lab: Lab, router: str) -> int:
    path = lab.state["nodes"][router]["jobs"]["envoy"]["access_log"]
    return Path(path).read_text().count("\n")


def test_a_route_of_two_apps_reaches_both(lab):
    seen = {get(lab, "http://greetings.mesh.example.test/")["app"] for _ in range(30)}
    assert seen == {"hello", "world"}


def test_an_unknown_host_is_404_and_an_unknown_name_does_not_resolve(lab):
    ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    assert lab.exec("client", [*ask, "http://nobody.mesh.example.test/"]).stdout == "404"
    assert lab.exec("client", [*ask, "http://hello.elsewhere.test/"]).returncode == 6


def test_names_resolve_in_containers_too(lab):
    name = "hello.mesh.example.test"
    found = lab.exec("hello-0", ["getent", "ahostsv4", name], check=True).stdout.split()[0]
    assert found == lab.state["vip"]


@pytest.mark.parametrize("node", ["hello-0", "cell-1", "control"])
def test_routes_are_reached_from_inside_too(lab, node):
    assert json.loads(lab.exec(node, ["curl", "-fsS", HELLO], check=True).stdout)["app"] == "hello"


def test_the_sidecars_port_cannot_be_reached_directly(lab):
    container = lab.containers()[0]
    url = f"http://{container['address']}:15001/"
    done = lab.exec(container["cell"], ["curl", "-s", "--max-time", "3", "-o", "/dev/null", url])
    assert done.returncode != 0


def test_what_is_pushed_serves_and_what_is_deleted_does_not(lab):
    lab.capi("push", name="fresh", instances=1, port=8080, env={"WORD": "x"}, routes=["fresh.mesh.example.test"])
    assert until(lambda: status_of(lab, "http://fresh.mesh.example.test/") == "200")
    lab.capi("map_route", name="fresh", route="other.mesh.example.test")
    assert until(lambda: status_of(lab, "http://other.mesh.example.test/") == "200")
    lab.capi("unmap_route", name="fresh", route="fresh.mesh.example.test")
    assert until(lambda: status_of(lab, "http://fresh.mesh.example.test/") in ("404", "503"))
    lab.capi("delete", name="fresh")
    assert until(lambda: not [c for c in lab.containers() if c["app_name"] == "fresh"])
    assert not list(Path("/run/netns").glob(f"{lab.name}-fresh-*"))


def test_scaling_up_and_down(lab):
    lab.capi("scale", name="world", instances=3)
    assert sum(c["app_name"] == "world" and c["state"] == "RUNNING" for c in lab.containers()) == 3
    lab.capi("scale", name="world", instances=2)
    assert until(lambda: sum(c["app_name"] == "world" for c in lab.containers()) == 2)
    assert until(lambda: lab.status()["healthy"])


def test_a_stopped_router_costs_no_request_once_its_health_check_has_failed(lab):
    lab.job("stop", "router-1")
    try:
        assert until(lambda: len(balanced_to(lab)) == 1)
        assert {status_of(lab, HELLO) for _ in range(20)} == {"200"}
    finally:
        lab.job("start", "router-1")
    assert until(lambda: len(balanced_to(lab)) == 2)


@pytest.mark.parametrize(
    ("node", "job"),
    [("control", "copilot"), ("control", "pilot"), ("api", "capi"), ("diego-api", "bbs"), ("cell-1", "rep")],
)
def test_a_component_that_is_killed_comes_back_and_the_data_plane_serves_on(lab, node, job):
    killed = lab.job("kill", node, job)
    assert {status_of(lab, HELLO) for _ in range(5)} == {"200"}
    assert until(lambda: lab.status()["healthy"])
    now = next(j for j in lab.status()["jobs"] if (j["node"], j["job"]) == (node, job))
    assert now["pid"] != killed["pid"]
    route = f"after-{job}.mesh.example.test"
    lab.capi("map_route", name="hello", route=route)
    assert until(lambda: status_of(lab, f"http://{route}/") == "200")


def test_two_labs_side_by_side_with_the_same_addresses_both_trace_clean(lab, lab_factory):
    other = lab_factory()
    assert other.state["vip"] == lab.state["vip"]
    for each in (lab, other, lab):
        trace = each.trace(HELLO)
        assert (trace["verdict"], trace["status"]) == ("pass", 200), trace["cause"]
    guids = {get(other, HELLO)["instance_guid"] for _ in range(4)}
    assert guids == {container["instance_guid"] for container in other.containers()}


def balanced_to(lab: Lab) -> set[str]:
    """The routers that the load balancer's rules lead to now."""
    from netlab.kernel import rules

    installed = rules.backend().list(lab.namespace("lb"), "nat")
    return {
        value
        for entry in installed
        for name, value in entry.rule.target_options
        if name == "to-destination" and value.endswith(":80")
    }


def status_of(lab: Lab, url: str) -> str:
    return lab.exec("client", ["curl", "-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", url]).stdout


def until(condition, seconds: float = 30.0) -> bool:
    """Whether the condition comes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.02)
    return True
