"""Where one lab keeps its files: everything lies under /run, so that a reboot forgets it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

RUN_DIR = Path("/run/netlab")
"""The parent of all labs' folders; exists only while a lab does."""

ETC_NETNS = Path("/etc/netns")
"""Where `ip netns exec` looks for a namespace's own resolv.conf."""


@dataclass(frozen=True)
class LabPaths:
    """The files of the lab called `name`."""

    name: str

    @property
    def run_dir(self) -> Path:
        """The lab's folder; its existence is what makes the name taken."""
        return RUN_DIR / self.name

    @property
    def state(self) -> Path:
        """lab.json: what the lab is made of; written before the kernel is touched. Root only."""
        return self.run_dir / "lab.json"

    @property
    def socket(self) -> Path:
        """The supervisor's socket. Root only."""
        return self.run_dir / "supervisor.sock"

    @property
    def namespaces(self) -> Path:
        """A private tmpfs that holds one bind mount for each network namespace."""
        return self.run_dir / "ns"

    @property
    def tls(self) -> Path:
        """The lab's CA and the certificate and key of each component."""
        return self.run_dir / "tls"

    @property
    def databases(self) -> Path:
        """The databases of CAPI and BBS."""
        return self.run_dir / "db"

    @property
    def containers(self) -> Path:
        """One record and one folder for each app container; written by the reps."""
        return self.run_dir / "containers"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor and the fork server print."""
        return self.run_dir / "log" / "supervisor.log"

    def namespace(self, node: str) -> str:
        """The name of a node's network namespace."""
        return f"{self.name}-{node}"

    def namespace_path(self, node: str) -> Path:
        """The file to open to enter a node's network namespace."""
        return self.namespaces / self.namespace(node)

    def log(self, node: str, job: str) -> Path:
        """What a job prints to standard error."""
        return self.run_dir / "log" / node / f"{job}.log"

    def access_log(self, node: str, job: str) -> Path:
        """What an Envoy prints to standard output: its access log, one JSON object a line."""
        return self.run_dir / "log" / node / f"{job}.access.log"

    def job_config(self, node: str, job: str) -> Path:
        """The configuration a job was started with."""
        return self.run_dir / "jobs" / node / f"{job}.json"

    def envoy(self, node: str) -> Path:
        """An Envoy's folder: its bootstrap and its admin socket."""
        return self.run_dir / "envoy" / node

    def resolv_conf(self, node: str) -> Path:
        """The node's resolv.conf, bound over /etc/resolv.conf for what runs there."""
        return self.run_dir / "etc" / node / "resolv.conf"


def labs() -> list[str]:
    """The names of all labs that have a folder, in alphabetical order."""
    if not RUN_DIR.is_dir():
        return []
    return sorted(path.name for path in RUN_DIR.iterdir() if path.is_dir())
