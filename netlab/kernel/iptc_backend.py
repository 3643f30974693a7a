"""Rules through python-iptables, on the legacy tables.

Its tables are singletons of the process, bound to the namespace where they were last read, and they keep that
namespace alive; reading a rule replaces the process's standard output for a moment; and a crash of libxtables is a
crash of the process. So all of it happens in a forked child that ends with the work. The parent only imports the
library, since that takes longer than everything else.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from netlab.errors import KernelError
from netlab.kernel import legacy, rule_text, syscalls
from netlab.kernel.rules import InstalledRules, Rule, Transaction, read_back
from netlab.kernel.worker import forked


def installed() -> bool:
    """Whether python-iptables is here; it is not imported to find out."""
    return importlib.util.find_spec("iptc") is not None


class IptcBackend:
    """See `netlab.kernel.rules.RuleBackend`."""

    name = "iptc"

    def apply(self, netns: Path, *transactions: Transaction) -> None:
        """Make the changes, with one commit for each table."""
        self.apply_all([(netns, transactions)])

    def apply_all(self, work: Iterable[tuple[Path, Sequence[Transaction]]]) -> None:
        """Make the changes in many namespaces, in one worker."""
        todo = [(path, tuple(transactions)) for path, transactions in work if transactions]
        if todo:
            where = todo[0][0].name if len(todo) == 1 else f"{len(todo)} namespaces"
            iptc = _load()
            forked(f"change the iptables rules of {where}", lambda: _apply_all(iptc, todo))

    def list(self, netns: Path, table: str) -> InstalledRules:
        """Every rule of a table, chain by chain; a table that was never used stays unused."""
        iptc = _load()
        found = forked(f"list the {table} table of {netns.name}", lambda: _list(iptc, netns, table))
        return read_back(rule_text.SavedRule(**rule) for rule in found)

    def clear(self, netns: Path) -> None:
        """Remove every rule and every chain that is not built in, from all tables."""
        iptc = _load()
        forked(f"clear the iptables rules of {netns.name}", lambda: _clear(iptc, netns))


def _load() -> Any:
    try:
        import iptc  # noqa: TID251 - this is its adapter
    except Exception as error:  # it raises whatever comes when libxtables does not suit it
        raise KernelError(f"import python-iptables: {error}", hint="use the backend iptables-restore") from error
    from iptc import xtables  # noqa: TID251

    xtables.xtables._option_lookup = _option_lookup
    return iptc


def _option_lookup(_self: Any, entries: Any, name: bytes) -> Any:
    """Find an option in a table of libxtables.

    From iptables 1.8.11 on an entry has one field more than python-iptables 1.2.0 knows, which then finds the first
    option of a table only. What stands where the second entry's name would be tells: a pointer, or a small number.
    """
    entry = type(entries.contents)
    address = ctypes.addressof(entries.contents)
    size = ctypes.sizeof(entry)
    if (ctypes.c_void_p.from_address(address + size).value or 0) < 0x10000:
        size += ctypes.sizeof(ctypes.c_void_p)
    while ctypes.c_void_p.from_address(address).value:
        found = entry.from_address(address)
        if found.name == name:
            return found
        address += size
    return None


def _enter(netns: Path) -> None:
    fd = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    syscalls.setns(fd)
    os.close(fd)


def _open_table(iptc: Any, name: str) -> Any:
    table = iptc.Table(name, autocommit=False)
    # The singleton still has the handle of the namespace before.
    table.refresh()
    return table


def _apply_all(iptc: Any, work: Sequence[tuple[Path, Sequence[Transaction]]]) -> None:
    for netns, transactions in work:
        _enter(netns)
        by_table: dict[str, list[Transaction]] = {}
        for transaction in transactions:
            by_table.setdefault(transaction.table, []).append(transaction)
        for name, changes in by_table.items():
            try:
                table = _open_table(iptc, name)
                for change in changes:
                    _change(iptc, table, change)
                table.commit()
            except (iptc.IPTCError, iptc.XTablesError) as error:
                raise OSError(_text(error) if len(work) == 1 else f"{netns.name}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return str(error).replace("b'", "").rstrip("'")


def _change(iptc: Any, table: Any, change: Transaction) -> None:
    for chain in change.create_chains:
        if not table.is_chain(chain):
            table.create_chain(chain)
    for chain in (*change.flush_chains, *change.delete_chains):
        if table.is_chain(chain):
            table.flush_entries(chain)
    for rule in change.delete:
        _remove(iptc, table, rule)
    for chain in change.delete_chains:
        if table.is_chain(chain):
            table.delete_chain(chain)
    for rules, position in ((reversed(change.insert), 0), (change.append, None)):
        for rule in rules:
            _add(iptc, table, rule, position)


def _remove(iptc: Any, table: Any, rule: Rule) -> None:
    if not table.is_chain(rule.chain):
        return
    try:
        entry, mask = _encode(iptc, table, rule)
    except iptc.XTablesError:
        # The chain that it jumps to is gone, so it is gone too.
        return
    while _is_there(iptc, table, rule, entry, mask):
        table.delete_entry(rule.chain, entry, mask)


def _add(iptc: Any, table: Any, rule: Rule, position: int | None) -> None:
    if not table.is_chain(rule.chain):
        raise OSError(f"{rule}: no chain {rule.chain} in {rule.table}")
    try:
        entry, mask = _encode(iptc, table, rule)
        if _is_there(iptc, table, rule, entry, mask):
            return
        if position is None:
            table.append_entry(rule.chain, entry)
        else:
            table.insert_entry(rule.chain, entry, position)
    except (iptc.IPTCError, iptc.XTablesError, ValueError, AttributeError) as error:
        raise OSError(f"{rule}: {_text(error)}") from error


def _is_there(iptc: Any, table: Any, rule: Rule, entry: Any, mask: Any) -> bool:
    """What `iptables -C` asks: the library compares the bytes that user space has set."""
    check = iptc.ip4tc._libiptc.iptc_check_entry
    check.restype = ctypes.c_int
    return bool(check(rule.chain.encode(), entry, mask, table._handle))


def _encode(iptc: Any, table: Any, rule: Rule) -> tuple[Any, Any]:
    """The rule as the kernel's structure, and the mask of its bytes that count in a comparison."""
    built = _rule_class(iptc)(table)
    for name, value in (
        ("protocol", rule.protocol),
        ("src", rule.source),
        ("dst", rule.destination),
        ("in_interface", rule.in_interface),
        ("out_interface", rule.out_interface),
    ):
        if value:
            setattr(built, name, value)
    matches = [(match.name, match.options) for match in rule.matches]
    if rule.comment:
        matches.append(("comment", (("comment", rule.comment),)))
    for match_name, options in matches:
        _set_options(built.create_match(match_name), options)
    _set_options(built.create_target(rule.target), rule.target_options)
    return built.rule, built.mask


