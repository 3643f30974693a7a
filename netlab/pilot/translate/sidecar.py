"""What a sidecar is to have: its app's ports, and nothing of other apps."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from netlab.pilot.translate import clusters, listeners, names
from netlab.pilot.xds.types import CLUSTER, LISTENER


def sidecar(app_ports: Sequence[int]) -> dict[str, dict[str, Message]]:
    """The resources, by type and name, of a sidecar whose app listens on these ports."""
    found: dict[str, Message] = {names.inbound_cluster(port): clusters.inbound(port) for port in app_ports}
    found[names.BLACK_HOLE] = clusters.black_hole()
    return {CLUSTER: found, LISTENER: {names.VIRTUAL_INBOUND: listeners.virtual_inbound(app_ports)}}
