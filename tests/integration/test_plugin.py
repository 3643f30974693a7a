"""The pytest plugin: labs and namespaces for tests, skips with reasons, and a leak check that finds what is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.kernel import netns
from netlab.lab.api import Lab
from netlab.testing.plugin import BareNamespace, LabFactory, unique_name

ROOT = Path(__file__).parents[2]


@pytest.mark.root
def test_a_bare_namespace_is_new_and_empty(bare_namespace: BareNamespace) -> None:
    with netns.entered(bare_namespace.path):
        assert os.stat("/proc/thread-self/ns/net").st_ino == bare_namespace.path.stat().st_ino
        assert Path("/proc/thread-self/net/dev").read_text().count(":") == 1
    assert (netns.NETNS_DIR / bare_namespace.name).exists()


@pytest.mark.root
def test_a_lab_answers(lab: Lab) -> None:
    answer = lab.exec("client", ["curl", "-fsS", "http://hello.mesh.example.test/"], check=True)
    assert json.loads(answer.stdout)["app"]


@pytest.mark.root
def test_two_labs_have_names_of_their_own(lab_factory: LabFactory) -> None:
    one, two = lab_factory(), lab_factory()
    assert one.name != two.name
    assert str(os.getpid()) in one.name


def run_inner(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a test file of its own with the plugin, in a pytest of its own."""
    file = folder / "test_inner.py"
    file.write_text(text)
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-rs", "-p", "netlab.testing.plugin", *options, str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


LEAKY = """
import os, threading, pytest
from pathlib import Path
from netlab.kernel import netns

@pytest.mark.root
def test_leaks(tmp_path):
    netns.mount_directory(Path({directory!r}))
    netns.create({name!r}, Path({directory!r}))

@pytest.mark.root
def test_is_clean():
    pass
"""


@pytest.mark.root
def test_a_leak_is_an_error_of_the_test_that_made_it(tmp_path: Path) -> None:
    name, directory = unique_name("leak"), tmp_path / "ns"
    # The inner process must take the namespace for its own, though this one's id is in its name.
    name = name.replace(str(os.getpid()), "x")
    try:
        result = run_inner(tmp_path, LEAKY.format(name=name, directory=str(directory)))
    finally:
        netns.delete(name, directory)
        netns.unmount_directory(directory)
    assert "2 passed, 1 error" in result.stdout, result.stdout
    assert f"left behind: mount {directory}/{name}, namespace /run/netns/{name}" in result.stdout


REQUIRES = """
import pytest
from netlab.kernel import probe

@pytest.mark.requires("root")
def test_runs(): pass

@pytest.mark.requires("no_such_thing")
def test_is_wrong(): pass

def test_skips(monkeypatch):
    absent = probe.Feature("netem", False, "no sch_netem here", "optional", "")
    monkeypatch.setattr(probe, "feature", lambda name: absent)
    from netlab.testing import plugin
    with pytest.raises(pytest.skip.Exception, match="needs netem: no sch_netem here"):
        plugin._require("netem")
"""


@pytest.mark.root
def test_requirements(tmp_path: Path) -> None:
    result = run_inner(tmp_path, REQUIRES)
    assert "2 passed" in result.stdout, result.stdout
    assert "1 error" in result.stdout
    assert "requires('no_such_thing'): no such feature; there are root, " in result.stdout


def test_importing_the_plugin_is_cheap() -> None:
    code = "import sys, netlab.testing.plugin; print([m for m in ('pydantic', 'grpc', 'pyroute2') if m in sys.modules])"
    command = [sys.executable, "-P", "-c", code]
    result = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