def _rule_class(iptc: Any) -> Any:
    class _Rule(iptc.Rule):  # type: ignore[misc]
        """A rule that looks for user chains in its own table; the original would bring every table into use."""

        def __init__(self, table: Any) -> None:
            super().__init__()
            self.own_table = table

        @property
        def tables(self) -> list[Any]:
            return [self.own_table]

    return _Rule


def _set_options(module: Any, options: rule_text.Options) -> None:
    for name, value in options:
        sign, rest = rule_text.negation(value) if name not in ("comment", "log-prefix", "nflog-prefix") else ("", value)
        words = rest.split() if name in ("tcp-flags", "match-set") else [rest] if rest else []
        module.set_parameter(name, [sign, *words] if sign else words)
    # The public final_check first prints and parses all options again, and crashes on some; the flags that the check
    # looks at belong to the module, not to this use of it, so it must come before the next use.
    module._final_check()


def _list(iptc: Any, netns: Path, name: str) -> list[dict[str, Any]]:
    _enter(netns)
    if name not in legacy.tables_in_use():
        return []
    table = _open_table(iptc, name)
    return [_decode(name, chain.name, rule) for chain in table.chains for rule in chain.rules]


def _decode(table: str, chain: str, rule: Any) -> dict[str, Any]:
    packets, size = rule.counters
    fields = {
        "source": rule.src.replace("/255.255.255.255", ""),
        "destination": rule.dst.replace("/255.255.255.255", ""),
        "protocol": rule.protocol,
    }
    for field in ("in_interface", "out_interface"):
        if value := getattr(rule, field):
            fields[field] = value
    return {
        "table": table,
        "chain": chain,
        "packets": packets,
        "bytes": size,
        "target": rule.target.standard_target or rule.target.name,
        "target_options": list(_options(rule.target)),
        "matches": [(match.name, list(_options(match))) for match in rule.matches],
        "fields": fields,
    }


def _options(module: Any) -> Iterator[tuple[str, str]]:
    text = module._get_saved_buf(module.rule.get_ip())
    for name, value in rule_text.group_options(rule_text.split_words((text or b"").decode())):
        yield name[2:], value


def _clear(iptc: Any, netns: Path) -> None:
    _enter(netns)
    for name in legacy.tables_in_use():
        table = _open_table(iptc, name)
        chains = [chain.name for chain in table.chains]
        for chain in chains:
            table.flush_entries(chain)
        for chain in chains:
            if not table.builtin_chain(chain):
                table.delete_chain(chain)
        table.commit()
