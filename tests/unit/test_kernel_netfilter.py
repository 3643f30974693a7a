"""Messages of conntrack, NFLOG and nftables, taken apart."""

from __future__ import annotations

import socket
import struct

from netlab.kernel import conntrack, nflog, nft
from netlab.kernel.nfnetlink import Message, nested, parse, parse_list, string, text, u8, u16, u32
from netlab.kernel.rtnetlink import attribute


def packed_tuple(kind: int, wanted: conntrack.Tuple) -> bytes:
    addresses = attribute(1, socket.inet_aton(wanted.source)) + attribute(2, socket.inet_aton(wanted.destination))
    ports = u8(1, 6) + u16(2, wanted.source_port) + u16(3, wanted.destination_port)
    return nested(kind, nested(1, addresses), nested(2, ports))


def test_attributes() -> None:
    data = text(1, "nat") + nested(2, u16(1, 80)) + u32(2, 7)
    assert [kind for kind, _ in parse_list(data)] == [1, 2, 2]
    assert string(parse(data)[1]) == "nat"
    assert parse(data)[2] == b"\0\0\0\7"
    assert list(parse_list(b"\x02\0\0\0")) == []


def test_a_connection_with_both_translations() -> None:
    original = conntrack.Tuple("203.0.113.100", 40000, "203.0.113.10", 80)
    reply = conntrack.Tuple("10.0.1.1", 8080, "10.0.0.1", 40001)
    data = packed_tuple(1, original) + packed_tuple(2, reply) + u32(3, 0x3E) + u32(12, 99)
    data += nested(4, nested(1, u8(1, 3)))
    data += nested(9, attribute(1, struct.pack(">Q", 5)), attribute(2, struct.pack(">Q", 500)))
    data += nested(10, attribute(1, struct.pack(">Q", 4)), attribute(2, struct.pack(">Q", 400)))
    data += nested(20, attribute(1, struct.pack(">Q", 1_700_000_000_000_000_001)))
    entry = conntrack._entry(data)
    assert (entry.original, entry.reply) == (original, reply)
    assert (entry.dnat, entry.snat) == (("10.0.1.1", 8080), ("10.0.0.1", 40001))
    assert entry.status == {"SEEN_REPLY", "ASSURED", "CONFIRMED", "SRC_NAT", "DST_NAT"}
    assert (entry.tcp_state, entry.id) == ("ESTABLISHED", 99)
    assert (entry.packets, entry.bytes) == ((5, 4), (500, 400))
    assert (entry.start_ns, entry.stop_ns) == (1_700_000_000_000_000_001, None)
    assert str(original) == "203.0.113.100:40000 > 203.0.113.10:80"


def test_a_connection_without_translation() -> None:
    there = conntrack.Tuple("10.0.0.1", 1, "10.0.0.2", 2)
    back = conntrack.Tuple("10.0.0.2", 2, "10.0.0.1", 1)
    entry = conntrack._entry(packed_tuple(1, there) + packed_tuple(2, back))
    assert entry.dnat is None
    assert entry.snat is None
    assert entry.packets is None


def logged(prefix: str) -> Message:
    stamp = attribute(3, struct.pack(">QQ", 1_700_000_000, 250))
    return Message(4, 0, 0, 0, text(10, prefix) + attribute(9, b"packet") + u32(4, 3) + stamp)


def test_a_rule_of_the_legacy_tables() -> None:
    record = nflog._legacy_record(logged("TRACE: nat:netlab-out:rule:2 "), 0)
    assert record is not None
    assert (record.table, record.chain, record.kind, record.number) == ("nat", "netlab-out", "rule", 2)
    assert (record.packet, record.in_index, record.out_index) == (b"packet", 3, 0)
    assert record.time_ns == 1_700_000_000_000_250_000


def test_a_policy_of_the_legacy_tables() -> None:
    record = nflog._legacy_record(logged("TRACE: nat:INPUT:policy:1 "), 0)
    assert record is not None
    assert (record.kind, record.number) == ("policy", 0)


def test_somebody_elses_log() -> None:
    assert nflog._legacy_record(logged("dropped: "), 0) is None


def test_a_step_through_nftables() -> None:
    body = text(1, "nat") + text(2, "PREROUTING") + attribute(3, struct.pack(">Q", 7)) + u32(4, 3)
    body += nested(5, attribute(1, struct.pack(">i", 1))) + attribute(8, b"ip") + attribute(9, b"tcp")
    step = nft.parse_trace(Message(nft.SUBSYSTEM, nft.TRACE, 0, 0, body))
    assert (step.table, step.chain, step.kind, step.handle) == ("nat", "PREROUTING", "rule", 7)
    assert (step.verdict, step.packet) == ("ACCEPT", b"iptcp")


def test_the_trace_table_marks_before_everything_else() -> None:
    requests = nft.trace_table({80, 443})
    assert len(requests) == 1 + len(nft.TAPS) + 2 * 2
    assert len(nft.trace_table(None)) == 1 + len(nft.TAPS) + 2
    assert {tap.priority for tap in nft.TAPS if tap.marks} == {-350}
