"""Whether anybody outside still holds a connection to a container: the evidence that it may stop.

The routers' Envoys close their idle connections to an endpoint as soon as they hear that it is gone, and busy ones
after the last response. So when there is none left, every router has heard, and nothing is under way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address
from pathlib import Path

_ALIVE = ("01", "03")
"""ESTABLISHED and SYN_RECV: the kernel's states of connections that may still carry a request."""


def outside_connections(pid: int, ports: Collection[int]) -> int:
    """How many connections from other hosts there are to these ports in the network namespace of a process.

    0 if the process is gone.
    """
    found = 0
    for table in ("tcp", "tcp6"):
        try:
            text = Path(f"/proc/{pid}/net/{table}").read_text()
        except OSError:  # the process is gone, or IPv6 is off
            continue
        found += sum(local_port in ports for local_port in from_outside(text))
    return found


def from_outside(table: str) -> Iterator[int]:
    """The local ports of the live connections of a `/proc/net/tcp` or `tcp6` whose other end is another host."""
    for line in table.splitlines()[1:]:
        fields = line.split()
        local, remote, state = fields[1:4]
        local_host, _, local_port = local.partition(":")
        remote_host = remote.partition(":")[0]
        if state in _ALIVE and remote_host != local_host and not _address(remote_host).is_loopback:
            yield int(local_port, 16)


def _address(text: str) -> IPv4Address:
    """An address as the kernel prints it: words in the machine's byte order; of IPv6 the last, for mapped ones."""
    return IPv4Address(bytes.fromhex(text[-8:])[::-1])
