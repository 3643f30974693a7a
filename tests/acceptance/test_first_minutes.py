"""What a newcomer types, by scripts/netlab as in a fresh clone: up, a request, its path, down."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from netlab.testing.plugin import unique_name

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
URL = "http://hello.mesh.example.test/"

Netlab = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def netlab(tmp_path: Path) -> Netlab:
    """Run scripts/netlab; its command goes to a folder of the test's own."""
    environment = {**os.environ, "NETLAB_BIN": str(tmp_path / "bin")}
    environment.pop("PYTHONPATH", None)

    def run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [ROOT / "scripts" / "netlab", *arguments]
        result = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=550)
        assert not check or result.returncode == 0, result.stderr
        return result

    return run


def test_up_request_trace_down(netlab: Netlab, tmp_path: Path) -> None:
    name = unique_name("first")
    try:
        up = netlab("up", "--name", name, "-o", "json")
        assert json.loads(up.stdout)["name"] == name
        answer = json.loads(netlab("exec", "--lab", name, "client", "--", "curl", "-fsS", URL).stdout)
        assert answer["app"] == "hello"
        trace = netlab("trace", "--lab", name, URL, "-o", "json")
        assert json.loads(trace.stdout)["status"] == 200
    finally:
        down = netlab("down", "--lab", name, check=False)
    assert down.returncode == 0, down.stderr
    # The command that set-up installs is this checkout's.
    result = subprocess.run([tmp_path / "bin" / "cf-netlab", "schema"], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["title"] == "netlab topology"


def test_bad_topologies_end_in_lines_and_leave_nothing(netlab: Netlab, tmp_path: Path) -> None:
    path = tmp_path / "bad.yml"
    path.write_text("name: x\nrouters: 0\nrouterz: 1\n")
    result = netlab("up", str(path), check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"{path}:2: routers: must be at least 1, not 0",
        f"{path}:3: routerz: unknown field; did you mean routers?",
    ]


def test_a_set_up_machine_loses_no_time(netlab: Netlab) -> None:
    netlab("--version")

    def cost(*command: str | Path) -> float:
        """Seconds of processor time, the least of several runs: what else the machine does must not count."""
        costs = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, capture_output=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(costs)

    direct = cost(sys.executable, "-P", ROOT / "netlab" / "__main__.py", "--version")
    assert cost(ROOT / "scripts" / "netlab", "--version") - direct < 0.05
