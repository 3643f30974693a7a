"""Rules through iptables-restore and iptables-save, on nftables or on the legacy tables."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from netlab.errors import KernelError, MachineError
from netlab.kernel import legacy, nft, rule_text
from netlab.kernel import netns as namespaces
from netlab.kernel.rules import InstalledRules, Rule, Transaction, read_back

_PROGRAMS = {
    "iptables-legacy-restore": ("iptables-legacy-restore", "iptables-legacy-save"),
    "iptables-nft-restore": ("iptables-nft-restore", "iptables-nft-save"),
}
_SEARCH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


Chains: TypeAlias = dict[str, list[str]]


class RestoreBackend:
    """See `netlab.kernel.rules.RuleBackend`; `name` is a key of the programs above."""

    def __init__(self, name: str) -> None:
        self.name = name
        programs = [shutil.which(program, path=_SEARCH) for program in _PROGRAMS[name]]
        if programs[0] is None or programs[1] is None:
            raise MachineError(f"{name} is not installed", hint="install the package iptables")
        self._restore, self._save = programs[0], programs[1]

    def apply(self, netns: Path, *transactions: Transaction) -> None:
        """Make the changes, with one commit for each table."""
        self.apply_all([(netns, transactions)])

    def apply_all(self, work: Iterable[tuple[Path, Sequence[Transaction]]]) -> None:
        """Make the changes in many namespaces, two at a time: each waits for a program most of its time."""
        merged: dict[Path, list[Transaction]] = {}
        for path, transactions in work:
            merged.setdefault(path, []).extend(transactions)
        todo = [(path, transactions) for path, transactions in merged.items() if transactions]
        shares = [share for share in (todo[0::2], todo[1::2]) if share]
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="netlab-rules") as pool:
            for done in [pool.submit(self._apply_share, share) for share in shares]:
                done.result()

    def list(self, netns: Path, table: str) -> InstalledRules:
        """Every rule of a table, chain by chain; a table that was never used stays unused."""

        def run() -> InstalledRules:
            with namespaces.entered(netns):
                return self._read(netns.name)[1]

        return [found for found in namespaces.in_thread(run) if found.rule.table == table]

    def clear(self, netns: Path) -> None:
        """Remove every rule and every chain that is not built in, from all tables."""

        def run() -> None:
            with namespaces.entered(netns):
                chains, _ = self._read(netns.name)
                text = "".join(f"*{table}\n-F\n-X\nCOMMIT\n" for table in chains)
                self._run([self._restore, "--noflush", "-w"], f"clear the iptables rules of {netns.name}", text)

        namespaces.in_thread(run)

    def _apply_share(self, work: Iterable[tuple[Path, Sequence[Transaction]]]) -> None:
        for path, transactions in work:
            with namespaces.entered(path):
                self._apply_here(path.name, transactions)

    def _apply_here(self, name: str, transactions: Sequence[Transaction]) -> None:
        chains, present = self._read(name)
        text = ""
        for table in dict.fromkeys(transaction.table for transaction in transactions):
            state = _Table(chains.get(table, ()), [found.rule for found in present if found.rule.table == table])
            lines = [line for change in transactions if change.table == table for line in _lines(change, state)]
            if lines:
                text += "\n".join([f"*{table}", *lines, "COMMIT", ""])
        if text:
            self._run([self._restore, "--noflush", "-w"], f"change the iptables rules of {name}", text)

    def _read(self, name: str) -> tuple[Chains, InstalledRules]:
        if not self._in_use():
            return {}, []
        text = self._run([self._save, "-c"], f"list the iptables rules of {name}")
        chains, saved = rule_text.parse_saved(text)
        return chains, read_back(saved)

    def _in_use(self) -> bool:
        """Whether the calling thread's namespace has any table; asking the kernel is much cheaper than a program."""
        return bool(legacy.tables_in_use()) if "legacy" in self.name else nft.has_tables()

    def _run(self, argv: Sequence[str], what: str, text: str = "") -> str:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try ")]
            raise KernelError(f"{what}: {'; '.join(lines[:2])}{_line_at_fault(lines, text)}")
        return done.stdout


def _line_at_fault(messages: Iterable[str], text: str) -> str:
    lines = text.splitlines()
    for message in messages:
        found = re.search(r"\bline:? (\d+)", message)
        if found and 0 < int(found[1]) <= len(lines):
            return f" ({lines[int(found[1]) - 1]})"
    return ""


class _Table:
    """What a table holds, kept up to date while the lines of a transaction are written."""

    def __init__(self, chains: Iterable[str], rules: Iterable[Rule]) -> None:
        self.chains = set(chains)
        self.rules = Counter(rules)

    def empty(self, chain: str) -> None:
        self.rules = Counter({rule: count for rule, count in self.rules.items() if rule.chain != chain})


def _lines(change: Transaction, table: _Table) -> list[str]:
    lines: list[str] = []
    for chain in change.create_chains:
        if chain not in table.chains:
            table.chains.add(chain)
            lines.append(f":{chain} - [0:0]")
    for chain in (*change.flush_chains, *change.delete_chains):
        if chain in table.chains:
            table.empty(chain)
            lines.append(f"-F {chain}")
    for rule in change.delete:
        lines += [_line("-D", rule)] * table.rules.pop(rule, 0)
    for chain in change.delete_chains:
        if chain in table.chains:
            table.chains.discard(chain)
            lines.append(f"-X {chain}")
    for command, rules in (("-I", reversed(change.insert)), ("-A", change.append)):
        for rule in rules:
            if rule not in table.rules:
                table.rules[rule] = 1
                lines.append(_line(command, rule))
    return lines


def _line(command: str, rule: Rule) -> str:
    return " ".join([command, rule.chain, *map(rule_text.quote, rule.specification())])


@functools.cache
def best() -> RestoreBackend:
    """The programs for the tables that this kernel has: legacy ones if it has them, else nftables."""
    if legacy.available() and shutil.which("iptables-legacy-restore", path=_SEARCH):
        return RestoreBackend("iptables-legacy-restore")
    return RestoreBackend("iptables-nft-restore")
