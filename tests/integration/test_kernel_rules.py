"""Every rule backend does the same to the same kernel."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from netlab.errors import KernelError, MachineError
from netlab.kernel import netns, rules
from netlab.kernel.rules import InstalledRule, Match, Rule, RuleBackend, Transaction
from tests.integration.workplace import Workplace, workplace

pytestmark = pytest.mark.root
__all__ = ["workplace"]

BACKENDS = ("iptc", "iptables-legacy-restore", "iptables-nft-restore")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> RuleBackend:
    try:
        return rules.backend(request.param)
    except MachineError as error:
        pytest.skip(error.message)


def tcp(port: int) -> tuple[Match, ...]:
    return (Match("tcp", (("dport", str(port)),)),)


def dnat(to: str, port: int, **fields: str) -> Rule:
    return Rule("nat", "PREROUTING", "DNAT", (("to-destination", to),), protocol="tcp", matches=tcp(port), **fields)


RULES = {
    "dnat": dnat("10.255.1.2:8080", 61000, destination="10.0.2.1", comment="app hello/0: host port"),
    "masquerade": Rule("nat", "POSTROUTING", "MASQUERADE", source="10.255.1.0/24", destination="!10.255.0.0/16"),
    "redirect": Rule(
        "nat", "OUTPUT", "REDIRECT", (("to-ports", "15001"),), protocol="tcp", out_interface="!lo", matches=tcp(80)
    ),
    "return": Rule(
        "nat", "PREROUTING", "RETURN", protocol="tcp", matches=(Match("multiport", (("dports", "2222,15000:15010"),)),)
    ),
    "reject": Rule("filter", "FORWARD", "REJECT", in_interface="eth+"),
    "reject_tcp": Rule(
        "filter",
        "FORWARD",
        "REJECT",
        (("reject-with", "tcp-reset"),),
        protocol="tcp",
        matches=(Match("tcp", (("syn", ""),)),),
    ),
    "nth": Rule(
        "nat",
        "PREROUTING",
        "DNAT",
        (("to-destination", "10.0.1.1:80"),),
        protocol="tcp",
        matches=(*tcp(80), Match("statistic", (("mode", "nth"), ("every", "3"), ("packet", "1")))),
    ),
    "random": Rule(
        "nat",
        "PREROUTING",
        "DNAT",
        (("to-destination", "10.0.1.2:80"),),
        protocol="tcp",
        matches=(*tcp(80), Match("statistic", (("mode", "random"), ("probability", "0.333")))),
    ),
    "conntrack": Rule(
        "filter", "FORWARD", "ACCEPT", matches=(Match("conntrack", (("ctstate", "ESTABLISHED,RELATED"),)),)
    ),
    "not_conntrack": Rule("filter", "FORWARD", "DROP", matches=(Match("conntrack", (("ctstate", "!NEW"),)),)),
    "mark": Rule("filter", "INPUT", "DROP", protocol="!udp", matches=(Match("mark", (("mark", "0x5/0xff"),)),)),
    "set_mark": Rule("mangle", "PREROUTING", "MARK", (("set-mark", "7"),), protocol="udp"),
    "owner": Rule("filter", "OUTPUT", "ACCEPT", matches=(Match("owner", (("uid-owner", "1337"),)),)),
    "longest_comment": Rule("filter", "INPUT", "ACCEPT", comment="x y" * 85),
    "odd_comment": Rule("filter", "INPUT", "ACCEPT", comment='--jump "DROP" \\ ! it\'s $HOME; `ü`'),
    "user_chain": Rule("filter", "INPUT", "netlab-in", comment="jump"),
    "in_user_chain": Rule("filter", "netlab-in", "RETURN", source="192.0.2.0/24"),
}


def transactions() -> list[Transaction]:
    return [
        Transaction(
            table,
            create_chains=("netlab-in",) if table == "filter" else (),
            append=tuple(rule for rule in RULES.values() if rule.table == table),
        )
        for table in ("nat", "filter", "mangle")
    ]


def listed(backend: RuleBackend, path: Path) -> list[InstalledRule]:
    return [item for table in rules.TABLES for item in backend.list(path, table)]


def test_what_is_read_back_is_what_was_applied(backend: RuleBackend, workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    assert listed(backend, path) == []
    for _ in range(2):
        backend.apply(path, *transactions())
        found = [item.rule for item in listed(backend, path)]
        assert sorted(map(str, found)) == sorted(map(str, RULES.values()))
        assert set(found) == set(RULES.values())
    in_order = [item.rule for item in backend.list(path, "nat") if item.rule.chain == "PREROUTING"]
    assert in_order == [rule for rule in RULES.values() if (rule.table, rule.chain) == ("nat", "PREROUTING")]
    backend.clear(path)
    assert listed(backend, path) == []
    backend.apply(path, Transaction("filter", create_chains=("netlab-in",)))


def test_changes(backend: RuleBackend, workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    first, second, third, fourth = (dnat(f"10.0.0.{n}:80", 80 + n, comment=f"rule {n}") for n in range(1, 5))
    backend.apply(path, Transaction("nat", append=(second, second)))
    backend.apply(path, Transaction("nat", insert=(first, second), append=(third,)))

    def now() -> list[tuple[int, Rule]]:
        return [(item.number, item.rule) for item in backend.list(path, "nat")]

    assert now() == [(1, first), (2, second), (3, third)]
    backend.apply(
        path, Transaction("nat", insert=(fourth,), delete=(second, fourth)), Transaction("nat", delete=(first,))
    )
    assert now() == [(1, fourth), (2, third)]
    backend.apply(path, Transaction("nat", flush_chains=("PREROUTING", "no-such-chain"), append=(first, second)))
    assert now() == [(1, first), (2, second)]


def test_user_chains(backend: RuleBackend, workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    jump = Rule("nat", "PREROUTING", "mesh")
    inside = Rule("nat", "mesh", "ACCEPT", protocol="tcp")
    for _ in range(2):
        backend.apply(path, Transaction("nat", create_chains=("mesh",), append=(jump, inside)))
        assert [item.rule for item in backend.list(path, "nat")] == [jump, inside]
    for _ in range(2):
        backend.apply(path, Transaction("nat", delete=(jump,), delete_chains=("mesh",)))
        assert backend.list(path, "nat") == []


def test_a_failure_changes_nothing_in_its_table(backend: RuleBackend, workplace: Workplace) -> None:
    (path,) = workplace.create("one")
    good = dnat("10.0.0.1:80", 80, comment="good")
    for bad in (Rule("nat", "no-such-chain", "ACCEPT"), dnat("10.0.0.999:80", 80)):
        with pytest.raises(KernelError, match=r"change the iptables rules of .*-one: ") as caught:
            backend.apply(path, Transaction("nat", append=(good, bad)))
        assert "\n" not in caught.value.message
        assert str(bad).removeprefix("-t nat ") in caught.value.message
        assert backend.list(path, "nat") == []


def test_namespaces_keep_to_themselves(backend: RuleBackend, workplace: Workplace) -> None:
    paths = workplace.create(*map(str, range(6)))
    wanted = {path: dnat(f"10.0.0.{number}:80", 80) for number, path in enumerate(paths)}
    work = [(path, [Transaction("nat", append=(rule,))]) for path, rule in wanted.items()]
    backend.apply_all([*work, *work])
    for path, rule in wanted.items():
        assert [item.rule for item in backend.list(path, "nat")] == [rule]
    assert threading.active_count() == 1


def test_a_namespace_can_be_dropped_afterwards(backend: RuleBackend, workplace: Workplace) -> None:
    """Nothing in this process may hold on to a namespace whose rules it changed."""
    workplace.line()
    backend.apply(workplace.path("server"), Transaction("nat", append=(dnat("10.2.0.2:1", 80),)))
    backend.list(workplace.path("server"), "nat")
    with netns.entered(workplace.path("router")):
        watch = link_removals()
    with watch:
        netns.delete(workplace.name("server"), workplace.directory)
        assert watch.recv(4096)


def link_removals() -> socket.socket:
    watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    watch.bind((0, 1))
    watch.settimeout(10)
    return watch


def test_connections_are_translated_and_counted(backend: RuleBackend, workplace: Workplace) -> None:
    workplace.line()
    router, server = workplace.path("router"), workplace.path("server")
    lb = Rule(
        "nat",
        "PREROUTING",
        "DNAT",
        (("to-destination", "10.2.0.2:8080"),),
        protocol="tcp",
        destination="10.1.0.1",
        matches=tcp(80),
        comment="lb",
    )
    backend.apply(
        router,
        Transaction("nat", append=(lb, Rule("nat", "POSTROUTING", "MASQUERADE", out_interface="right"))),
        Transaction("filter", append=(RULES["conntrack"], Rule("filter", "FORWARD", "REJECT", destination="10.2.0.9"))),
    )
    backend.apply(server, Transaction("nat", append=(dnat("10.2.0.2:15001", 8080, in_interface="eth0"),)))
    with netns.entered(server):
        listener = socket.create_server(("0.0.0.0", 15001))
    with listener:
        for _ in range(3):
            with netns.entered(workplace.path("client")):
                client = socket.create_connection(("10.1.0.1", 80), timeout=5)
            connection, peer = listener.accept()
            assert peer[0] == "10.2.0.1"
            client.close()
            connection.close()
    assert [item.packets for item in backend.list(router, "nat") if item.rule == lb] == [3]
    assert [item.bytes for item in backend.list(router, "nat") if item.rule == lb] == [180]
    # An unrelated change keeps the counters.
    backend.apply(router, Transaction("nat", append=(dnat("10.2.0.2:1", 81),)))
    assert [item.packets for item in backend.list(router, "nat") if item.rule == lb] == [3]
    with netns.entered(workplace.path("client")), pytest.raises(ConnectionRefusedError):
        socket.create_connection(("10.2.0.9", 80), timeout=5)


def test_the_machine_has_a_backend(workplace: Workplace) -> None:
    assert rules.backend().name in BACKENDS
    assert rules.backend("iptables-restore").name in BACKENDS[1:]


@pytest.fixture(autouse=True)
def _no_descriptor_is_left() -> Iterator[None]:
    # The first use imports python-iptables, which opens what it needs for good.
    for name in ("iptc", None):
        try:
            rules.backend(name)
        except MachineError:
            continue
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before
