"""A walk through the rules that stand in a namespace: where would they send a new connection? Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netlab.kernel.rules import InstalledRule, Match, Rule
from netlab.trace.evidence import host, port

_DEPTH = 16
_ENDS = frozenset({"ACCEPT", "DROP", "REJECT", "QUEUE"})
_GOES_ON = frozenset({"", "LOG", "NFLOG", "MARK", "CONNMARK", "TRACE", "TCPMSS", "TOS", "DSCP"})


@dataclass(frozen=True, slots=True)
class Arrival:
    """A TCP connection's first packet as it comes to a namespace; the interface is None if it is not known."""

    source: str
    destination: str
    interface: str | None = None


@dataclass(frozen=True, slots=True)
class Translation:
    """One way in which the rules may change the destination."""

    rule: InstalledRule
    destination: str
    certain: bool
    """Whether every such packet meets this rule; a statistic or unknown match leaves that open."""


def translations(rules: Sequence[InstalledRule], arrival: Arrival) -> list[Translation]:
    """Every way in which the nat table may change the destination of this packet, in the order of the rules."""
    return [each for each in _chain(rules, "PREROUTING", arrival, True, 0) if isinstance(each, Translation)]


def _chain(
    rules: Sequence[InstalledRule], chain: str, arrival: Arrival, certain: bool, depth: int
) -> Iterator[Translation | bool]:
    """Yields what the chain may do, and True at last if the packet certainly gets no further than here."""
    if depth > _DEPTH:
        return
    for installed in rules:
        rule = installed.rule
        if rule.table != "nat" or rule.chain != chain:
            continue
        matches = meets(rule, arrival)
        if matches is False:
            continue
        sure = certain and matches is True
        if rule.target in ("DNAT", "REDIRECT"):
            yield Translation(installed, target_of(rule, arrival.destination), sure)
            if sure:
                yield True
                return
        elif rule.target == "RETURN":
            if sure:
                return
        elif rule.target in _ENDS:
            if sure:
                yield True
                return
        elif rule.target not in _GOES_ON:
            for each in _chain(rules, rule.target, arrival, sure, depth + 1):
                yield each
                if each is True:
                    return


def meets(rule: Rule, arrival: Arrival) -> bool | None:
    """Whether a packet meets a rule; None if that depends on what is not known here."""
    answers: list[bool | None] = [
        _word(rule.protocol, "tcp"),
        _network(rule.source, host(arrival.source)),
        _network(rule.destination, host(arrival.destination)),
        _interface(rule.in_interface, arrival.interface),
        None if rule.out_interface else True,
        *(_extension(match, arrival) for match in rule.matches),
    ]
    if False in answers:
        return False
    return None if None in answers else True


def target_of(rule: Rule, destination: str) -> str:
    """Where a DNAT or REDIRECT rule sends what was meant for `destination`."""
    options = dict(rule.target_options)
    if rule.target == "REDIRECT":
        return f"{host(destination)}:{options.get('to-ports', port(destination))}"
    to = options.get("to-destination", destination)
    return to if ":" in to else f"{to}:{port(destination)}"


def _sign(value: str) -> tuple[bool, str]:
    return (True, value[1:].strip()) if value.startswith("!") else (False, value)


def _word(wanted: str | None, actual: str) -> bool:
    if wanted is None:
        return True
    negated, name = _sign(wanted)
    return (name == actual) != negated


def _network(wanted: str | None, address: str) -> bool:
    if wanted is None:
        return True
    negated, network = _sign(wanted)
    return (ipaddress.IPv4Address(address) in ipaddress.IPv4Network(network)) != negated


def _interface(wanted: str | None, actual: str | None) -> bool | None:
    if wanted is None:
        return True
    if actual is None:
        return None
    negated, name = _sign(wanted)
    same = actual.startswith(name[:-1]) if name.endswith("+") else actual == name
    return same != negated


def _extension(match: Match, arrival: Arrival) -> bool | None:
    options = dict(match.options)
    if match.name in ("tcp", "multiport"):
        answers = [_port_option(name, value, arrival) for name, value in options.items()]
        return False if False in answers else None if None in answers else True
    if match.name in ("conntrack", "state"):
        wanted = options.get("ctstate") or options.get("state")
        if wanted is not None and len(options) == 1:
            negated, states = _sign(wanted)
            return ("NEW" in states.split(",")) != negated
    return True if match.name == "comment" else None


def _port_option(name: str, value: str, arrival: Arrival) -> bool | None:
    actual = {"dport": arrival.destination, "dports": arrival.destination}.get(name)
    if actual is None and name in ("sport", "sports"):
        actual = arrival.source
    if actual is None:
        return True if (name, value) == ("tcp-flags", "FIN,SYN,RST,ACK SYN") else None
    negated, wanted = _sign(value)
    number = port(actual)
    inside = False
    for part in wanted.split(","):
        low, colon, high = part.partition(":")
        inside |= int(low or 0) <= number <= (int(high or 65535) if colon else int(low))
    return inside != negated
