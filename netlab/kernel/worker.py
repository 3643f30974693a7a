"""Work that must not happen in this process: a forked child does it and hands the result back as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from netlab.errors import KernelError


def forked(what: str, work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child and return its result, which must be fit for JSON.

    Raises `KernelError`, starting with `what`, if it fails or if a signal ends the child: a library that crashes
    takes nobody along.
    """
    receiver, sender = os.pipe2(os.O_CLOEXEC)
    try:
        pid = os.fork()
        if pid == 0:
            _answer(sender, work)
        os.close(sender)
        sender = -1
        parts = []
        while part := os.read(receiver, 1 << 16):
            parts.append(part)
    finally:
        os.close(receiver)
        if sender >= 0:
            os.close(sender)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status < 0:
        raise KernelError(f"{what}: the worker was ended by {signal.Signals(-status).name}", signal=-status)
    try:
        answer = json.loads(b"".join(parts))
    except ValueError as error:
        raise KernelError(f"{what}: the worker gave no answer (exit status {status})") from error
    if "error" in answer:
        raise KernelError(f"{what}: {answer['error']}", errno=answer["errno"])
    return answer["result"]


def _answer(sender: int, work: Callable[[], Any]) -> NoReturn:
    status = 1
    try:
        # What the parent has buffered is the parent's to write.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
        try:
            answer = {"result": work()}
        except Exception as error:
            number = error.errno if isinstance(error, OSError) else None
            answer = {"error": str(error) or type(error).__name__, "errno": number}
        data = memoryview(json.dumps(answer).encode())
        while data:
            data = data[os.write(sender, data) :]
        status = 0
    finally:
        os._exit(status)
