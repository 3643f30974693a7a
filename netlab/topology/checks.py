"""What must hold between the fields of a topology, beyond what each field says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Network
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netlab.topology.models import Addressing, App, Topology

Place = tuple[str | int, ...]
"""Where in the file: keys and list indices from the top."""
Contradiction = tuple[Place, str]

PUBLIC_PREFIX, DEPLOYMENT_PREFIX, VIP_PREFIX = 25, 22, 24
"""Longest prefixes of networks that hold the fixed addresses of `netlab.topology.addressing`."""
CONTAINERS_PER_CELL = 253
"""Containers that a cell's /24 holds: .2 to .254."""

NODE_NAMES = ("client", "lb", "gorouter-lb", "control", "api", "uaa", "diego-api", "nats", "fabric")
_NUMBERED = re.compile(r"(router|gorouter|cell)(-[0-9]+)?")

_RESERVED = (
    (IPv4Network("169.254.0.0/16"), "the link-local network, which the containers' gateway and DNS use"),
    (IPv4Network("224.0.0.0/3"), "multicast and reserved addresses"),
    (IPv4Network("0.0.0.0/8"), "reserved addresses"),
)
_LOOPBACK = IPv4Network("127.0.0.0/8")


def contradictions(topology: Topology) -> list[Contradiction]:
    """Every violation of a rule between fields, in the order of the file's fields."""
    return [
        *_domains(topology),
        *_apps(topology),
        *_networks(topology.addressing),
        *_sizes(topology),
    ]


def _inside(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)


def _domains(topology: Topology) -> Iterator[Contradiction]:
    for index, domain in enumerate(topology.istio_domains):
        place: Place = ("istio_domains", index)
        if domain in topology.istio_domains[:index]:
            yield place, f"{domain} is listed twice; remove one"
        if _inside(domain, topology.system_domain) or _inside(topology.system_domain, domain):
            yield place, f"{domain} and the system domain {topology.system_domain} lie one in the other; separate them"


def is_node_name(name: str) -> bool:
    """Whether a lab has, or may have, a VM of this name, or VMs whose names begin so."""
    return name in NODE_NAMES or _NUMBERED.fullmatch(name) is not None


def _apps(topology: Topology) -> Iterator[Contradiction]:
    names: set[str] = set()
    for index, app in enumerate(topology.apps):
        name: Place = ("apps", index, "name")
        if is_node_name(app.name):
            yield name, f"{app.name} is a name of the lab's own VMs; choose another"
        if app.name in names:
            yield name, f"{app.name} is another app's name already; each needs its own"
        names.add(app.name)
        if app.directory is not None and app.command is None:
            yield ("apps", index, "directory"), "a folder needs a command that runs in it; add command"
        yield from _routes(topology, index, app)


def _routes(topology: Topology, index: int, app: App) -> Iterator[Contradiction]:
    for number, route in enumerate(app.routes):
        place: Place = ("apps", index, "routes", number)
        host = route.partition("/")[0]
        domain = host.partition(".")[2]
        if domain not in topology.istio_domains:
            known = ", ".join(topology.istio_domains)
            inside = next((d for d in topology.istio_domains if _inside(host, d)), None)
            if inside is not None:
                yield place, f"{route} needs exactly one label before {inside}"
            else:
                yield place, f"{domain} is not among istio_domains ({known}); add it there or use one of them"
        if route in app.routes[:number]:
            yield place, f"{route} is listed twice for {app.name}; remove one"


def _networks(addressing: Addressing) -> Iterator[Contradiction]:
    networks = {
        "public": addressing.public,
        "deployment": addressing.deployment,
        "overlay": addressing.overlay,
        "internal_vips": addressing.internal_vips,
    }
    for name, network in networks.items():
        for reserved, what in _RESERVED:
            if network.overlaps(reserved):
                yield ("addressing", name), f"{network} overlaps {reserved}, {what}; choose another"
        if name != "internal_vips" and network.overlaps(_LOOPBACK):
            yield ("addressing", name), f"{network} overlaps {_LOOPBACK}, the loopback network; choose another"
    for (one, first), (two, second) in combinations(networks.items(), 2):
        if first.overlaps(second):
            yield ("addressing", two), f"{second} overlaps {one} {first}; choose networks that are apart"
    limits = {"public": PUBLIC_PREFIX, "deployment": DEPLOYMENT_PREFIX, "internal_vips": VIP_PREFIX}
    for name, limit in limits.items():
        if networks[name].prefixlen > limit:
            yield ("addressing", name), f"{networks[name]} is too small; use a /{limit} or larger"
    ports = addressing.host_ports
    if (last := ports.start + ports.count - 1) > 65535:
        most = 65536 - ports.start
        yield (
            ("addressing", "host_ports"),
            f"ports {ports.start} to {last} go beyond 65535; use a count of at most {most}, or a lower start",
        )


def _sizes(topology: Topology) -> Iterator[Contradiction]:
    overlay, ports = topology.addressing.overlay, topology.addressing.host_ports
    room = max(2 ** (24 - overlay.prefixlen) - 1, 0) if overlay.prefixlen <= 24 else 0
    if topology.cells > room:
        prefix = 24 - topology.cells.bit_length()
        yield (
            ("addressing", "overlay"),
            f"{overlay} holds {room} cells of a /24 each, not {topology.cells}; use a /{prefix} or larger",
        )
    instances = sum(app.instances for app in topology.apps)
    share = -(-instances // topology.cells)
    if share > CONTAINERS_PER_CELL:
        most = CONTAINERS_PER_CELL * topology.cells
        yield (
            ("apps",),
            f"{instances} instances do not fit {topology.cells} cells, which hold {most}; use more cells",
        )
    elif share > ports.count:
        yield (
            ("addressing", "host_ports"),
            f"{instances} instances need {share} host ports a cell, not {ports.count}; raise count or use more cells",
        )
