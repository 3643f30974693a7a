"""The trace in a lab that is whole, and in one that is broken in a known way."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from netlab.errors import NetlabError
from netlab.lab.api import Lab
from netlab.testing.plugin import unique_name
from netlab.topology.models import App, Topology

pytestmark = pytest.mark.root

URL = "http://hello.mesh.example.test/"
IDLE = "http://idle.mesh.example.test/"
ROUTERS = ("router-1", "router-2")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    topology = Topology(
        name="trace",
        routers=2,
        cells=2,
        apps=(
            App(name="hello", instances=2, routes=("hello.mesh.example.test",)),
            App(name="idle", instances=0, routes=("idle.mesh.example.test",)),
        ),
    )
    with Lab.up(topology, name=unique_name("trc")) as lab:
        yield lab


def containers(lab: Lab) -> dict[str, dict]:
    return {record["node"]: record for record in lab.containers()}


def iptables(lab: Lab, node: str, *words: str) -> str:
    return lab.exec(node, ["iptables-legacy", "-w", *words], check=True).stdout


def forget_connections(lab: Lab) -> None:
    """Make the routers open new connections to the containers."""
    for router in ROUTERS:
        for cell in ("10.0.2.1", "10.0.2.2"):
            lab.exec(router, ["ss", "-K", "dst", cell])


@contextmanager
def rule(lab: Lab, table: str, chain: str, node: str, *words: str) -> Iterator[None]:
    """A rule at the head of a chain, for a while."""
    iptables(lab, node, "-t", table, "-I", chain, *words)
    forget_connections(lab)
    try:
        yield
    finally:
        iptables(lab, node, "-t", table, "-D", chain, *words)
        forget_connections(lab)


@contextmanager
def without_rule(lab: Lab, node: str, pattern: str) -> Iterator[None]:
    """Delete the nat rule that matches, for a while."""
    saved = lab.exec(node, ["iptables-legacy-save", "-t", "nat"], check=True).stdout
    line = next(line for line in saved.splitlines() if re.search(pattern, line))
    chain = line.split()[1]
    rules = [each for each in saved.splitlines() if each.startswith(f"-A {chain} ")]
    iptables(lab, node, "-t", "nat", "-D", chain, str(rules.index(line) + 1))
    try:
        yield
    finally:
        lab.exec(node, ["sh", "-c", f"iptables-legacy-restore <<'END'\n{saved}\nEND"], check=True)
        forget_connections(lab)


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def setting(lab: Lab, node: str, key: str, value: str, normal: str) -> Iterator[None]:
    lab.exec(node, ["sysctl", "-qw", f"{key}={value}"], check=True)
    forget_connections(lab)
    try:
        yield
    finally:
        lab.exec(node, ["sysctl", "-qw", f"{key}={normal}"], check=True)
        forget_connections(lab)


def until(lab: Lab, wanted: Callable[[dict], bool], tries: int = 12) -> dict:
    """Trace until the load balancers have chosen what the test is about."""
    for _ in range(tries):
        found = lab.trace(URL, timeout=1.5)
        if wanted(found):
            return found
    pytest.fail(f"not in {tries} traces; the last one: {found['observed']} {found['cause']}")


def test_a_whole_path_with_both_dnats_and_their_rules(lab):
    forget_connections(lab)
    found = until(lab, lambda trace: trace["upstream_connection"] == "new")
    assert (found["verdict"], found["exit_status"], found["status"]) == ("pass", 0, 200), found["cause"]
    assert found["expected"] == found["observed"]
    kinds = [hop["kind"] for hop in found["hops"]]
    assert kinds == [
        "client",
        "lb",
        "dnat",
        "ingress-envoy",
        "cell",
        "dnat",
        "container",
        "dnat",
        "sidecar-envoy",
        "app",
    ]
    times = [hop["at_ns"] for hop in found["hops"]]
    assert times == sorted(times)
    for hop in found["hops"]:
        assert hop["evidence"], hop
        if hop["kind"] == "dnat":
            assert {"rule", "conntrack"} <= {piece["source"] for piece in hop["evidence"]}
            by = next(piece for piece in hop["evidence"] if piece["source"] == "rule")
            assert by["how"] == "trace"
            assert by["comment"].startswith("netlab: ")
            assert hop["after"].split()[-1] in by["text"]
    assert all(source["available"] and not source["lost"] for source in found["sources"])
    assert found["declared"]["origin"] == "capi"


def test_a_kept_connection_is_followed(lab):
    found = until(lab, lambda trace: trace["upstream_connection"] == "reused")
    assert found["verdict"] == "pass", found["cause"]


def test_a_request_with_body_headers_and_query(lab):
    found = lab.trace(URL + "some/path?q=1", method="POST", headers=["X-Request-Id: mine-1", "X-Pad: " + "x" * 6000])
    assert (found["verdict"], found["request_id"]) == ("pass", "mine-1"), found["cause"]


def test_nothing_is_left_in_the_namespaces(lab):
    nodes = ("client", "lb", "router-1", "cell-1", "hello-0")

    def state() -> list[str]:
        show = "nft list tables; cat /proc/sys/net/netfilter/nf_log/2; iptables-legacy-save | grep -c ^-A"
        return [lab.exec(node, ["sh", "-c", show]).stdout for node in nodes]

    before = state()
    lab.trace(URL)
    assert state() == before


def test_two_traces_at_once(lab):
    results: list[dict] = []
    threads = [threading.Thread(target=lambda: results.append(lab.trace(URL))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found["verdict"] for found in results] == ["pass", "pass"], [found["cause"] for found in results]
    assert len({found["request_id"] for found in results}) == 2


def test_traces_among_other_requests(lab):
    stop = "for i in $(seq 400); do curl -s -o /dev/null " + URL + "; done"
    load = subprocess.Popen(
        [sys.executable, "-m", "netlab", "exec", "--lab", lab.name, "client", "--", "sh", "-c", stop],
        stdout=subprocess.DEVNULL,
    )
    try:
        found = [lab.trace(URL) for _ in range(10)]
    finally:
        load.terminate()
        load.wait()
    assert {trace["verdict"] for trace in found} == {"pass"}, [trace["cause"] for trace in found]


def sidecar_bypass(lab: Lab):
    return without_rule(lab, "hello-0", r"--dport 8080 .*-j DNAT")


def test_a_deleted_rule_is_found_whichever_instance_answers(lab):
    """On a kept connection, on a new one, and on the way to the other instance."""
    until(lab, lambda trace: trace["upstream_connection"] == "reused" and "hello-0" in trace["observed"])
    with sidecar_bypass(lab):
        seen = [lab.trace(URL)]
        forget_connections(lab)
        seen.append(until(lab, lambda trace: trace["observed"][-2:] == ["hello-0", "hello-0/app"]))
        seen.append(until(lab, lambda trace: "hello-1/app" in trace["observed"]))
    for found in seen:
        assert (found["verdict"], found["exit_status"]) == ("differs", 1)
        assert "no DNAT rule in hello-0 sends app port 8080 to the sidecar's port 15001" in found["cause"]
        assert "iptables-legacy -t nat -A PREROUTING" in found["hint"]
    assert lab.trace(URL)["verdict"] == "pass"


def test_the_command_exits_with_the_verdict(lab):
    command = [sys.executable, "-m", "netlab", "trace", "--lab", lab.name, URL]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    with sidecar_bypass(lab):
        done = subprocess.run([*command, "-o", "json"], capture_output=True, check=False)
        assert done.returncode == json.loads(done.stdout)["exit_status"] == 1
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "DIFFERS" in done.stdout
    assert done.returncode == 1


def pids(lab: Lab, key: str) -> list[int]:
    return [record[key] for record in containers(lab).values()]


def cells_drop(lab: Lab):
    from contextlib import ExitStack

    stack = ExitStack()
    for cell in ("cell-1", "cell-2"):
        stack.enter_context(rule(lab, "filter", "FORWARD", cell, "-p", "tcp", "--dport", "8080", "-j", "DROP"))
    return stack


FAULTS = {
    "the container's jump is gone": (
        lambda lab: without_rule(lab, "hello-0", "-A PREROUTING .*-j"),
        {"differs"},
        "no DNAT rule in hello-0",
    ),
    "a container's rule with a wrong port": (
        lambda lab: rule(
            lab, "nat", "PREROUTING", "hello-1", "-p", "tcp", "--dport", "8080", "-j", "REDIRECT", "--to-ports", "9"
        ),
        {"differs"},
        "rule 1 of chain PREROUTING in table nat on hello-1 sends to 10.255",
    ),
    "the cell's rules are gone": (
        lambda lab: without_rule(lab, "cell-1", "-A PREROUTING .*-j netin"),
        {"differs"},
        "cell-1 has no rule that sends its port 6",
    ),
    "the load balancer drops": (
        lambda lab: rule(lab, "filter", "FORWARD", "lb", "-p", "tcp", "--dport", "80", "-j", "DROP"),
        {"dropped"},
        "rule 1 of chain FORWARD in table filter on lb drops the packet",
    ),
    "the load balancer drops before it translates": (
        lambda lab: rule(lab, "mangle", "PREROUTING", "lb", "-p", "tcp", "--dport", "80", "-j", "DROP"),
        {"dropped"},
        "rule 1 of chain PREROUTING in table mangle on lb drops the packet",
    ),
    "both cells drop": (
        cells_drop,
        {"dropped"},
        "drops the packet",
    ),
    "sidecars refuse": (
        lambda lab: rule(lab, "filter", "INPUT", "hello-0", "-p", "tcp", "--dport", "15001", "-j", "REJECT"),
        {"differs", "pass"},
        "rule 1 of chain INPUT in table filter on hello-0 rejects the packet",
    ),
    "the sidecars hang": (lambda lab: stopped(*pids(lab, "sidecar_pid")), {"dropped"}, "it hangs"),
    "the apps hang": (lambda lab: stopped(*pids(lab, "app_pid")), {"dropped"}, "the request reached the app in hello-"),
    "the load balancer does not forward": (
        lambda lab: setting(lab, "lb", "net.ipv4.ip_forward", "0", "1"),
        {"dropped"},
        "lb changed the destination to 10.0.1.",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(lab, fault):
    break_it, verdicts, words = FAULTS[fault]
    with break_it(lab):
        found = until(lab, lambda trace: trace["verdict"] != "pass")
    assert found["verdict"] in verdicts, found["cause"]
    assert words in found["cause"]
    assert found["hint"]
    assert lab.trace(URL)["verdict"] == "pass"


def test_routers_that_are_down(lab):
    for router in ROUTERS:
        lab.job("stop", router, "envoy")
    try:
        found = until(lab, lambda trace: "rotation" in (trace["cause"] or ""), tries=30)
    finally:
        for router in ROUTERS:
            lab.job("start", router, "envoy")
    assert (found["verdict"], found["failure"]) == ("dropped", "refused")
    until(lab, lambda trace: trace["verdict"] == "pass", tries=30)


def test_a_route_without_an_instance(lab):
    found = lab.trace(IDLE)
    assert (found["verdict"], found["exit_status"], found["status"]) == ("differs", 1, 503)
    assert "no instance of idle" in found["cause"]


def test_without_capi_the_topology_declares_the_routes(lab):
    lab.job("stop", "api", "capi")
    try:
        found = lab.trace(URL)
    finally:
        lab.job("start", "api", "capi")
    assert (found["verdict"], found["declared"]["origin"]) == ("pass", "topology"), found["cause"]
    assert "CAPI" in found["declared"]["problem"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://nope.mesh.example.test/", "has no route for"),
        ("http://example.com/", "knows no address of example.com"),
        ("http://a..b/", "is no host name"),
        ("https://hello.mesh.example.test/", "only http"),
    ],
)
def test_a_url_that_the_lab_cannot_serve(lab, url, words):
    with pytest.raises(NetlabError, match=words) as caught:
        lab.trace(url)
    assert caught.value.exit_status == 2
