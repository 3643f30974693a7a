"""The spelling of iptables rules: one canonical form for each part, and the text of iptables-save."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

Options = tuple[tuple[str, str], ...]

COMMENT_BYTES = 255
_CT_STATES = ("INVALID", "NEW", "RELATED", "ESTABLISHED", "UNTRACKED", "SNAT", "DNAT")
_PROTOCOLS = {"1": "icmp", "6": "tcp", "17": "udp", "132": "sctp"}
_REJECTIONS = {
    "net-unreach": "icmp-net-unreachable",
    "host-unreach": "icmp-host-unreachable",
    "proto-unreach": "icmp-proto-unreachable",
    "port-unreach": "icmp-port-unreachable",
    "net-prohib": "icmp-net-prohibited",
    "host-prohib": "icmp-host-prohibited",
    "admin-prohib": "icmp-admin-prohibited",
    "tcp-rst": "tcp-reset",
}
_TWO_VALUES = frozenset({"--tcp-flags", "--match-set"})
_SYN_ONLY = "FIN,SYN,RST,ACK SYN"
_FULL_MASK = 0xFFFFFFFF


def negation(value: str) -> tuple[str, str]:
    """Split a value into `!` or nothing, and the rest."""
    return ("!", value[1:].strip()) if value.startswith("!") else ("", value.strip())


def network(value: str | None) -> str | None:
    """An address or network without a redundant length, or None if it is everything."""
    if not value:
        return None
    sign, rest = negation(value)
    parsed = ipaddress.IPv4Network(rest, strict=False)
    if parsed.prefixlen == 0 and not sign:
        return None
    return sign + (str(parsed.network_address) if parsed.prefixlen == 32 else str(parsed))


def protocol(value: str | None) -> str | None:
    """A protocol's name in lower case, or None if it is every protocol."""
    if not value or value in ("all", "ip", "0"):
        return None
    sign, rest = negation(value.lower())
    return sign + _PROTOCOLS.get(rest, rest)


def interface(value: str | None) -> str | None:
    """An interface's name, or None if it is every interface."""
    return "".join(negation(value)) if value and value != "+" else None


def comment(text: str) -> str:
    """A comment on one line that the kernel keeps whole."""
    line = re.sub(r"[\x00-\x1f\x7f]+", " ", text).strip()
    return line.encode()[:COMMENT_BYTES].decode(errors="ignore").rstrip()


def match_options(name: str, options: Options) -> Options:
    """The options of a match as iptables-save prints them, in an order of their own."""
    change = _MATCHES.get(name)
    return _in_order(change(dict(options)) if change else dict(options))


def target_options(name: str, options: Options) -> Options:
    """The options of a target as iptables-save prints them, in an order of their own."""
    change = _TARGETS.get(name)
    return _in_order(change(dict(options)) if change else dict(options))


def option(name: str, value: str) -> list[str]:
    """One option as arguments of iptables: perhaps `!`, its name, and its value or values."""
    sign, rest = negation(value) if value else ("", "")
    words = rest.split() if name in _TWO_VALUES else [rest] if rest else []
    return ([sign] if sign else []) + [name, *words]


def quote(word: str) -> str:
    """A word as iptables-restore reads it."""
    if re.fullmatch(r"[\w!:/.,+=@%-]+", word, re.ASCII):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _in_order(options: dict[str, str]) -> Options:
    # The mode of a statistic match decides what its other options mean, so it comes first.
    return tuple(sorted(options.items(), key=lambda item: (item[0] != "mode", item)))


def _ports(options: dict[str, str]) -> dict[str, str]:
    changed = {}
    for name, value in options.items():
        sign, rest = negation(value)
        if name == "syn":
            name, rest = "tcp-flags", _SYN_ONLY
        low, _, high = rest.partition(":")
        changed[_PORT_NAMES.get(name, name)] = sign + (low if high == low else rest)
    return changed


_PORT_NAMES = {"destination-port": "dport", "source-port": "sport"}


def _statistic(options: dict[str, str]) -> dict[str, str]:
    if "probability" in options:
        sign, rest = negation(options["probability"])
        # The kernel keeps it as a fraction of 2^31.
        exact = round(float(rest) * 0x80000000) / 0x80000000
        return {**options, "probability": f"{sign}{exact:.11f}"}
    if options.get("mode") == "nth":
        return {"packet": "0", **options}
    return options


