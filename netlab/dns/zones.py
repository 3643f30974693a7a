"""What the lab's DNS server answers to one query. Pure: bytes in, bytes out."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netlab.dns.config import DnsConfig

TTL = 5
"""Seconds; short, because a lab that is rebuilt may have other addresses."""
UDP_LIMIT = 1232
"""Bytes of the largest answer over UDP that we announce."""
_HEADER = 12
_SMALLEST_UDP_LIMIT = 512
_TCP_LIMIT = 65535


class Zones:
    """The names that the server knows."""

    def __init__(self, config: DnsConfig) -> None:
        self._names = {dns.name.from_text(name): address for name, address in config.names.items()}
        self._wildcards = {dns.name.from_text(zone): address for zone, address in config.zones.items()}
        self._own = {name.parent() for name in self._names} | set(self._wildcards)

    def answer(self, wire: bytes, *, tcp: bool = False) -> bytes | None:
        """The answer to one query, or None if nothing sensible can be said."""
        try:
            query = dns.message.from_wire(wire, ignore_trailing=True)
        except (dns.exception.DNSException, ValueError):
            return _format_error(wire)
        if query.flags & dns.flags.QR:
            # Answering an answer is how two servers talk to each other for ever.
            return None
        response = dns.message.make_response(query, our_payload=UDP_LIMIT)
        response.flags |= dns.flags.AA
        if query.opcode() != dns.opcode.QUERY:
            response.set_rcode(dns.rcode.NOTIMP)
        elif len(query.question) != 1:
            response.set_rcode(dns.rcode.FORMERR)
        else:
            self._resolve(query.question[0], response)
        if tcp:
            return response.to_wire(max_size=_TCP_LIMIT)
        limit = min(max(query.payload, _SMALLEST_UDP_LIMIT), UDP_LIMIT)
        try:
            return response.to_wire(max_size=limit)
        except dns.exception.TooBig:
            response.answer, response.authority = [], []
            response.flags |= dns.flags.TC
            return response.to_wire()

    def _resolve(self, question: dns.rrset.RRset, response: dns.message.Message) -> None:
        zone = self._zone_of(question.name)
        if zone is None or question.rdclass != dns.rdataclass.IN:
            response.flags &= ~dns.flags.AA
            response.set_rcode(dns.rcode.REFUSED)
            return
        address = self._names.get(question.name) or self._wildcard(question.name)
        if address is None and question.name != zone:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if address is not None and question.rdtype in (dns.rdatatype.A, dns.rdatatype.ANY):
            response.answer = [dns.rrset.from_text(question.name, TTL, "IN", "A", address)]
        elif question.rdtype == dns.rdatatype.SOA and question.name == zone:
            response.answer = [_soa(zone)]
        else:
            response.authority = [_soa(zone)]

    def _zone_of(self, name: dns.name.Name) -> dns.name.Name | None:
        """The longest zone of ours that the name is in."""
        return max((zone for zone in self._own if name.is_subdomain(zone)), key=len, default=None)

    def _wildcard(self, name: dns.name.Name) -> str | None:
        zone = self._zone_of(name)
        return self._wildcards.get(zone) if zone is not None else None


def _soa(zone: dns.name.Name) -> dns.rrset.RRset:
    return dns.rrset.from_text(zone, TTL, "IN", "SOA", f"ns.{zone} hostmaster.{zone} 1 3600 600 86400 {TTL}")


def _format_error(wire: bytes) -> bytes | None:
    """A bare FORMERR with the query's id, if it has one and is no answer itself."""
    if len(wire) < _HEADER or wire[2] & 0x80:
        return None
    response = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
    response.flags = dns.flags.QR
    response.set_rcode(dns.rcode.FORMERR)
    return response.to_wire()
