"""The commands that the documentation shows do what it says: each is run as it stands, in one lab."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from netlab.lab.early import search_path

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "docs/getting-started.md", "docs/how-it-works.md")
NOT_RUN = re.compile(r"[A-Z]{3,}|\b(up|down|bench)\b|tcpdump|wireshark|…")
"""Placeholders, what would end or outlive the lab, and what needs another program or does not end."""


def commands(page: str) -> list[str]:
    """The lines of a page's code blocks that a person would type, without their comments."""
    lines = re.findall(r"^    sudo (.+)$", (ROOT / page).read_text(), re.MULTILINE)
    shown = [line.split("  #")[0].strip() for line in lines]
    return [line for line in shown if line.split()[0] in ("netlab", "ip") and not NOT_RUN.search(line)]


@pytest.fixture(scope="module")
def lab(module_lab_factory):
    return module_lab_factory(ROOT / "topologies" / "quickstart.yml")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_succeeds(lab, page):
    found = commands(page)
    assert found
    for line in found:
        words = shlex.split(line.replace("quickstart-", f"{lab.name}-"))
        if words[0] == "netlab":
            words = [sys.executable, "-m", "netlab", words[1], "--lab", lab.name, *words[2:]]
        env = {**os.environ, "PYTHONPATH": search_path()}
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{page}: {line}\n{done.stdout}{done.stderr}"
