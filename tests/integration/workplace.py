"""A private place for namespaces, for tests of the kernel layer, that checks what they leave."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from netlab.kernel import executor, netns
from netlab.kernel.ops import AddAddress, AddRoute, CreateNamespace, CreateVeth, SetSysctl

_numbers = itertools.count(1)


@dataclass
class Workplace:
    """A directory of namespaces whose names begin with a prefix of this test's own."""

    prefix: str
    directory: Path

    def name(self, node: str) -> str:
        return f"{self.prefix}-{node}"

    def path(self, node: str) -> Path:
        return self.directory / self.name(node)

    def create(self, *nodes: str) -> list[Path]:
        netns.create_many([self.name(node) for node in nodes], self.directory)
        return [self.path(node) for node in nodes]

    def line(self) -> None:
        """client 10.1.0.2 — 10.1.0.1 router 10.2.0.1 — 10.2.0.2 server."""
        client, router, server = map(self.name, ("client", "router", "server"))
        executor.apply(
            [
                CreateNamespace(client),
                CreateNamespace(router),
                CreateNamespace(server),
                CreateVeth(router, "left", client, "eth0"),
                CreateVeth(router, "right", server, "eth0"),
                AddAddress(client, "eth0", "10.1.0.2/24"),
                AddAddress(router, "left", "10.1.0.1/24"),
                AddAddress(router, "right", "10.2.0.1/24"),
                AddAddress(server, "eth0", "10.2.0.2/24"),
                AddRoute(client, "default", via="10.1.0.1"),
                AddRoute(server, "default", via="10.2.0.1"),
                SetSysctl(router, "net.ipv4.ip_forward", "1"),
            ],
            self.directory,
        )


def _machine() -> dict[str, object]:
    """What the machine's own namespace looks like to everybody else."""
    return {
        "links": sorted(os.listdir("/sys/class/net")),
        "tables": Path("/proc/net/ip_tables_names").read_text() if Path("/proc/net/ip_tables_names").exists() else "",
        "routes": Path("/proc/net/route").read_text(),
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    }


@pytest.fixture
def workplace() -> Iterator[Workplace]:
    """Namespaces of the test's own; afterwards the machine must look as before, and nothing may be left."""
    before, home = _machine(), os.readlink("/proc/thread-self/ns/net")
    prefix = f"nltk{os.getpid()}x{next(_numbers)}"
    directory = Path(f"/run/{prefix}")
    netns.mount_directory(directory)
    try:
        yield Workplace(prefix, directory)
    finally:
        netns.unmount_directory(directory)
    assert os.readlink("/proc/thread-self/ns/net") == home
    assert _machine() == before
    assert not directory.exists()
    links = os.listdir(netns.NETNS_DIR) if netns.NETNS_DIR.exists() else []
    assert [name for name in links if name.startswith(prefix)] == []
    assert prefix not in Path("/proc/self/mountinfo").read_text()
