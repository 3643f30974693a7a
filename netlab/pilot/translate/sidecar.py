"""What a sidecar is to have: its app's ports, and nothing of other apps."""

from __future__ import annotations

from collections.abc import Sequence

from netlab.pilot.translate import clusters, listeners, names
from netlab.pilot.translate.wire import serialized
from netlab.pilot.xds.types import CLUSTER, LISTENER


def sidecar(app_ports: Sequence[int]) -> dict[str, dict[str, bytes]]:
    """The resources, by type and name, of a sidecar whose app listens on these ports."""
    found = {names.inbound_cluster(port): serialized(clusters.inbound(port)) for port in app_ports}
    found[names.BLACK_HOLE] = serialized(clusters.black_hole())
    listener = serialized(listeners.virtual_inbound(app_ports))
    return {CLUSTER: found, LISTENER: {names.VIRTUAL_INBOUND: listener}}
