"""`wrk` at full speed from the client's namespace through the load balancer."""

from __future__ import annotations

import re
import select
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from netlab.kernel import process
from netlab.lab.api import Lab

CONNECTIONS = 16
LONGEST_SECONDS = 120
_ERRORS = re.compile(
    r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)|Non-2xx or 3xx responses: (\d+)"
)


@dataclass
class Load:
    """What wrk saw, once the block is over."""

    requests: int = 0
    failures: int = 0
    """Answers other than 2xx and 3xx, late answers, and connections that broke or were not made."""
    report: str = field(default="", repr=False)


@contextmanager
def load(lab: Lab, host: str, path: str = "/") -> Iterator[Load]:
    """Ask for `host/path` by kept connections, as fast as it answers, for the length of the block."""
    found = Load()
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "wrk"
        url = f"http://{lab.state['vip']}{path}"
        options = [f"-c{CONNECTIONS}", "-t2", f"-d{LONGEST_SECONDS}s", "--timeout", "8s", "-H", f"Host: {host}"]
        child = process.spawn(["wrk", *options, url], netns=lab.namespace("client"), stdout=output, stderr=output)
        try:
            yield found
        finally:
            # wrk ends in good order, and says how it went.
            child.signal(signal.SIGINT)
            if not select.select([child.wait_fd], [], [], 20)[0]:
                child.signal(signal.SIGKILL)
                select.select([child.wait_fd], [], [])
            child.reap()
            found.report = output.read_text()
    found.requests = sum(int(count) for count in re.findall(r"(\d+) requests in", found.report))
    found.failures = sum(int(count) for match in _ERRORS.findall(found.report) for count in match if count)
