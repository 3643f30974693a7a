"""The machine is the same after `down` as before `up`, whatever happened in between."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from netlab.lab.early import search_path
from netlab.lab.paths import RUN_DIR

pytestmark = pytest.mark.root

TOPOLOGY = Path(__file__).parents[2] / "topologies" / "quickstart.yml"
LAB = f"kill-{os.getpid()}"


def netlab(*args: str, **kwargs) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": search_path()}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A shell starts what it puts in the background with Ctrl-C ignored, and these tests may run there.
    argv = ["env", "--default-signal=INT", sys.executable, "-m", "netlab", *args]
    return subprocess.Popen(argv, env=env, **pipes, **kwargs)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


def machine() -> dict[str, object]:
    """What of the machine a lab could change; only what belongs to this lab, where others may be at work too."""

    def lines(*argv: str) -> list[str]:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return sorted(line.split("[", 1)[0] for line in done.stdout.splitlines() if not line.startswith("#"))

    return {
        "namespaces": [name for name in lines("ip", "netns", "list") if LAB in name],
        "links": [line.split("@")[0] for line in lines("ip", "-o", "link") if LAB in line or "netlab" in line],
        "mounts": [line for line in Path("/proc/self/mounts").read_text().splitlines() if LAB in line],
        "rules": lines("nft", "list", "ruleset") + lines("iptables-save") + lines("iptables-legacy-save"),
        "routes": lines("ip", "route") + lines("ip", "rule"),
        "processes": [pid for pid in processes() if LAB in pid[1]],
        "files": [str(p) for d in (RUN_DIR, Path("/etc/netns")) if d.is_dir() for p in d.iterdir() if LAB in p.name],
        "cgroups": [str(p) for p in Path("/sys/fs/cgroup").glob(f"**/netlab/{LAB}")],
        "sysctls": [
            Path(f"/proc/sys/net/{key}").read_text() for key in SYSCTLS if Path(f"/proc/sys/net/{key}").exists()
        ],
    }


SYSCTLS = ("ipv4/ip_forward", "ipv4/conf/all/rp_filter", "ipv6/conf/all/disable_ipv6", "bridge/bridge-nf-call-iptables")


def processes() -> list[tuple[int, str]]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found.append((int(entry.name), (entry / "cmdline").read_text().replace("\0", " ")))
            except OSError:
                continue
    return found


@pytest.fixture
def before():
    state = machine()
    yield state
    finish(netlab("down", "--lab", LAB))
    assert settled(state) == state


def settled(wanted: dict[str, object]) -> dict[str, object]:
    """The machine once it is as wanted, or as it is after some seconds: a killed process takes a moment to go."""
    deadline = time.monotonic() + 15
    while (state := machine()) != wanted and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    return state


def test_up_and_down(before):
    status, said = finish(netlab("up", str(TOPOLOGY), "--lab", LAB))
    assert status == 0, said
    during = machine()
    assert during["namespaces"]
    assert during["processes"]
    assert during["rules"] == before["rules"]
    assert during["links"] == before["links"]
    assert during["sysctls"] == before["sysctls"]
    status, said = finish(netlab("down", "--lab", LAB))
    assert status == 0, said
    assert settled(before) == before


@pytest.mark.parametrize("moment", range(10))
def test_kill_9_of_up_at_a_random_moment(before, moment):
    delay = random.Random(f"{os.getpid()}-{moment}").uniform(0.05, 3.5)
    up = netlab("up", str(TOPOLOGY), "--lab", LAB, start_new_session=True)
    try:
        up.wait(delay)
    except subprocess.TimeoutExpired:
        up.kill()
    up.communicate()
    status, said = finish(netlab("down", "--lab", LAB))
    assert status == 0, f"after {delay:.2f} s: {said}"
    assert settled(before) == before, f"after {delay:.2f} s"


@pytest.mark.parametrize("delay", [0.2, 0.9, 1.8])
def test_ctrl_c_in_the_middle_of_up_leaves_nothing_even_without_down(before, delay):
    up = netlab("up", str(TOPOLOGY), "--lab", LAB, start_new_session=True)
    with pytest.raises(subprocess.TimeoutExpired):
        up.wait(delay)
    os.killpg(up.pid, signal.SIGINT)
    status, said = finish(up)
    assert status == 130, said
    assert "Traceback" not in said
    assert settled(before) == before


def test_kill_9_of_the_whole_lab_is_cleaned_by_down(before):
    status, said = finish(netlab("up", str(TOPOLOGY), "--lab", LAB))
    assert status == 0, said
    for pid, _ in [found for found in processes() if f"netlab: {LAB}" in found[1]]:
        os.kill(pid, signal.SIGKILL)
    status, said = finish(netlab("status", "--lab", LAB))
    assert status == 2, said
    assert f"netlab down --lab {LAB}" in said
    status, said = finish(netlab("down", "--lab", LAB))
    assert status == 0, said


def test_up_twice_says_so_and_replace_rebuilds(before):
    assert finish(netlab("up", str(TOPOLOGY), "--lab", LAB))[0] == 0
    status, said = finish(netlab("up", str(TOPOLOGY), "--lab", LAB))
    assert status == 2
    assert "is up already" in said
    assert "--replace" in said
    assert finish(netlab("status", "--lab", LAB))[0] == 0
    assert finish(netlab("up", str(TOPOLOGY), "--lab", LAB, "--replace"))[0] == 0


def test_down_twice_is_no_error(before):
    status, said = finish(netlab("down", "--lab", LAB))
    assert status == 0
    assert "nothing to take down" in said
