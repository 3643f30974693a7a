"""What a rep is told by the lab."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from netlab.tls import TlsFiles


class RepConfig(BaseModel):
    """The configuration of the rep of one cell; `listen` and `pilot_address` are `ip:port`."""

    cell_id: str
    lab: str
    run_dir: Path
    """The lab's folder; containers, their records, logs and namespaces lie below it."""
    namespace: str
    """The full name of the cell's own namespace."""
    cell_address: str
    overlay_network: IPv4Network
    overlay_subnet: IPv4Network
    """The cell's share of the overlay: its containers' addresses."""
    listen: str
    admin_listen: str = "127.0.0.1:1800"
    """Inside the cell only, without TLS: `/ping`, `/evacuate`."""
    tls: TlsFiles
    bbs_url: str
    host_port_start: int = 61000
    host_port_count: int = 5000
    pilot_address: str
    dns_server: str = "169.254.0.2"
    envoy_binary: Path
    cgroup_dir: Path | None = None
    """Where each container gets a cgroup of its own."""
    rule_backend: Literal["iptc", "iptables-restore"] | None = None
    heartbeat_seconds: float = 1.0
    sync_seconds: float = 30.0
    """How often the BBS's records of this cell are compared with its containers."""
    grace_seconds: float = 10.0
    """Between SIGTERM and SIGKILL."""
    drain_seconds: float = 0.2
    """At least so long between the news that an instance goes and its SIGTERM: some router may yet connect anew."""
    drain_limit_seconds: float = 10.0
    """At most so long, even if somebody keeps a connection to it."""
    evacuation_seconds: float = 600.0
    """After which an evacuation stops what could not be replaced."""
    parallel_starts: int = 8
    """How many containers may be on their way up at once; more would only get in each other's way."""
    memory_mb: int = 1 << 20
    """What the cell says it has. It is no measurement: apps of a lab declare far more than they use."""
    disk_mb: int = 1 << 22

    @property
    def namespaces(self) -> Path:
        """Where the lab's namespaces are mounted."""
        return self.run_dir / "ns"

    @property
    def containers(self) -> Path:
        """Where the records and folders of containers are."""
        return self.run_dir / "containers"

    @property
    def resolv_conf(self) -> Path:
        """What containers see as /etc/resolv.conf."""
        return self.run_dir / "etc" / "container" / "resolv.conf"
