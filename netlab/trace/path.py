"""What correlation yields: the hops of one request in their order, each with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Piece = Mapping[str, Any]
"""One piece of evidence as it is printed: `source`, a `summary` in words, and the source's own fields."""

CLIENT, BALANCER, DNAT, INGRESS = "client", "lb", "dnat", "ingress-envoy"
CELL, CONTAINER, SIDECAR, APP = "cell", "container", "sidecar-envoy", "app"


@dataclass(frozen=True, slots=True)
class Hop:
    """One place on the way. `before` and `after` are `source → destination` on arrival and on departure."""

    node: str
    kind: str
    at_ns: int | None
    before: str = ""
    after: str = ""
    evidence: tuple[Piece, ...] = ()

    @property
    def proofs(self) -> frozenset[str]:
        """The independent sources that saw this hop happen; a rule that merely stands there saw nothing."""
        return frozenset(piece["source"] for piece in self.evidence if piece.get("how") != "listing")


@dataclass(slots=True)
class Leg:
    """One TCP connection of the request: its client's end, where that meant to go, and where it really went."""

    source: str
    destination: str
    final: str | None = None
    """The destination after the last translation that was seen on the way."""
    new: bool = True
    """Whether it was made for this request; if not, the rules saw its first packet long ago."""


@dataclass(slots=True)
class Observed:
    """The way that a request took, as far as it was seen."""

    hops: list[Hop] = field(default_factory=list)
    nodes: list[str] = field(default_factory=list)
    """The places in order; a container's sidecar and app are `<container>/sidecar` and `<container>/app`."""
    client_leg: Leg | None = None
    router: str | None = None
    mesh_leg: Leg | None = None
    """From the ingress Envoy to the sidecar."""
    cell: str | None = None
    container: str | None = None
    attempts: int = 0
    """How many connections the ingress Envoy used for this request."""
    failed: list[Leg] = field(default_factory=list)
    """Connections to instances of the route that the ingress Envoy tried in vain before the one that served."""

    def hop(self, kind: str, node: str | None = None) -> Hop | None:
        """The hop of that kind."""
        return next((hop for hop in self.hops if hop.kind == kind and node in (None, hop.node)), None)
