"""The plan of a lab: pure functions from a topology to operations and jobs."""

from __future__ import annotations

import json
from ipaddress import ip_interface

import pytest

from netlab.kernel.ops import AddAddress, AddRoute, CreateBridge, CreateNamespace, CreateVeth, SetSysctl
from netlab.lab import mesh, plan
from netlab.lab.jobs import ComponentSpec, ProgramSpec, backoff
from netlab.lab.paths import LabPaths
from netlab.topology.addressing import addresses
from netlab.topology.models import Topology

PATHS = LabPaths("demo")


@pytest.fixture(params=[(1, 1), (2, 2), (3, 20)], ids=lambda size: f"{size[0]} routers, {size[1]} cells")
def topology(request):
    routers, cells = request.param
    return Topology(name="demo", routers=routers, cells=cells)


def test_every_object_is_made_in_a_namespace_of_the_lab(topology):
    ops = plan.fabric(addresses(topology), PATHS)
    made = {op.namespace for op in ops if isinstance(op, CreateNamespace)}
    used = {op.namespace for op in ops} | {op.peer_namespace for op in ops if isinstance(op, CreateVeth)}
    assert used == made
    assert all(name.startswith("demo-") for name in made)
    assert len(made) == 6 + topology.routers + topology.cells


def test_no_two_interfaces_of_a_network_share_an_address_or_a_mac(topology):
    ops = plan.fabric(addresses(topology), PATHS)
    given = [op.address for op in ops if isinstance(op, AddAddress) and op.device != "lo"]
    macs = [op.peer_mac for op in ops if isinstance(op, CreateVeth)]
    assert len(set(given)) == len(given)
    assert len(set(macs)) == len(macs)


def test_every_gateway_is_on_a_network_of_its_node(topology):
    ops = plan.fabric(addresses(topology), PATHS)
    for route in (op for op in ops if isinstance(op, AddRoute)):
        networks = [
            ip_interface(op.address).network
            for op in ops
            if isinstance(op, AddAddress) and op.namespace == route.namespace
        ]
        assert any(ip_interface(route.via).ip in network for network in networks), route.describe()


def test_only_the_load_balancer_and_the_cells_forward(topology):
    ops = plan.fabric(addresses(topology), PATHS)
    forwarding = {op.namespace for op in ops if isinstance(op, SetSysctl) and op.key == "net.ipv4.ip_forward"}
    assert forwarding == {"demo-lb", *(f"demo-cell-{n + 1}" for n in range(topology.cells))}


def test_the_bridges_have_no_address(topology):
    ops = plan.fabric(addresses(topology), PATHS)
    assert {op.name for op in ops if isinstance(op, CreateBridge)} == {"public", "deployment"}
    assert not [op for op in ops if isinstance(op, AddAddress) and op.namespace == "demo-fabric"]


def test_each_job_has_a_node_a_name_of_its_own_and_a_configuration_that_is_json(topology, tmp_path):
    where = addresses(topology)
    specs = [
        *mesh.control_plane(topology, where, PATHS, "secret"),
        *mesh.network_services(topology, where, PATHS),
        *mesh.routers(where, PATHS),
        *mesh.reps(topology, where, PATHS, tmp_path),
    ]
    nodes = {"lb", *(vm.name for vm in plan.vms(where))}
    assert {spec.node for spec in specs} <= nodes
    assert len({(spec.node, spec.job) for spec in specs}) == len(specs)
    for spec in specs:
        json.dumps(spec.config)
        if isinstance(spec, ProgramSpec):
            assert spec.uid != 0
        else:
            assert isinstance(spec, ComponentSpec)


def test_the_configurations_are_what_the_components_take():
    from netlab.bbs.config import BbsConfig
    from netlab.capi.config import CapiConfig
    from netlab.copilot.config import CopilotConfig
    from netlab.diego.auctioneer.config import AuctioneerConfig
    from netlab.diego.rep.config import RepConfig
    from netlab.dns.config import DnsConfig
    from netlab.loadbalancer.config import LoadBalancerConfig
    from netlab.pilot.config import PilotConfig

    models = {
        "bbs": BbsConfig,
        "auctioneer": AuctioneerConfig,
        "capi": CapiConfig,
        "copilot": CopilotConfig,
        "pilot": PilotConfig,
        "rep": RepConfig,
        "dns": DnsConfig,
        "load-balancer": LoadBalancerConfig,
    }
    topology = Topology(name="demo")
    where = addresses(topology)
    specs = [
        *mesh.control_plane(topology, where, PATHS, "secret"),
        *mesh.network_services(topology, where, PATHS),
        *mesh.reps(topology, where, PATHS, PATHS.run_dir),
    ]
    for spec in specs:
        models[spec.job].model_validate(spec.config)
    assert {spec.job for spec in specs} == set(models)


def test_backoff_doubles_up_to_a_limit():
    assert [backoff(n) for n in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, 0.8]
    assert backoff(50) == 5.0
