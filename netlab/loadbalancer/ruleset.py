"""From the routers in rotation to the rules that spread connections over them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netlab.kernel.rules import Match, Rule, Transaction
from netlab.loadbalancer.config import LoadBalancerConfig, Router

CHAIN = "NETLAB-LB"
HAIRPIN_CHAIN = "NETLAB-LB-HAIRPIN"
API_PORT = 443


def rules(config: LoadBalancerConfig, healthy: Iterable[Router]) -> tuple[Rule, ...]:
    """The rules of the load balancer's chain, in order.

    Each router in turn takes every n-th new connection of those that are left, and the last one takes the rest.
    Without a healthy router there is none for the mesh's address, so the kernel refuses its connections.
    """
    return (*_mesh(config, tuple(healthy)), *_system(config))


def transaction(config: LoadBalancerConfig, healthy: Iterable[Router]) -> Transaction:
    """Replace the rules at once: a connection meets the old ones or the new ones, never none."""
    chains = (CHAIN, HAIRPIN_CHAIN) if config.hairpin_network else (CHAIN,)
    return Transaction(
        table="nat",
        create_chains=chains,
        flush_chains=chains,
        append=(*_jumps(config), *rules(config, healthy), *_hairpin(config)),
    )


def _mesh(config: LoadBalancerConfig, healthy: tuple[Router, ...]) -> Iterator[Rule]:
    for port in config.port_map:
        for position, router in enumerate(healthy):
            left = len(healthy) - position
            nth = Match("statistic", (("mode", "nth"), ("every", str(left)), ("packet", "0")))
            yield Rule(
                table="nat",
                chain=CHAIN,
                protocol="tcp",
                destination=config.vip,
                matches=(Match("tcp", (("dport", str(port.listen)),)), *((nth,) if left > 1 else ())),
                target="DNAT",
                target_options=(("to-destination", f"{router.address}:{port.target}"),),
                comment=f"netlab: lb {config.vip}:{port.listen} → {router.name}",
            )


def _system(config: LoadBalancerConfig) -> Iterator[Rule]:
    if config.system_vip and config.api_address:
        yield Rule(
            table="nat",
            chain=CHAIN,
            protocol="tcp",
            destination=config.system_vip,
            matches=(Match("tcp", (("dport", str(API_PORT)),)),),
            target="DNAT",
            target_options=(("to-destination", f"{config.api_address}:{API_PORT}"),),
            comment=f"netlab: lb {config.system_vip}:{API_PORT} → api",
        )


def _jumps(config: LoadBalancerConfig) -> Iterator[Rule]:
    yield Rule(table="nat", chain="PREROUTING", target=CHAIN, comment="netlab: lb")
    if config.hairpin_network:
        yield Rule(table="nat", chain="POSTROUTING", target=HAIRPIN_CHAIN, comment="netlab: lb hairpin")


def _hairpin(config: LoadBalancerConfig) -> Iterator[Rule]:
    if config.hairpin_network:
        yield Rule(
            table="nat",
            chain=HAIRPIN_CHAIN,
            source=config.hairpin_network,
            destination=config.hairpin_network,
            matches=(Match("conntrack", (("ctstate", "DNAT"),)),),
            target="MASQUERADE",
            comment="netlab: lb hairpin",
        )
