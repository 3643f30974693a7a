"""As much of nftables as tracing needs: one private table that switches the trace bit on, and its messages."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from netlab.kernel.nfnetlink import (
    Message,
    NetfilterSocket,
    Request,
    integer,
    nested,
    parse,
    string,
    text,
    u32,
)
from netlab.kernel.rtnetlink import NLM_F_CREATE, attribute

SUBSYSTEM = 10
TRACE_GROUP = 9
TABLE = "netlab_trace"
"""The private table's name; rules of it are never evidence of anything."""

_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE, _GET_RULE, TRACE = 0, 1, 2, 3, 6, 7, 17
_OWNED_BY_SOCKET = 2
_META_TRACE, _META_L4PROTO = 12, 16
_REGISTER = 1
_TRANSPORT_HEADER = 2
_TCP = 6
_SYN, _SYN_ACK = 0x02, 0x12

HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")


@dataclass(frozen=True, slots=True)
class Tap:
    """A place in the private table: a chain, and the hook and priority where it looks at packets."""

    chain: str
    hook: int
    priority: int
    marks: bool = False
    """Whether it switches tracing on, which must come before everything else."""


TAPS = (
    Tap("arrive", 0, -350, marks=True),
    Tap("arrive_translated", 0, -99),
    Tap("deliver", 1, 101),
    Tap("send", 3, -350, marks=True),
    Tap("send_translated", 3, -99),
    Tap("leave", 4, 101),
)
"""Where the trace begins, and where addresses have just been translated; a traced packet's header shows at each."""


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, text(1, name), nested(2, *attributes))


def _value(data: bytes) -> bytes:
    return attribute(1, data)


def _mark_rule(chain: str, port: int | None) -> Request:
    """`tcp flags & (syn|ack) == syn [tcp dport PORT] meta nftrace set 1`."""
    expressions = [
        _expression("meta", u32(2, _META_L4PROTO), u32(1, _REGISTER)),
        _expression("cmp", u32(1, _REGISTER), u32(2, 0), nested(3, _value(bytes([_TCP])))),
        _expression("payload", u32(1, _REGISTER), u32(2, _TRANSPORT_HEADER), u32(3, 13), u32(4, 1)),
        _expression(
            "bitwise",
            u32(1, _REGISTER),
            u32(2, _REGISTER),
            u32(3, 1),
            nested(4, _value(bytes([_SYN_ACK]))),
            nested(5, _value(b"\0")),
        ),
        _expression("cmp", u32(1, _REGISTER), u32(2, 0), nested(3, _value(bytes([_SYN])))),
    ]
    if port is not None:
        expressions += [
            _expression("payload", u32(1, _REGISTER), u32(2, _TRANSPORT_HEADER), u32(3, 2), u32(4, 2)),
            _expression("cmp", u32(1, _REGISTER), u32(2, 0), nested(3, _value(struct.pack(">H", port)))),
        ]
    expressions += [
        _expression("immediate", u32(1, _REGISTER), nested(2, _value(b"\1"))),
        _expression("meta", u32(2, _META_TRACE), u32(3, _REGISTER)),
    ]
    body = text(1, TABLE) + text(2, chain) + nested(4, *expressions)
    return Request(SUBSYSTEM, _NEW_RULE, body, flags=NLM_F_CREATE | 0x800)


def trace_table(ports: Collection[int] | None) -> list[Request]:
    """The requests that make the private table; it goes with the socket that sends them.

    It traces TCP connections that begin: all, or those to `ports`.
    """
    requests = [
        Request(SUBSYSTEM, _NEW_TABLE, text(1, TABLE) + u32(2, _OWNED_BY_SOCKET), flags=NLM_F_CREATE),
    ]
    for tap in TAPS:
        hook = nested(4, u32(1, tap.hook), u32(2, tap.priority & 0xFFFFFFFF))
        body = text(1, TABLE) + text(3, tap.chain) + hook + u32(5, 1) + text(7, "filter")
        requests.append(Request(SUBSYSTEM, _NEW_CHAIN, body, flags=NLM_F_CREATE))
    targets: Iterable[int | None] = [None] if ports is None else sorted(ports)
    for port in targets:
        requests += [_mark_rule(tap.chain, port) for tap in TAPS if tap.marks]
    return requests


def delete_table() -> list[Request]:
    """The requests that remove the private table before its socket closes."""
    return [Request(SUBSYSTEM, _DELETE_TABLE, text(1, TABLE))]


def has_tables() -> bool:
    """Whether nftables has any IPv4 table in the calling thread's namespace."""
    try:
        with NetfilterSocket(None) as sock:
            return any(True for _ in sock.dump(Request(SUBSYSTEM, _GET_TABLE)))
    except OSError:
        # Without nftables in the kernel there is none.
        return False


def rule_numbers(sock: NetfilterSocket) -> dict[tuple[str, str, int], int]:
    """The number of every IPv4 rule in its chain, from 1, by (table, chain, handle)."""
    numbers: dict[tuple[str, str, int], int] = {}
    counts: dict[tuple[str, str], int] = {}
    for message in sock.dump(Request(SUBSYSTEM, _GET_RULE)):
        parts = parse(message.attributes)
        if 1 in parts and 2 in parts and 3 in parts:
            table, chain = string(parts[1]), string(parts[2])
            counts[table, chain] = counts.get((table, chain), 0) + 1
            numbers[table, chain, integer(parts[3])] = counts[table, chain]
    return numbers


@dataclass(frozen=True, slots=True)
class TraceMessage:
    """One step of a traced packet."""

    table: str
    chain: str
    kind: str
    handle: int
    verdict: str
    packet: bytes
    in_index: int
    out_index: int


_KINDS = {1: "policy", 2: "return", 3: "rule"}
_VERDICTS = {0: "DROP", 1: "ACCEPT", 2: "STOLEN", 3: "QUEUE", 4: "REPEAT", -1: "CONTINUE", -2: "BREAK", -3: "JUMP"}
_VERDICTS |= {-4: "GOTO", -5: "RETURN"}


def parse_trace(message: Message) -> TraceMessage:
    """Take a trace message apart; its packet is the network and transport header, or empty after a chain's first."""
    parts = parse(message.attributes)
    verdict = parse(parts.get(5, b"")).get(1)
    if verdict is None and 16 in parts:
        verdict = parts[16]
    return TraceMessage(
        table=string(parts.get(1, b"")),
        chain=string(parts.get(2, b"")),
        kind=_KINDS.get(integer(parts.get(4, b"")), "unknown"),
        handle=integer(parts.get(3, b"")),
        verdict="" if verdict is None else _VERDICTS.get(struct.unpack(">i", verdict)[0], ""),
        packet=parts.get(8, b"") + parts.get(9, b""),
        in_index=integer(parts.get(10, b"")),
        out_index=integer(parts.get(12, b"")),
    )
