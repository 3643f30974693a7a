"""The supervisor's protocol, from the caller's side."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from netlab.errors import LabError, LabNotFound, RemoteError
from netlab.lab import wire


@pytest.fixture
def supervisor(tmp_path):
    """A socket whose one caller gets the given lines; yields (path, answer, what was asked)."""
    path = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    asked: list[dict] = []
    threads = []

    def answer(*lines: dict) -> None:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection, connection.makefile("r") as calls:
                asked.append(json.loads(calls.readline()))
                connection.sendall(b"".join(json.dumps(line).encode() + b"\n" for line in lines))

        threads.append(threading.Thread(target=serve))
        threads[-1].start()

    yield path, answer, asked
    for thread in threads:
        thread.join(5)
    listener.close()


def test_events_come_before_the_result(supervisor):
    path, answer, asked = supervisor
    answer({"event": {"n": 1}}, {"event": {"n": 2}}, {"result": [3]})
    events = []
    assert wire.call(path, "demo", {"call": "status"}, events.append) == [3]
    assert events == [{"n": 1}, {"n": 2}]
    assert asked == [{"call": "status"}]


def test_an_error_keeps_what_the_supervisor_said(supervisor):
    path, answer, _ = supervisor
    answer({"error": {"code": "NL-E203", "message": "no node x", "hint": "y", "exit_status": 2, "node": "x"}})
    with pytest.raises(RemoteError, match="no node x") as caught:
        wire.call(path, "demo", {"call": "job-stop"})
    assert caught.value.exit_status == 2
    assert caught.value.as_dict() == {"code": "NL-E203", "message": "no node x", "hint": "y", "node": "x"}


def test_a_supervisor_that_ends_in_the_middle_is_an_error_of_one_line(supervisor):
    path, answer, _ = supervisor
    answer({"event": {}})
    with pytest.raises(LabError, match="ended in the middle of `up`"):
        wire.call(path, "demo", {"call": "up"})


def test_no_supervisor_is_named_as_such(tmp_path):
    with pytest.raises(LabNotFound, match="does not run") as caught:
        wire.call(tmp_path / "nobody", "demo", {"call": "up"})
    assert "netlab down --lab demo" in str(caught.value.hint)
