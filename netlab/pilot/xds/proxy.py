"""Who a connected proxy is, by its node."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netlab.errors import MeshError

if TYPE_CHECKING:
    from envoy.config.core.v3.base_pb2 import Node


@dataclass(frozen=True)
class Proxy:
    """A proxy: `kind` is `router` or `sidecar`, `ports` those of a sidecar's app."""

    node_id: str
    kind: str
    address: str
    ports: tuple[int, ...]

    @classmethod
    def of(cls, node: Node) -> Proxy:
        """Read a node of id `type~ip~id~domain`. Raises MeshError if it is none."""
        parts = node.id.split("~")
        if len(parts) != 4 or parts[0] not in ("router", "sidecar"):
            raise MeshError(f"node id {node.id!r} is not router~ip~id~domain or sidecar~ip~id~domain")
        if parts[0] == "sidecar":
            try:
                ipaddress.ip_address(parts[1])
            except ValueError as error:
                raise MeshError(f"node id {node.id!r}: {error}") from error
        return cls(node.id, parts[0], parts[1], _ports(node))


def _ports(node: Node) -> tuple[int, ...]:
    values = node.metadata.fields["POD_PORTS"].list_value.values if "POD_PORTS" in node.metadata.fields else []
    numbers = {int(value.number_value) for value in values}
    return tuple(sorted(number for number in numbers if 0 < number < 65536))
