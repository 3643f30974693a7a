"""From a topology to the lab's jobs: which component runs on which VM, and how each is configured. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netlab.envoy import bootstrap, launch
from netlab.lab.jobs import ComponentSpec, JobSpec, ProgramSpec
from netlab.lab.paths import LabPaths
from netlab.tls import TlsFiles
from netlab.topology.addressing import CELL_DNS, LabAddresses
from netlab.topology.models import Topology

ENVOY_UID = 1337
"""The user every Envoy runs as; Istio's own choice for its proxy."""
COPILOT_CC, COPILOT_VIP, COPILOT_MCP = 9001, 9002, 9009
PILOT_ADS, PILOT_HTTP = 15010, 8080
BBS, BBS_HEALTH = 8889, 8890
AUCTIONEER = 9016
REP = 1801
CAPI = 443
DNS = 53

PRELOAD_FIRST: dict[str, tuple[str, ...]] = {
    "host": ("netlab.lab.groundwork",),
    "control": ("netlab.bbs.job", "netlab.diego.auctioneer.job", "netlab.capi.job"),
}
"""What each fork server imports before there is a lab."""
PRELOAD_TASKS = ("netlab.capi.task", "netlab.lab.verify")
"""What the last phases of the bring-up run."""
PRELOAD_LATER = ("netlab.trace.task",)
"""What only later commands need: imported once the lab is ready."""

_CONTROL = ("bbs", "diego.auctioneer", "capi", "copilot", "pilot")
_APPLY_RULES = ("netlab.diego.rep.job", "netlab.loadbalancer.job")


def fork_server(module: str) -> str:
    """Which fork server runs a module: the control plane's jobs have one of their own."""
    return "control" if module in {f"netlab.{component}.job" for component in _CONTROL} else "host"


def needs(module: str) -> tuple[str, ...]:
    """What is imported before a fork runs a module: the module, and what it would import itself later."""
    # python-iptables takes 0.4 s, for their first rule.
    return (module, "iptc") if module in _APPLY_RULES else (module,)


def tls_names(topology: Topology, addresses: LabAddresses) -> dict[str, list[str]]:
    """The subject alternative names of each component's certificate."""
    system = topology.system_domain
    return {
        "copilot": [f"copilot.{system}", addresses.control],
        "pilot": [f"pilot.{system}", addresses.control],
        "capi": [f"api.{system}", f"uaa.{system}", addresses.api, addresses.system_vip],
        "bbs": [f"bbs.{system}", addresses.diego_api],
        "auctioneer": [addresses.diego_api],
        "rep": [cell.address for cell in addresses.cells],
    }


def control_plane(topology: Topology, addresses: LabAddresses, paths: LabPaths, password: str) -> list[JobSpec]:
    """BBS, auctioneer, Copilot, Pilot and CAPI, each on its VM."""
    bbs_url = f"https://{addresses.diego_api}:{BBS}"
    api, diego_api, control = addresses.api, addresses.diego_api, addresses.control
    return [
        _component(
            paths,
            "diego-api",
            "bbs",
            "netlab.bbs.job",
            listen=f"{diego_api}:{BBS}",
            health_listen=f"{diego_api}:{BBS_HEALTH}",
            database_url=_sqlite(paths, "bbs"),
            auctioneer_url=f"https://{diego_api}:{AUCTIONEER}",
        ),
        _component(
            paths,
            "diego-api",
            "auctioneer",
            "netlab.diego.auctioneer.job",
            listen=f"{diego_api}:{AUCTIONEER}",
            bbs_url=bbs_url,
        ),
        _component(
            paths,
            "control",
            "copilot",
            "netlab.copilot.job",
            cloud_controller_listen=f"{control}:{COPILOT_CC}",
            vip_resolver_listen=f"{control}:{COPILOT_VIP}",
            mcp_listen=f"{control}:{COPILOT_MCP}",
            bbs_url=bbs_url,
            state_file=str(paths.databases / "copilot.state"),
        ),
        ComponentSpec(
            "control",
            "pilot",
            "netlab.pilot.job",
            {
                "ads_listen": f"{control}:{PILOT_ADS}",
                "http_listen": f"{control}:{PILOT_HTTP}",
                "config_sources": [{"address": f"{control}:{COPILOT_MCP}", "tls": _tls(paths, "pilot")}],
            },
        ),
        _component(
            paths,
            "api",
            "capi",
            "netlab.capi.job",
            listen=f"{api}:{CAPI}",
            database_url=_sqlite(paths, "capi"),
            system_domain=topology.system_domain,
            istio_domains=list(topology.istio_domains),
            copilot_address=f"{control}:{COPILOT_CC}",
            bbs_url=bbs_url,
            internal_route_vip_range=addresses.internal_vips,
            admin_password=password,
        ),
    ]


