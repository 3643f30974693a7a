"""What a person types and reads, as far as it needs neither root nor a lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from netlab.cli.main import COMMANDS

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(*args: str, **kwargs) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": ROOT}
    argv = [sys.executable, "-m", "netlab", *args]
    return subprocess.run(argv, capture_output=True, text=True, env=env, timeout=30, check=False, **kwargs)


def test_help_names_every_command_in_one_line_each():
    done = run("--help")
    assert done.returncode == 0
    for command, (_, text) in COMMANDS.items():
        assert command in done.stdout
        assert text.split(":")[0].split(",")[0] in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_help(command):
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")


def test_version_says_which_netlab_this_is():
    assert "cf-netlab" in run("--version").stdout


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["dwon"], "did you mean 'down'"),
        (["scale", "hello"], "--instances"),
        (["scale", "hello", "-i", "-1"], "-1 is not in the range"),
        (["push", "x", "-p", "/nowhere/at/all"], "does not exist"),
        (["trace"], "URL"),
        (["status", "-o", "xml"], "xml"),
        (["exec", "client"], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_2(args, said):
    done = run(*args)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="runs the command as another user, which only root may")
@pytest.mark.parametrize("command", ["up", "down", "status", "doctor", "apps"])
def test_without_root_each_command_says_so_and_exits_5(command, tmp_path):
    become = f"import os, sys; os.setuid(65534); sys.argv = ['netlab', {command!r}]"
    program = f"{become}; from netlab.cli.main import main; main()"
    env = {"PYTHONPATH": os.pathsep.join([ROOT, *sys.path]), "PATH": os.environ["PATH"]}
    code = f"import sys, netlab.cli.main, netlab.cli.output, {COMMANDS[command][0]}\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False, env=env
    )
    assert done.returncode == 5, done.stderr
    assert "needs root" in done.stderr
    assert f"sudo netlab {command}" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="`netlab up` checks for root first")
def test_a_missing_topology_is_one_line_on_stderr_and_json_on_stdout():
    done = run("up", "/nowhere/lab.yml", "-o", "json")
    assert done.returncode == 2
    assert "/nowhere/lab.yml" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "NL-E102"
