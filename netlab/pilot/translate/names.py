"""The names of xDS resources, as Istio has them."""

from __future__ import annotations

from typing import NamedTuple

BLACK_HOLE = "BlackHoleCluster"
VIRTUAL_INBOUND = "virtualInbound"


class Target(NamedTuple):
    """What an outbound cluster stands for: a port and (maybe "") a subset of a host."""

    port: int
    subset: str
    host: str

    @property
    def cluster(self) -> str:
        """The cluster's name, `outbound|<port>|<subset>|<host>`."""
        return f"outbound|{self.port}|{self.subset}|{self.host}"


def inbound_cluster(port: int) -> str:
    """The cluster of an app's own port."""
    return f"inbound|{port}||"


def listener(bind: str, port: int) -> str:
    """A gateway's listener, `0.0.0.0_80`."""
    return f"{bind}_{port}"


def gateway_routes(port: int) -> str:
    """The route table that all plain HTTP servers of a gateway port share."""
    return f"http.{port}"
