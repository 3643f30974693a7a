"""One lab for all rows of the acceptance table: they differ in their routes, and each uses hosts of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from netlab.lab.api import Lab
from netlab.testing.plugin import unique_name
from netlab.topology.models import App, Topology
from tests.acceptance.visitor import Visitor


@pytest.fixture(scope="package")
def visitor() -> Iterator[Visitor]:
    """Somebody before a mesh of two routers and two cells, on which `hello` has two instances and `hola` one."""
    apps = (App(name="hello", instances=2), App(name="hola"))
    with Lab.up(Topology(name="table", apps=apps), name=unique_name("table")) as lab, Visitor(lab) as visitor:
        yield visitor