def network_services(topology: Topology, addresses: LabAddresses, paths: LabPaths) -> list[JobSpec]:
    """The load balancer, and the DNS servers of the VMs and of each cell's containers."""
    system = topology.system_domain
    public_zones = dict.fromkeys(topology.istio_domains, addresses.vip)
    public_names = {f"api.{system}": addresses.system_vip, f"uaa.{system}": addresses.system_vip}
    inner = {"copilot": addresses.control, "pilot": addresses.control, "bbs": addresses.diego_api}
    names = {**public_names, **{f"{name}.{system}": address for name, address in inner.items()}}
    answers = {"zones": public_zones, "names": names}
    servers: dict[str, list[str]] = {"lb": [addresses.lb_public, addresses.lb_deployment]}
    servers |= {cell.name: [CELL_DNS] for cell in addresses.cells}
    return [
        ComponentSpec(
            "lb",
            "load-balancer",
            "netlab.loadbalancer.job",
            {
                "namespace_path": str(paths.namespace_path("lb")),
                "vip": addresses.vip,
                "port_map": [{"listen": 80, "target": 80}],
                "routers": [{"name": router.name, "address": router.address} for router in addresses.routers],
                "health_port": bootstrap.HEALTH_PORT,
                "health_path": bootstrap.HEALTH_PATH,
                "system_vip": addresses.system_vip,
                "api_address": addresses.api,
                "hairpin_network": addresses.deployment,
            },
        ),
        *(
            ComponentSpec(node, "dns", "netlab.dns.job", {"listen": [f"{a}:{DNS}" for a in listen], **answers})
            for node, listen in servers.items()
        ),
    ]


def routers(addresses: LabAddresses, paths: LabPaths) -> list[JobSpec]:
    """The ingress Envoys."""
    return [_envoy(paths, addresses, router.name, router.address) for router in addresses.routers]


def reps(topology: Topology, addresses: LabAddresses, paths: LabPaths, cgroup: Path) -> list[JobSpec]:
    """One rep a cell."""
    host_ports = topology.addressing.host_ports
    return [
        _component(
            paths,
            cell.name,
            "rep",
            "netlab.diego.rep.job",
            cell_id=cell.name,
            lab=paths.name,
            run_dir=str(paths.run_dir),
            namespace=paths.namespace(cell.name),
            cell_address=cell.address,
            overlay_network=addresses.overlay,
            overlay_subnet=cell.overlay_subnet,
            listen=f"{cell.address}:{REP}",
            bbs_url=f"https://{addresses.diego_api}:{BBS}",
            host_port_start=host_ports.start,
            host_port_count=host_ports.count,
            pilot_address=f"{addresses.control}:{PILOT_ADS}",
            dns_server=CELL_DNS,
            envoy_binary=str(launch.envoy_binary()),
            cgroup_dir=str(cgroup),
        )
        for cell in addresses.cells
    ]


def _envoy(paths: LabPaths, addresses: LabAddresses, node: str, address: str) -> ProgramSpec:
    folder = paths.envoy(node)
    config_path = folder / "bootstrap.json"
    config = bootstrap.router_bootstrap(node, address, f"{addresses.control}:{PILOT_ADS}", folder / "admin.sock")
    argv = launch.argv(launch.envoy_binary(), config_path)
    return ProgramSpec(node, "envoy", tuple(argv), ENVOY_UID, ENVOY_UID, config_path, config)


def _component(paths: LabPaths, node: str, job: str, module: str, **config: Any) -> ComponentSpec:
    return ComponentSpec(node, job, module, {**config, "tls": _tls(paths, job)})


def _tls(paths: LabPaths, component: str) -> Mapping[str, Any]:
    return TlsFiles.of(paths.tls, component).model_dump(mode="json")


def _sqlite(paths: LabPaths, name: str) -> str:
    return f"sqlite:///{paths.databases / name}.sqlite3"
