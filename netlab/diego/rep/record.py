"""A container's record: what a rep that starts anew, and everybody else who wants to know, reads of it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from netlab.diego.rep.recipe import PortPair


class ContainerState(StrEnum):
    """Where a container is in its life."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"


@dataclass(slots=True)
class Record:
    """One app container, as in `containers/<handle>.json`."""

    handle: str
    node: str
    """The name under which a person sees it."""
    namespace: str
    namespace_path: str
    cell: str
    app_name: str
    app_guid: str
    process_guid: str
    domain: str
    index: int
    instance_guid: str
    address: str
    cell_address: str
    app_port: int
    host_port: int
    ports: list[PortPair]
    sidecar_port: int
    state: ContainerState = ContainerState.STARTING
    app_pid: int | None = None
    sidecar_pid: int | None = None
    logs: dict[str, str] = field(default_factory=dict)
    """Files, by what writes them: app, sidecar, access."""
    admin: str = ""
    """The unix socket of the sidecar's admin API."""

    def write(self, directory: Path) -> None:
        """Write the record to `directory` in one step."""
        path = directory / f"{self.handle}.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        os.replace(temporary, path)

    def remove(self, directory: Path) -> None:
        """Remove the record, if it is there."""
        (directory / f"{self.handle}.json").unlink(missing_ok=True)


def read_all(directory: Path, cell: str, log: logging.Logger) -> Iterator[Record]:
    """The records of one cell's containers; one that cannot be read is logged and left out."""
    for path in sorted(directory.glob("*.json")):
        try:
            fields = json.loads(path.read_text())
            if fields["cell"] != cell:
                continue
            pairs = [PortPair(**pair) for pair in fields.pop("ports")]
            yield Record(**{**fields, "ports": pairs, "state": ContainerState(fields["state"])})
        except FileNotFoundError:  # another cell's, removed meanwhile
            continue
        except (ValueError, TypeError, KeyError) as error:
            log.error("%s is no container record: %s", path, error)
