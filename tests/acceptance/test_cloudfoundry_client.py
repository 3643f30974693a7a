"""PyPI's cloudfoundry-client, unchanged, on the lab's node `client`: login, and the life of apps and routes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.visitor import Visitor

pytestmark = pytest.mark.root

PROGRAM = Path(__file__).with_name("outside_client.py")


@pytest.fixture(scope="module")
def target(visitor: Visitor) -> dict[str, str]:
    """What `netlab target` tells."""
    argv = [sys.executable, "-m", "netlab", "target", "--lab", visitor.lab.name, "-o", "json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("story", ["login", "version_3", "version_2", "push"])
def test_story(visitor: Visitor, target: dict[str, str], story: str) -> None:
    argv = [sys.executable, "-W", "error", str(PROGRAM), story, json.dumps(target)]
    done = visitor.lab.exec(target["node"], argv, timeout=120)
    assert done.returncode == 0, done.stderr
    assert {app["name"] for app in visitor.api("list", "/v3/apps")} == {"hello", "hola"}
    assert visitor.api("list", "/v3/routes", hosts="two,three,push,pull") == []
