"""iptables rules as data, and the interface that puts them into a namespace.

A `Rule` is kept in the spelling that `iptables-save` uses, however it was written, so a rule read back equals the
rule that was applied, whichever backend did either. Option names have no leading dashes, a value that starts with
`!` is a negated one, and an option without a value has the empty string.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from netlab.errors import MachineError, UsageError
from netlab.kernel import rule_text

TABLES = ("raw", "mangle", "nat", "filter")
"""The tables that netlab looks into, in the order in which a packet meets them."""


@dataclass(frozen=True, slots=True)
class Match:
    """One extension match, such as `Match("tcp", (("dport", "8080"),))`."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", rule_text.match_options(self.name, self.options))


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it stands, what it matches, what it does, and in `comment` why it is there.

    Addresses are `a.b.c.d` or `a.b.c.d/length`; an address, interface or protocol that starts with `!` is negated.
    A comment may have blanks; what is over 255 bytes of it is cut off, as the kernel keeps no more.
    """

    table: str
    chain: str
    target: str
    target_options: tuple[tuple[str, str], ...] = ()
    protocol: str | None = None
    source: str | None = None
    destination: str | None = None
    in_interface: str | None = None
    out_interface: str | None = None
    matches: tuple[Match, ...] = ()
    comment: str = ""

    def __post_init__(self) -> None:
        put = functools.partial(object.__setattr__, self)
        put("target_options", rule_text.target_options(self.target, self.target_options))
        put("protocol", rule_text.protocol(self.protocol))
        put("source", rule_text.network(self.source))
        put("destination", rule_text.network(self.destination))
        put("in_interface", rule_text.interface(self.in_interface))
        put("out_interface", rule_text.interface(self.out_interface))
        put("comment", rule_text.comment(self.comment))
        put("matches", tuple(match for match in self.matches if match.options or match.name != self.protocol))

    def specification(self) -> list[str]:
        """The rule without its table and chain, as arguments of iptables."""
        words: list[str] = []
        for option, value in (
            ("-s", self.source),
            ("-d", self.destination),
            ("-i", self.in_interface),
            ("-o", self.out_interface),
            ("-p", self.protocol),
        ):
            if value:
                words += rule_text.option(option, value)
        for match in self.matches:
            words += ["-m", match.name]
            for name, value in match.options:
                words += rule_text.option(f"--{name}", value)
        if self.comment:
            words += ["-m", "comment", "--comment", self.comment]
        if self.target:
            words += ["-j", self.target]
            for name, value in self.target_options:
                words += rule_text.option(f"--{name}", value)
        return words

    def arguments(self, command: str = "-A") -> list[str]:
        """The whole rule as arguments of iptables, such as `-t nat -A PREROUTING … -j DNAT …`."""
        return ["-t", self.table, command, self.chain, *self.specification()]

    def __str__(self) -> str:
        return " ".join(rule_text.quote(word) for word in self.arguments())


@dataclass(frozen=True, slots=True)
class Transaction:
    """Changes to one table that happen together or not at all.

    They take effect in the order: chains made, chains emptied, rules deleted, chains deleted, rules inserted (they
    end up at the head of their chain, in this order), rules appended.
    """

    table: str
    create_chains: tuple[str, ...] = ()
    flush_chains: tuple[str, ...] = ()
    append: tuple[Rule, ...] = ()
    insert: tuple[Rule, ...] = ()
    delete: tuple[Rule, ...] = ()
    delete_chains: tuple[str, ...] = ()
    """Each is emptied first; a rule that jumps to it must go in the same transaction or before."""


@dataclass(frozen=True, slots=True)
class InstalledRule:
    """A rule that stands in a table, with its counters."""

    rule: Rule
    number: int
    """Its position in its chain, from 1, as `iptables -L --line-numbers` and TRACE count."""
    packets: int
    bytes: int


InstalledRules: TypeAlias = list[InstalledRule]


class RuleBackend(Protocol):
    """One way to read and change the rules of a namespace. Every method raises `KernelError` if the kernel refuses."""

    @property
    def name(self) -> str:
        """The name under which `backend` gives it."""

    def apply(self, netns: Path, *transactions: Transaction) -> None:
        """Make the changes, with one commit for each table.

        A rule that stands in its chain already is not added again, one that is gone already is not missed; the same
        holds for chains.
        """

    def apply_all(self, work: Iterable[tuple[Path, Sequence[Transaction]]]) -> None:
        """Make the changes in many namespaces, at a fraction of the cost of as many calls of `apply`."""

    def list(self, netns: Path, table: str) -> InstalledRules:
        """Every rule of a table, chain by chain; a table that was never used stays unused."""

    def clear(self, netns: Path) -> None:
        """Remove every rule and every chain that is not built in, from all tables."""


def backend(name: str | None = None) -> RuleBackend:
    """The backend of that name, or the best that this machine has.

    `iptc` is python-iptables on the legacy tables; `iptables-restore` uses the programs, on the legacy tables where
    the kernel has them and on nftables otherwise (`iptables-legacy-restore` and `iptables-nft-restore` insist on
    one). Raises `MachineError` if it cannot work here.
    """
    return _backend(name)


def read_back(saved: Iterable[rule_text.SavedRule]) -> InstalledRules:
    """The rules that a backend read, in canonical spelling and numbered within their chains."""
    found: InstalledRules = []
    numbers: dict[tuple[str, str], int] = {}
    for item in saved:
        comments = [dict(options).get("comment", "") for name, options in item.matches if name == "comment"]
        rule = Rule(
            table=item.table,
            chain=item.chain,
            target=item.target,
            target_options=tuple(item.target_options),
            matches=tuple(Match(name, tuple(options)) for name, options in item.matches if name != "comment"),
            comment=comments[0] if comments else "",
            **item.fields,
        )
        number = numbers[item.table, item.chain] = numbers.get((item.table, item.chain), 0) + 1
        found.append(InstalledRule(rule, number, item.packets, item.bytes))
    return found


@functools.cache
def _backend(name: str | None) -> RuleBackend:
    from netlab.kernel import iptc_backend, legacy, restore_backend

    match name:
        case None:
            if legacy.available() and iptc_backend.installed():
                return iptc_backend.IptcBackend()
            return restore_backend.best()
        case "iptc":
            if not iptc_backend.installed():
                raise MachineError("python-iptables is not installed", hint="use the backend iptables-restore")
            if not legacy.available():
                raise MachineError(
                    "this kernel has no legacy iptables, which python-iptables needs",
                    hint="use the backend iptables-restore",
                )
            return iptc_backend.IptcBackend()
        case "iptables-restore":
            return restore_backend.best()
        case "iptables-legacy-restore" | "iptables-nft-restore":
            return restore_backend.RestoreBackend(name)
    raise UsageError(f"no rule backend {name!r}", hint="there are iptc and iptables-restore")