def _conntrack(options: dict[str, str]) -> dict[str, str]:
    if "ctstate" not in options:
        return options
    sign, rest = negation(options["ctstate"])
    states = sorted(rest.upper().split(","), key=lambda s: _CT_STATES.index(s) if s in _CT_STATES else 99)
    return {**options, "ctstate": sign + ",".join(states)}


def _mark(options: dict[str, str]) -> dict[str, str]:
    sign, rest = negation(options.get("mark", "0"))
    value, mask = _mark_value(rest)
    return {**options, "mark": sign + (f"{value:#x}" if mask == _FULL_MASK else f"{value:#x}/{mask:#x}")}


def _mark_value(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if mask else _FULL_MASK


def _set_mark(options: dict[str, str]) -> dict[str, str]:
    changed = {}
    for name, text in options.items():
        if name in ("set-mark", "set-xmark"):
            value, mask = _mark_value(text)
            if name == "set-mark":
                mask |= value
            changed["set-xmark"] = f"{value:#x}/{mask:#x}"
        else:
            changed[name] = text
            if name in ("save-mark", "restore-mark"):
                changed = {"nfmask": "0xffffffff", "ctmask": "0xffffffff", **changed}
    return changed


def _reject(options: dict[str, str]) -> dict[str, str]:
    kind = options.get("reject-with", "icmp-port-unreachable")
    return {"reject-with": _REJECTIONS.get(kind, kind)}


_MATCHES: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "tcp": _ports,
    "udp": _ports,
    "statistic": _statistic,
    "conntrack": _conntrack,
    "mark": _mark,
    "connmark": _mark,
}
_TARGETS: dict[str, Callable[[dict[str, str]], dict[str, str]]] = {
    "MARK": _set_mark,
    "CONNMARK": _set_mark,
    "REJECT": _reject,
}


@dataclass(slots=True)
class SavedRule:
    """One rule of iptables-save, taken apart."""

    table: str
    chain: str
    packets: int = 0
    bytes: int = 0
    target: str = ""
    target_options: list[tuple[str, str]] = field(default_factory=list)
    matches: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)


_FIELDS = {"-s": "source", "-d": "destination", "-i": "in_interface", "-o": "out_interface", "-p": "protocol"}


def parse_saved(text: str) -> tuple[dict[str, list[str]], list[SavedRule]]:
    """Take the output of `iptables-save -c` apart: the chains of each table, and every rule in order."""
    chains: dict[str, list[str]] = {}
    rules: list[SavedRule] = []
    table = ""
    for line in text.split("\n"):
        if line.startswith("*"):
            table = line[1:].strip()
            chains[table] = []
        elif line.startswith(":"):
            chains[table].append(line[1:].split(" ", 1)[0])
        elif line.startswith("["):
            rules.append(_parse_rule(table, line))
    return chains, rules


def _parse_rule(table: str, line: str) -> SavedRule:
    counters, _, rest = line[1:].partition("] ")
    packets, _, size = counters.partition(":")
    words = split_words(rest)
    rule = SavedRule(table, words[1], int(packets), int(size))
    options: list[tuple[str, str]] = []
    for name, value in group_options(words[2:]):
        if name in _FIELDS:
            rule.fields[_FIELDS[name]] = value
        elif name == "-m":
            options = []
            rule.matches.append((value, options))
        elif name in ("-j", "-g"):
            rule.target, options = value, rule.target_options
        else:
            options.append((name[2:], value))
    return rule


def split_words(text: str) -> list[str]:
    """The words of a line of iptables-save: in quotes, a backslash takes the next character as it is."""
    words = []
    for quoted, plain in _WORD.findall(text):
        words.append(re.sub(r"\\(.)", r"\1", quoted[1:-1], flags=re.DOTALL) if quoted else plain)
    return words


def group_options(words: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The options in a list of arguments as (name, value); a `!` before an option's name becomes part of its value."""
    name, sign, following = "", "", ""
    values: list[str] = []
    for word in words:
        if name in _FREE_TEXT and not values:
            values.append(word)
        elif word == "!":
            following = "!"
        elif _OPTION.match(word):
            if name:
                yield name, sign + " ".join(values)
            name, values, sign, following = word, [], following, ""
        else:
            values.append(word)
    if name:
        yield name, sign + " ".join(values)


_WORD = re.compile(r'("(?:[^"\\]|\\.)*")|(\S+)', re.DOTALL)
_FREE_TEXT = frozenset({"--comment", "--log-prefix", "--nflog-prefix"})
_OPTION = re.compile(r"--?[A-Za-z]")
