"""What the rules that stand would do to a request, held against what is declared. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netlab.kernel.rules import InstalledRule
from netlab.trace.expected import Declared, Way
from netlab.trace.subject import INGRESS_PORT, Subject
from netlab.trace.walk import Arrival, Translation, translations

ANY_CLIENT_PORT = 32768


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the rules do something else than what is declared."""

    node: str
    cause: str
    hint: str


def gaps(
    subject: Subject, declared: Declared, rules: Mapping[str, Sequence[InstalledRule]], first: str | None
) -> Iterator[Gap]:
    """The differences on the way to each instance, that of the node `first` before the others."""
    yield from _balancer(subject, declared, rules)
    for way in sorted(declared.ways, key=lambda way: way.instance.node != first):
        yield from _cell(subject, declared, way, rules)
        yield from _container(subject, way, rules)


def sidecar_rule(way: Way) -> str:
    """The rule that must stand in a container, in the words of iptables."""
    instance = way.instance
    return (
        f"-t nat -A PREROUTING -p tcp --dport {way.app_port} -j DNAT "
        f"--to-destination {instance.address}:{instance.sidecar_port}"
    )


def described(rule: InstalledRule) -> str:
    """A rule by its place and comment."""
    comment = f" ({rule.rule.comment})" if rule.rule.comment else ""
    return f"rule {rule.number} of chain {rule.rule.chain} in table {rule.rule.table}{comment}"


def _balancer(subject: Subject, declared: Declared, rules: Mapping[str, Sequence[InstalledRule]]) -> Iterator[Gap]:
    node = declared.balancer
    if node not in rules:
        return
    arrival = Arrival(f"{subject.client.address}:{ANY_CLIENT_PORT}", f"{subject.vip}:{INGRESS_PORT}")
    found = translations(rules[node], arrival)
    if not found:
        cause = f"{node} has no rule that sends {subject.vip}:{INGRESS_PORT} to a router: none is in rotation"
        yield Gap(node, cause, f"netlab logs {node} load-balancer; netlab status")
    wanted = {f"{vm.address}:{INGRESS_PORT}" for vm in subject.of_kind("router")}
    for each in found:
        if each.destination not in wanted:
            yield Gap(node, _wrong(node, each, "one of the routers"), f"netlab logs {node} load-balancer")


def _cell(
    subject: Subject, declared: Declared, way: Way, rules: Mapping[str, Sequence[InstalledRule]]
) -> Iterator[Gap]:
    instance = way.instance
    if instance.cell not in rules:
        return
    arrival = Arrival(
        f"{_router_address(subject)}:{ANY_CLIENT_PORT}", f"{instance.cell_address}:{way.host_port}", "eth0"
    )
    wanted = f"{instance.address}:{way.app_port}"
    found = translations(rules[instance.cell], arrival)
    hint = f"netlab logs {instance.cell} rep; a restart of {instance.app_name} makes the rule anew"
    if not found:
        cause = (
            f"{instance.cell} has no rule that sends its port {way.host_port} to {wanted}, which is "
            f"{instance.node} of route {declared.route.url}"
        )
        yield Gap(instance.cell, cause, hint)
    elif found[0].destination != wanted:
        text = _wrong(instance.cell, found[0], f"{wanted} ({instance.node})")
        yield Gap(instance.cell, text, _removal(instance.cell, found[0]))


def _container(subject: Subject, way: Way, rules: Mapping[str, Sequence[InstalledRule]]) -> Iterator[Gap]:
    instance = way.instance
    if instance.node not in rules:
        return
    arrival = Arrival(f"{_router_address(subject)}:{ANY_CLIENT_PORT}", f"{instance.address}:{way.app_port}", "eth0")
    wanted = f"{instance.address}:{instance.sidecar_port}"
    found = translations(rules[instance.node], arrival)
    hint = (
        f"put it back: netlab exec {instance.node} -- iptables-legacy {sidecar_rule(way)}; "
        f"or restart {instance.app_name}"
    )
    if not found:
        cause = (
            f"the sidecar of {instance.node} is not on the path of new connections: no DNAT rule in {instance.node} "
            f"sends app port {way.app_port} to the sidecar's port {instance.sidecar_port}"
        )
        yield Gap(instance.node, cause, hint)
    elif found[0].destination != wanted:
        text = _wrong(instance.node, found[0], f"the sidecar at {wanted}")
        yield Gap(instance.node, text, _removal(instance.node, found[0]))


def _router_address(subject: Subject) -> str:
    return next(iter(subject.of_kind("router")), subject.client).address


def _wrong(node: str, translation: Translation, wanted: str) -> str:
    return f"{described(translation.rule)} on {node} sends to {translation.destination}, not to {wanted}"


def _removal(node: str, translation: Translation) -> str:
    installed = translation.rule
    return f"take it out: netlab exec {node} -- iptables-legacy -t nat -D {installed.rule.chain} {installed.number}"
