"""Addresses follow from the topology alone, and no two things of a lab share one."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from netlab.topology.addressing import addresses
from netlab.topology.models import Addressing, App, Topology


def test_the_default_addresses() -> None:
    where = addresses(Topology(name="x"))
    assert (where.lb_public, where.vip, where.system_vip, where.client) == (
        "203.0.113.1", "203.0.113.10", "203.0.113.11", "203.0.113.100",
    )  # fmt: skip
    assert (where.lb_deployment, where.api, where.diego_api, where.control) == (
        "10.0.0.1", "10.0.0.10", "10.0.0.11", "10.0.0.12",
    )  # fmt: skip
    assert [(router.name, router.address) for router in where.routers] == [
        ("router-1", "10.0.1.1"), ("router-2", "10.0.1.2"),
    ]  # fmt: skip
    assert [(cell.name, cell.address, cell.overlay_subnet) for cell in where.cells] == [
        ("cell-1", "10.0.2.1", "10.255.1.0/24"), ("cell-2", "10.0.2.2", "10.255.2.0/24"),
    ]  # fmt: skip
    assert where.on_public(where.client) == "203.0.113.100/24"
    assert where.on_deployment(where.control) == "10.0.0.12/16"


def network(first_octet: int, longest: int) -> st.SearchStrategy[IPv4Network]:
    """Networks of 10.0.0.0/8 whose second octet begins at a multiple of 64, so that four never overlap."""
    return st.integers(10, longest).flatmap(
        lambda prefix: st.integers(0, 2 ** (prefix - 10) - 1).map(
            lambda index: IPv4Network((0x0A000000 + first_octet * 2**16 + index * 2 ** (32 - prefix), prefix))
        )
    )


@given(
    routers=st.integers(1, 254),
    cells=st.integers(1, 254),
    public=network(0, 25),
    deployment=network(64, 22),
    overlay=network(128, 16),
)
def test_all_addresses_differ_and_lie_in_their_networks(
    routers: int, cells: int, public: IPv4Network, deployment: IPv4Network, overlay: IPv4Network
) -> None:
    addressing = Addressing(public=public, deployment=deployment, overlay=overlay)
    where = addresses(Topology(name="x", routers=routers, cells=cells, addressing=addressing))
    on_public = [where.lb_public, where.vip, where.system_vip, where.client]
    on_deployment = [where.lb_deployment, where.api, where.diego_api, where.control]
    on_deployment += [node.address for node in (*where.routers, *where.cells)]
    assert len(set(on_public)) == 4
    assert len(set(on_deployment)) == 4 + routers + cells
    for network, texts in ((public, on_public), (deployment, on_deployment)):
        for text in texts:
            address = IPv4Address(text)
            assert address in network
            assert address not in (network.network_address, network.broadcast_address)
    subnets = [IPv4Network(cell.overlay_subnet) for cell in where.cells]
    assert len(set(subnets)) == cells
    assert all(subnet.subnet_of(overlay) for subnet in subnets)


def test_contradictions_are_found_without_a_file() -> None:
    with pytest.raises(ValidationError, match="web is another app's name"):
        Topology(name="x", apps=(App(name="web"), App(name="web")))


def test_memory_in_mebibytes() -> None:
    assert [App(name="a", memory=text).memory_mb for text in (None, "64M", "64MB", "2G", "1GB")] == [
        None, 64, 64, 2048, 1024,
    ]  # fmt: skip
