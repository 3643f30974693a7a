"""What a trace has seen, as plain data: everything that a verdict rests on is in one `Evidence`.

Endpoints are `ip:port`. Times are Unix nanoseconds of the kernel's clock, the same in every namespace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from netlab.kernel.rules import InstalledRule

SourceName = Literal["packet", "conntrack", "rule-trace", "rules", "access-log"]
"""`rule-trace` is netfilter's TRACE of a first packet, `rules` the listing of what stands in the tables."""
Failure = Literal["refused", "reset", "timeout", "closed", "unreachable", "protocol"]
"""How an exchange can fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the request, as its client saw it."""

    request_id: str
    local: str | None
    """The client's end of the connection; None if there never was one."""
    remote: str
    started_ns: int
    ended_ns: int
    status: int | None = None
    failure: Failure | None = None
    """Why there is no complete answer."""
    detail: str = ""
    body_bytes: int = 0
    responder: str = ""
    """The `server` header of the answer: an Envoy says so if the answer is its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP packet of the traced request or of its connections, on one interface."""

    node: str
    interface: str
    outgoing: bool
    time_ns: int
    source: str
    destination: str
    flags: str
    """As scapy writes them, such as `S`, `SA`, `PA`, `R`."""
    seq: int
    ack: int
    payload: int
    """Bytes of TCP payload."""
    carries: bool = False
    """Whether the request's id is in it, in whichever direction."""
    http: str = ""
    """The first line, if an HTTP message begins here."""
    icmp: str = ""
    """If this is an ICMP error about a packet of the request: what it says; the addresses are that packet's."""


@dataclass(frozen=True, slots=True)
class RuleStep:
    """One step of a traced first packet through a namespace's tables, in the order in which they happened."""

    node: str
    origin: Literal["legacy", "nft", "tap"]
    table: str
    chain: str
    kind: str
    number: int
    source: str
    destination: str
    """As the header was at this step."""
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Connection:
    """What conntrack had to say about one connection in one namespace."""

    node: str
    source: str
    destination: str
    found: bool
    translated: str | None = None
    """Where the destination was changed to; None if it was not."""
    masqueraded: str | None = None
    """What the source was changed to; None if it was not."""
    state: str | None = None
    id: int = 0
    start_ns: int | None = None


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of an Envoy's access log."""

    node: str
    proxy: Literal["ingress", "sidecar"]
    fields: dict[str, Any]

    def get(self, key: str) -> str:
        """A field as text; empty if Envoy had nothing for it."""
        value = self.fields.get(key)
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Source:
    """Whether one source could have seen something in one place."""

    source: SourceName
    node: str
    available: bool
    detail: str = ""
    """What it saw, or why it could not look."""
    lost: int = 0
    """How many packets or events were lost; with any, its silence proves nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was seen of one request."""

    outcome: Outcome
    segments: tuple[Segment, ...] = ()
    steps: tuple[RuleStep, ...] = ()
    connections: tuple[Connection, ...] = ()
    lines: tuple[LogLine, ...] = ()
    rules: dict[str, list[InstalledRule]] = field(default_factory=dict)
    """The rules that stand at a node, by node: the nat table, and others where packets ended."""
    sources: tuple[Source, ...] = ()

    def line(self, proxy: str, node: str | None = None) -> LogLine | None:
        """The request's line in the log of an ingress or sidecar Envoy; of several (retries) the last."""
        found = [line for line in self.lines if line.proxy == proxy and node in (None, line.node)]
        return found[-1] if found else None

    def connection(self, node: str, source: str) -> Connection | None:
        """What conntrack had for the connection that comes from `source`."""
        return next((each for each in self.connections if (each.node, each.source) == (node, source)), None)

    def blind(self, node: str, source: SourceName) -> str | None:
        """Why the silence of a source at a node proves nothing; None if it does prove something."""
        for each in self.sources:
            if (each.node, each.source) == (node, source):
                if not each.available:
                    return each.detail or "not available"
                return f"{each.lost} lost" if each.lost else None
        return "not looked at"


def host(endpoint: str) -> str:
    """The address of an endpoint."""
    return endpoint.rpartition(":")[0]


def port(endpoint: str) -> int:
    """The port of an endpoint."""
    return int(endpoint.rpartition(":")[2])
