import random
from pathlib import Path

import pytest

from netlab.loadbalancer import ruleset
from netlab.loadbalancer.config import LoadBalancerConfig, PortMapping, Router
from netlab.loadbalancer.health import Health, pause

ROUTERS = tuple(Router(name=f"router-{n}", address=f"10.0.1.{n}") for n in (1, 2, 3))
CONFIG = LoadBalancerConfig(
    namespace_path=Path("/run/netlab/x/ns/x-lb"),
    vip="203.0.113.10",
    routers=ROUTERS,
    system_vip="203.0.113.11",
    api_address="10.0.0.10",
)


def mesh_rules(healthy):
    return [rule for rule in ruleset.rules(CONFIG, healthy) if rule.destination == CONFIG.vip]


def test_rules_in_the_words_of_iptables():
    words = [rule.specification() for rule in ruleset.rules(CONFIG, ROUTERS[:2])]
    assert [" ".join(rule).partition(" -m comment --comment ") for rule in words] == [
        (before, " -m comment --comment ", f"netlab: lb {after}")
        for before, after in (
            (
                "-d 203.0.113.10 -p tcp -m tcp --dport 80 -m statistic --mode nth --every 2 --packet 0",
                "203.0.113.10:80 → router-1 -j DNAT --to-destination 10.0.1.1:80",
            ),
            (
                "-d 203.0.113.10 -p tcp -m tcp --dport 80",
                "203.0.113.10:80 → router-2 -j DNAT --to-destination 10.0.1.2:80",
            ),
            (
                "-d 203.0.113.11 -p tcp -m tcp --dport 443",
                "203.0.113.11:443 → api -j DNAT --to-destination 10.0.0.10:443",
            ),
        )
    ]


def test_no_healthy_router_means_no_rule_for_the_mesh():
    assert mesh_rules([]) == []
    assert len(ruleset.rules(CONFIG, [])) == 1


def test_each_router_gets_the_same_share():
    """Walk the rules as the kernel does: each nth rule counts the packets that reach it."""
    rules = mesh_rules(ROUTERS)
    counters = [0] * len(rules)
    hits = dict.fromkeys(range(len(rules)), 0)
    for _ in range(300):
        for number, rule in enumerate(rules):
            options = {k: v for match in rule.matches if match.name == "statistic" for k, v in match.options}
            if options:
                hit = counters[number] % int(options["every"]) == int(options["packet"])
                counters[number] += 1
                if not hit:
                    continue
            hits[number] += 1
            break
    assert set(hits.values()) == {100}


def test_each_port_is_mapped():
    ports = (PortMapping(listen=80, target=8080), PortMapping(listen=443, target=8443))
    config = CONFIG.model_copy(update={"port_map": ports})
    targets = [dict(rule.target_options)["to-destination"] for rule in ruleset.rules(config, ROUTERS[:1])]
    assert targets == ["10.0.1.1:8080", "10.0.1.1:8443", "10.0.0.10:443"]


def test_a_transaction_replaces_the_chain_and_keeps_client_addresses():
    made = ruleset.transaction(CONFIG, ROUTERS)
    assert made.flush_chains == made.create_chains == (ruleset.CHAIN,)
    assert {rule.target for rule in made.append} == {ruleset.CHAIN, "DNAT"}


def test_connections_from_behind_the_load_balancer_are_masqueraded():
    made = ruleset.transaction(CONFIG.model_copy(update={"hairpin_network": "10.0.0.0/16"}), ROUTERS)
    masquerade = [rule for rule in made.append if rule.target == "MASQUERADE"]
    assert [rule.source for rule in masquerade] == ["10.0.0.0/16"]


def run_checks(results, healthy=False, up=1, down=2):
    health = Health(healthy)
    states = []
    for result in results:
        health = health.after(result, healthy_threshold=up, unhealthy_threshold=down)
        states.append(health.healthy)
    return states


def test_thresholds():
    assert run_checks([True]) == [True]
    assert run_checks([False, False, True], healthy=True) == [True, False, True]
    assert run_checks([False, True, False, True, False], healthy=True) == [True] * 5
    assert run_checks([True, True, False, True, True, True], up=3) == [False] * 5 + [True]


@pytest.mark.parametrize("seed", range(20))
def test_state_changes_only_after_enough_equal_checks(seed):
    draw = random.Random(seed)
    results = [draw.random() < 0.5 for _ in range(50)]
    states = run_checks(results, up=2, down=3)
    for n in range(1, 50):
        if states[n] != states[n - 1]:
            need = 2 if states[n] else 3
            assert results[n - need + 1 : n + 1] == [states[n]] * need


def test_a_doubted_router_is_asked_sooner():
    assert pause(Health(True), 0, 0.5) == 0.5
    assert pause(Health(True, 1), 1, 0.5) < 0.2
    assert pause(Health(False), 1, 0.5) < 0.05
    assert pause(Health(False), 1000, 0.5) == 0.5
