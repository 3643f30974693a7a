"""What the scripts rely on: locks that hold a hash of everything, and a `netlab` that takes nobody's place."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def locked(name: str) -> dict[str, str]:
    """Each package of a lock file and its entry."""
    entries = re.split(r"^(?=\S)", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {re.split(r"[=\s]", entry)[0]: entry for entry in entries if entry}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_place(name: str) -> None:
    for package, entry in locked(name).items():
        assert re.match(rf"{re.escape(package)}==\S+", entry)
        assert "--hash=sha256:" in entry
    assert not re.search(r"://|\bfile:|index|/", (ROOT / name).read_text())


def test_tests_run_on_what_users_run_on() -> None:
    run, dev = locked("requirements.lock"), locked("requirements-dev.lock")
    assert {package: dev.get(package) for package in run} == run


def test_the_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for wanted, lock in (
        (project["dependencies"], locked("requirements.lock")),
        ([*extras["test"], *extras["dev"]], locked("requirements-dev.lock")),
    ):
        names = {re.split(r"[\[<>=~! ]", text)[0] for text in wanted} - {project["name"]}
        assert names <= lock.keys()


def install(folder: Path, checkout: str) -> str:
    """Install the command into `folder`/bin for a checkout; returns what is said of it."""
    script = f'. "{ROOT}/scripts/lib.sh"; install_command "$1"'
    environment = {"PATH": os.environ["PATH"], "NETLAB_HOME": str(folder), "NETLAB_BIN": str(folder / "bin")}
    command = ["sh", "-euc", script, "sh", checkout]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr


def make_checkout(folder: Path) -> str:
    """A checkout whose netlab prints its arguments."""
    (folder / "scripts").mkdir(parents=True)
    program = folder / "scripts" / "netlab"
    program.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
    program.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("name", ["plain", 'it\'s a "place" of $HOME'])
def test_the_command_runs_the_checkout_with_its_arguments(tmp_path: Path, name: str) -> None:
    checkout = make_checkout(tmp_path / name)
    assert install(tmp_path, checkout) == ""
    for command in ("netlab", "cf-netlab"):
        result = subprocess.run([tmp_path / "bin" / command, "a b", "$c"], capture_output=True, text=True, check=True)
        assert result.stdout == f"{checkout}/scripts/netlab|a b|$c|"


def test_the_checkout_used_last_is_the_one_that_runs(tmp_path: Path) -> None:
    first, second = make_checkout(tmp_path / "one"), make_checkout(tmp_path / "two")
    install(tmp_path, first)
    written = (tmp_path / "bin" / "netlab").stat()
    install(tmp_path, first)
    assert (tmp_path / "bin" / "netlab").stat() == written
    install(tmp_path, second)
    assert second in (tmp_path / "bin" / "netlab").read_text()


@pytest.mark.parametrize("content", ["#!/bin/sh\necho other\n", "", "#!/usr/bin/python3\nimport netlab.cli\n"])
def test_somebody_elses_netlab_stays_and_is_told_of_once(tmp_path: Path, content: str) -> None:
    (tmp_path / "bin").mkdir()
    other = tmp_path / "bin" / "netlab"
    other.write_text(content)
    checkout = make_checkout(tmp_path / "one")
    assert install(tmp_path, checkout) == f"netlab: {other} is another program and stays: use cf-netlab\n"
    assert install(tmp_path, checkout) == ""
    assert other.read_text() == content
    assert checkout in (tmp_path / "bin" / "cf-netlab").read_text()
