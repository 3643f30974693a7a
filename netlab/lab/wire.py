"""The supervisor's protocol: JSON lines on a unix socket, one call a connection.

A call is one object: {"call": NAME, ...}. The answer is any number of {"event": {...}} and then one
{"result": ...} or one {"error": {"code", "message", "hint", "exit_status", ...}}.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netlab.errors import LabError, LabNotFound, RemoteError

Emit = Callable[[dict[str, Any]], None]


def call(path: Path, lab: str, request: dict[str, Any], emit: Emit | None = None) -> Any:
    """Call the supervisor of a lab and return its result; `emit` takes the events on the way.

    Raises LabNotFound if no supervisor answers, RemoteError if the call fails, LabError if the supervisor
    ends in the middle of it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            raise LabNotFound(
                f"the supervisor of lab {lab} does not run",
                hint=f"`sudo netlab down --lab {lab}` removes what is left, `sudo netlab up --replace` rebuilds it",
                lab=lab,
            ) from None
        try:
            sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("r") as lines:
                for line in lines:
                    answer = json.loads(line)
                    if "error" in answer:
                        raise RemoteError(answer["error"])
                    if "result" in answer:
                        return answer["result"]
                    if emit is not None:
                        emit(answer["event"])
        except (BrokenPipeError, ConnectionResetError):
            pass
    raise LabError(f"the supervisor of lab {lab} ended in the middle of `{request['call']}`", lab=lab)


def answers(path: Path) -> bool:
    """Whether a supervisor listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect(str(path))
        except OSError:
            return False
    return True
