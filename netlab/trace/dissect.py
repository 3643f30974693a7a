"""From raw frames to the packets of one request.

Frames are told apart by a glance at fixed offsets, which keeps up with any load; scapy takes apart only those that
belong to the traced request.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from netlab.kernel import netns, syscalls
from netlab.kernel.capture import Packet
from netlab.kernel.nflog import TraceRecord
from netlab.trace.evidence import RuleStep, Segment

ETHERNET = 14
AROUND = 8
"""Packets of a connection on one interface that are kept at its beginning and after each one that carries the request;
a connection that others use too may have thousands."""
_IPV4 = b"\x08\x00"
_SYN_ACK = 0x12
_SYN = 0x02
_ACK = 0x10
_SYN_OR_RST = 0x06
_LOOPBACK = "127."


def _import_scapy() -> tuple[Any, Any, Any]:
    """Import scapy's layers where there are no interfaces: it reads all of those it can see, which takes its time."""

    def work() -> tuple[Any, Any, Any]:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        return _layers()

    try:
        return netns.in_thread(work)
    except PermissionError:
        return _layers()


def _layers() -> tuple[Any, Any, Any]:
    from scapy.layers import inet, l2
    from scapy.packet import Raw

    return l2.Ether, inet, Raw


_Ether, _inet, _Raw = _import_scapy()


def peek(packet: bytes, offset: int = 0) -> tuple[str, str, int, int] | None:
    """Source, destination, TCP flags and offset of the payload of an IPv4 TCP packet that begins at `offset`."""
    if len(packet) < offset + 40 or packet[offset] >> 4 != 4 or packet[offset + 9] != socket.IPPROTO_TCP:
        return None
    tcp = offset + (packet[offset] & 15) * 4
    if len(packet) < tcp + 14:
        return None
    source_port, destination_port = struct.unpack_from(">HH", packet, tcp)
    source = f"{socket.inet_ntoa(packet[offset + 12 : offset + 16])}:{source_port}"
    destination = f"{socket.inet_ntoa(packet[offset + 16 : offset + 20])}:{destination_port}"
    return source, destination, packet[tcp + 13], tcp + (packet[tcp + 12] >> 4) * 4


def initiators(captured: Mapping[str, list[Packet]], request_id: str) -> dict[str, set[str]]:
    """By node, the client's end of each connection that carried the request there.

    The request is seen before its answer, which carries the id too, so the first packet's source is the client.
    """
    needle = request_id.encode()
    found: dict[str, set[str]] = {}
    for node, packets in captured.items():
        known: set[frozenset[str]] = set()
        carriers = [packet for packet in packets if needle in packet.data]
        for packet in sorted(carriers, key=lambda packet: packet.time_ns):
            if (seen := _peek_frame(packet.data)) is not None:
                ends = frozenset(seen[:2])
                if ends not in known:
                    known.add(ends)
                    found.setdefault(node, set()).add(seen[0])
    return found


def attempts(packets: Iterable[Packet], upstreams: Collection[str], since_ns: int) -> set[str]:
    """The local ends of connections that a node began towards one of `upstreams` (`ip:port`) from some time on."""
    found = set()
    for packet in packets:
        seen = _peek_frame(packet.data) if packet.outgoing and packet.time_ns >= since_ns else None
        if seen is not None and seen[1] in upstreams and seen[2] & _SYN_ACK == _SYN:
            found.add(seen[0])
    return found


def everywhere(by_node: Mapping[str, set[str]]) -> set[str]:
    """The ends that mean the same connection at every node, which those on loopback do not."""
    return {end for ends in by_node.values() for end in ends if not end.startswith(_LOOPBACK)}


def segments(node: str, packets: Iterable[Packet], ends: set[str], request_id: str) -> list[Segment]:
    """The packets of connections that have one of these ends, and ICMP errors about them, in the order of time."""
    needle = request_id.encode()
    budget: dict[tuple[str, frozenset[str]], int] = {}
    found = []
    for packet in packets:
        seen = _peek_frame(packet.data)
        if seen is None:
            if error := _icmp(node, packet, ends):
                found.append(error)
            continue
        source, destination, flags, payload = seen
        if source not in ends and destination not in ends:
            continue
        if flags == _ACK and payload >= packet.length:
            # It says no more than that something arrived, and there are as many of these as of all others.
            continue
        connection = (packet.interface, frozenset((source, destination)))
        carries = needle in packet.data
        if carries:
            budget[connection] = AROUND
        left = budget.get(connection, AROUND)
        if carries or flags & _SYN_OR_RST or left:
            budget[connection] = max(0, left - 1)
            found.append(_segment(node, packet, carries))
    return sorted(found, key=lambda segment: segment.time_ns)


def steps(node: str, records: Iterable[TraceRecord], ends: set[str]) -> list[RuleStep]:
    """The rule steps of connections that come from one of these ends."""
    found = []
    last: dict[str, tuple[str, str]] = {}
    for record in records:
        seen = peek(record.packet)
        # nftables gives the header with a chain's first step only.
        addresses = seen[:2] if seen is not None else last.get(record.source)
        if addresses is None:
            continue
        last[record.source] = addresses
        if addresses[0] in ends:
            found.append(
                RuleStep(
                    node=node,
                    origin=record.source,
                    table=record.table,
                    chain=record.chain,
                    kind=record.kind,
                    number=record.number,
                    source=addresses[0],
                    destination=addresses[1],
                    verdict=record.verdict,
                )
            )
    return found


def _peek_frame(frame: bytes) -> tuple[str, str, int, int] | None:
    return peek(frame, ETHERNET) if frame[12:14] == _IPV4 else None


def _segment(node: str, packet: Packet, carries: bool) -> Segment:
    ip = _Ether(packet.data)[_inet.IP]
    tcp = ip[_inet.TCP]
    # What is over the IP length is the padding of a short frame.
    payload = bytes(tcp.payload)[: max(0, ip.len - ip.ihl * 4 - tcp.dataofs * 4)] if ip.len else bytes(tcp.payload)
    return Segment(
        node=node,
        interface=packet.interface,
        outgoing=packet.outgoing,
        time_ns=packet.time_ns,
        source=f"{ip.src}:{tcp.sport}",
        destination=f"{ip.dst}:{tcp.dport}",
        flags=str(tcp.flags),
        seq=tcp.seq,
        ack=tcp.ack,
        payload=len(payload),
        carries=carries,
        http=_first_line(payload),
    )


def _first_line(payload: bytes) -> str:
    line = payload[:200].partition(b"\r\n")[0]
    if line.startswith(b"HTTP/1.") or line.rpartition(b" ")[2].startswith(b"HTTP/1."):
        return line.decode("latin-1")
    return ""


def _icmp(node: str, packet: Packet, ends: set[str]) -> Segment | None:
    frame = packet.data
    if frame[12:14] != _IPV4 or len(frame) < ETHERNET + 36 or frame[ETHERNET + 9] != socket.IPPROTO_ICMP:
        return None
    inner = ETHERNET + (frame[ETHERNET] & 15) * 4 + 8
    # An error quotes the IP header and eight bytes, which is less than `peek` wants.
    about = peek(frame + bytes(20), inner)
    if about is None or about[0] not in ends:
        return None
    icmp = _Ether(frame)[_inet.ICMP]
    return Segment(
        node=node,
        interface=packet.interface,
        outgoing=packet.outgoing,
        time_ns=packet.time_ns,
        source=about[0],
        destination=about[1],
        flags="",
        seq=0,
        ack=0,
        payload=0,
        icmp=icmp.sprintf("%ICMP.type% %ICMP.code%"),
    )
