"""The values Copilot works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class HostKey(NamedTuple):
    """What Istio resources are made for: one host, as an external or as an internal one."""

    host: str
    internal: bool


@dataclass(frozen=True, slots=True)
class Route:
    """A Cloud Foundry route; `host` is the whole name in lower case, `path` empty or `/…`."""

    guid: str
    host: str
    path: str = ""
    internal: bool = False
    vip: str = ""

    @property
    def key(self) -> HostKey:
        """The host that the route belongs to."""
        return HostKey(self.host, self.internal)


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """A running instance: how a router reaches it (cell) and how a container does (overlay)."""

    cell_address: str
    host_port: int
    overlay_address: str
    container_port: int


@dataclass(frozen=True, slots=True)
class Destination:
    """One CAPI process behind a route, with its running instances (maybe none)."""

    process: str
    weight: int
    port: int
    """The container port; of a process without instances, the last one known."""
    backends: tuple[Backend, ...]


@dataclass(frozen=True, slots=True)
class PathRoute:
    """The mapped destinations of one host and path."""

    path: str
    destinations: tuple[Destination, ...]


@dataclass(frozen=True, slots=True)
class HostView:
    """All that there is to know of a host in order to write its Istio resources."""

    key: HostKey
    vip: str
    paths: tuple[PathRoute, ...]
