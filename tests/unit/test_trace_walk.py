"""What rules would do to a packet."""

import pytest

from netlab.kernel.rules import InstalledRule, Match, Rule
from netlab.trace.walk import Arrival, translations

ARRIVAL = Arrival("10.0.1.1:40000", "10.255.1.2:8080", "eth0")


def dnat(to, chain="PREROUTING", **fields):
    fields.setdefault("protocol", "tcp")
    return Rule("nat", chain, "DNAT", (("to-destination", to),), **fields)


def port(value):
    return Match("tcp", (("dport", value),))


def walk(*rules, arrival=ARRIVAL):
    numbers = {}
    listed = []
    for rule in rules:
        numbers[rule.chain] = numbers.get(rule.chain, 0) + 1
        listed.append(InstalledRule(rule, numbers[rule.chain], 0, 0))
    return [(each.destination, each.certain) for each in translations(listed, arrival)]


def test_the_first_rule_that_matches_wins():
    assert walk(dnat("1.1.1.1:1", matches=(port("80"),)), dnat("2.2.2.2:2"), dnat("3.3.3.3:3")) == [("2.2.2.2:2", True)]


@pytest.mark.parametrize(
    ("fields", "matches"),
    [
        ({"matches": (port("8080"),)}, True),
        ({"matches": (port("8000:9000"),)}, True),
        ({"matches": (port("!8080"),)}, False),
        ({"matches": (Match("multiport", (("dports", "80,8080"),)),)}, True),
        ({"matches": (Match("tcp", (("sport", "1:1023"),)),)}, False),
        ({"protocol": "udp"}, False),
        ({"source": "10.0.0.0/16"}, True),
        ({"source": "!10.0.0.0/16"}, False),
        ({"destination": "10.255.1.3"}, False),
        ({"in_interface": "eth0"}, True),
        ({"in_interface": "eth+"}, True),
        ({"in_interface": "lo"}, False),
        ({"matches": (Match("conntrack", (("ctstate", "NEW"),)),)}, True),
        ({"matches": (Match("conntrack", (("ctstate", "ESTABLISHED"),)),)}, False),
        ({"matches": (Match("statistic", (("mode", "nth"), ("every", "2"))),)}, None),
        ({"matches": (Match("owner", (("uid-owner", "0"),)),)}, None),
    ],
)
def test_matches(fields, matches):
    expected = {True: [("9.9.9.9:9", True)], False: [], None: [("9.9.9.9:9", False)]}
    assert walk(dnat("9.9.9.9:9", **fields)) == expected[matches]


def test_a_statistic_match_leaves_the_next_rule_open():
    nth = Match("statistic", (("mode", "nth"), ("every", "2")))
    assert walk(dnat("1.1.1.1:1", matches=(nth,)), dnat("2.2.2.2:2")) == [("1.1.1.1:1", False), ("2.2.2.2:2", True)]


def test_chains_are_followed_and_returned_from():
    jump = Rule("nat", "PREROUTING", "MINE")
    back = Rule("nat", "MINE", "RETURN", protocol="tcp", matches=(port("2222"),))
    mine = dnat("1.1.1.1:1", "MINE", matches=(port("8080"),))
    assert walk(jump, back, mine, dnat("2.2.2.2:2")) == [("1.1.1.1:1", True)]
    ssh = Arrival("10.0.1.1:40000", "10.255.1.2:2222")
    assert walk(jump, back, mine, dnat("2.2.2.2:2"), arrival=ssh) == [("2.2.2.2:2", True)]


def test_accept_ends_it_and_logging_does_not():
    assert walk(Rule("nat", "PREROUTING", "LOG"), dnat("1.1.1.1:1")) == [("1.1.1.1:1", True)]
    assert walk(Rule("nat", "PREROUTING", "ACCEPT"), dnat("1.1.1.1:1")) == []


def test_redirect_and_a_target_without_port():
    redirect = Rule("nat", "PREROUTING", "REDIRECT", (("to-ports", "15001"),), protocol="tcp")
    assert walk(redirect) == [("10.255.1.2:15001", True)]
    assert walk(dnat("1.1.1.1")) == [("1.1.1.1:8080", True)]


def test_other_tables_and_a_loop_of_chains_change_nothing():
    loop = (Rule("nat", "PREROUTING", "A"), Rule("nat", "A", "B"), Rule("nat", "B", "A"))
    assert walk(*loop) == []
    assert walk(Rule("filter", "PREROUTING", "DNAT", (("to-destination", "1.1.1.1:1"),))) == []
