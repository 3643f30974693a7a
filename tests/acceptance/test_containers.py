"""What a container is given: an identity, a cgroup with limits, and statistics of what it uses."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from netlab.kernel import cgroup
from netlab.lab.api import Lab
from tests.acceptance.visitor import Visitor

pytestmark = pytest.mark.root


@pytest.fixture
def lab(visitor: Visitor) -> Lab:
    return visitor.lab


def environment(record: dict) -> dict[str, str]:
    entries = Path(f"/proc/{record['app_pid']}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def group_of(pid: int) -> Path:
    base = cgroup.root()
    assert base is not None
    (line,) = (line for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines() if line.startswith("0::"))
    return base / line[4:]


def as_app(command: str) -> list[str]:
    return ["setpriv", "--reuid=2000", "--regid=2000", "--clear-groups", "sh", "-c", command]


def test_an_app_can_read_its_key_and_nobody_elses_can(lab: Lab):
    record = next(r for r in lab.containers() if r["app_name"] == "hello")
    found = environment(record)
    names = ("CF_INSTANCE_CERT", "CF_INSTANCE_KEY")
    read = " && ".join(f"test -r {shlex.quote(found[name])}" for name in names)
    assert lab.exec(record["node"], as_app(read)).returncode == 0
    key = Path(found["CF_INSTANCE_KEY"])
    assert (key.stat().st_uid, key.stat().st_mode & 0o777) == (2000, 0o400)
    ca = Path(found["CF_SYSTEM_CERT_PATH"]) / "instance-identity-ca.crt"
    verified = lab.exec(record["node"], ["openssl", "verify", "-CAfile", str(ca), found["CF_INSTANCE_CERT"]])
    assert verified.stdout.strip().endswith(": OK")


def test_an_app_may_write_its_temporary_files(lab: Lab):
    record = next(r for r in lab.containers() if r["app_name"] == "hello")
    place = environment(record)["TMPDIR"]
    assert lab.exec(record["node"], as_app(f"echo x > {shlex.quote(place)}/file")).returncode == 0


def test_app_and_sidecar_have_a_cgroup_each(lab: Lab):
    for record in lab.containers():
        app, sidecar = group_of(record["app_pid"]), group_of(record["sidecar_pid"])
        assert app.parent == sidecar.parent
        assert (app.name, sidecar.name) == ("app", "sidecar")
        assert app.parent.name == f"container-{record['instance_guid']}"


def test_an_app_is_limited_as_far_as_there_are_controllers(lab: Lab):
    record = next(r for r in lab.containers() if r["app_name"] == "hello")
    group = group_of(record["app_pid"])
    there = cgroup.available(group) & cgroup.LIMITS
    if not there:
        pytest.skip("the v2 hierarchy has no controller for memory, pids or cpu")
    expected = {"memory": ("memory.max", str(256 << 20)), "pids": ("pids.max", "1024"), "cpu": ("cpu.weight", "3")}
    for controller in there:
        name, value = expected[controller]
        assert (group / name).read_text().strip() == value


def test_statistics_say_what_an_instance_uses(visitor: Visitor):
    record = next(r for r in visitor.lab.containers() if r["app_name"] == "hello")
    resources = visitor.api("get", f"/v3/processes/{record['app_guid']}/stats")["resources"]
    (found,) = (each for each in resources if each["instance_guid"] == record["instance_guid"])
    assert found["usage"]["mem"] > os.sysconf("SC_PAGE_SIZE")
    assert found["usage"]["disk"] > 0
    assert 0 <= found["usage"]["cpu"] <= os.cpu_count()
    assert cgroup.usage(group_of(record["app_pid"])).cpu_ns > 0
    assert (found["host"], found["mem_quota"]) == (record["cell_address"], 256 << 20)
