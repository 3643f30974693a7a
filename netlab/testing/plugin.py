"""The pytest plugin: fixtures for labs and namespaces, marks for what a test needs, and a check that nothing is left.

    def test_my_proxy(lab):
        assert lab.exec("client", ["curl", "-fsS", "http://hello.mesh.example.test/"]).returncode == 0

docs/testing.md describes all of it. Importing this costs nothing; whatever is heavy is imported by the fixture.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from netlab.testing import leaks

if TYPE_CHECKING:
    from netlab.lab.api import Lab
    from netlab.topology.models import Topology

_numbers = itertools.count(1)
_reported: set[leaks.Trace] = set()


class LabFactory(Protocol):
    """Brings up a lab that lives as long as the fixture; without a topology the smallest one."""

    def __call__(self, topology: Topology | Path | str | None = None, *, name: str | None = None) -> Lab:
        """Bring it up. Raises what `Lab.up` raises."""
        ...


def unique_name(prefix: str = "t") -> str:
    """A name for a lab or a namespace that no other test process uses: it carries this one's id."""
    return f"{prefix}{os.getpid()}-{next(_numbers)}"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marks known."""
    for line in (
        "root: needs root and a real kernel (namespaces, netfilter); is checked for what it leaves behind",
        "requires(feature, …): skipped, with the reason, where `netlab doctor` does not find the feature",
        "topology(topology): what the fixture `lab` brings up, a path or a netlab.topology.models.Topology",
    ):
        config.addinivalue_line("markers", line)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root")
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            _require(name)


def _require(name: str) -> None:
    from netlab.kernel import probe

    try:
        feature = probe.feature(name)
    except StopIteration:
        known = ", ".join(feature.name for feature in probe.features())
        raise pytest.UsageError(f"requires({name!r}): no such feature; there are {known}") from None
    if not feature.ok:
        pytest.skip(f"needs {name}: {feature.detail}")


@pytest.fixture(autouse=True, scope="session")
def _netlab_session_leaks() -> Iterator[None]:
    """Report what labs of modules and of the session have left: those outlive a single test's check."""
    before = leaks.observe()
    yield
    _report(before)


@pytest.fixture(autouse=True)
def _netlab_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Report what a test marked `root` has left; requested first, so it is finished last."""
    if not request.node.get_closest_marker("root") or os.geteuid() != 0:
        yield
        return
    before = leaks.observe()
    yield
    _report(before)


def _report(before: frozenset[leaks.Trace]) -> None:
    new = leaks.left_behind(before | _reported)
    _reported.update(new)
    if new:
        pytest.fail("left behind: " + ", ".join(map(str, new)), pytrace=False)


@dataclass(frozen=True, slots=True)
class BareNamespace:
    """A network namespace with nothing in it: its name under /run/netns, and the file to open to enter it."""

    name: str
    path: Path


@pytest.fixture
def bare_namespace(tmp_path: Path) -> Iterator[BareNamespace]:
    """A fresh network namespace with nothing but a loopback interface that is down."""
    from netlab.kernel import netns

    directory, name = tmp_path / "ns", unique_name()
    netns.mount_directory(directory)
    try:
        yield BareNamespace(name, netns.create(name, directory))
    finally:
        netns.delete(name, directory)
        netns.unmount_directory(directory)


def _labs() -> Iterator[LabFactory]:
    from netlab.lab.api import Lab

    with ExitStack() as stack:

        def make(topology: Topology | Path | str | None = None, *, name: str | None = None) -> Lab:
            wanted = smallest_topology() if topology is None else topology
            return stack.enter_context(Lab.up(wanted, name=name or unique_name()))

        yield make


def smallest_topology() -> Topology:
    """One router, one cell, and the demo app `hello` in one instance at hello.mesh.example.test."""
    from netlab.topology.models import App, Topology

    hello = App(name="hello", routes=("hello.mesh.example.test",))
    return Topology(name="smallest", routers=1, cells=1, apps=(hello,))


@pytest.fixture
def lab_factory() -> Iterator[LabFactory]:
    """Bring labs up for this test: `lab_factory(topology=None, name=None)`; a path, a Topology or the smallest one."""
    yield from _labs()


@pytest.fixture(scope="module")
def module_lab_factory() -> Iterator[LabFactory]:
    """The same for all tests of a module, which share the labs."""
    yield from _labs()


@pytest.fixture
def lab(request: pytest.FixtureRequest, lab_factory: LabFactory) -> Lab:
    """A lab of this test's own, by default the smallest one; the mark `topology` names another."""
    mark = request.node.get_closest_marker("topology")
    return lab_factory(mark.args[0] if mark else None)
