"""`netlab bench fabric`: the kernel part of N containers, beside the kernel's floor and a shell loop of `ip`.

A container is a namespace, a veth to its cell's namespace, an address and a permanent neighbour at either end, and a
default route; its rules are one DNAT in the cell and two rules of its own. Each run measures every way once, so that a
busy machine slows all of them, and the figures are medians of the runs.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from netlab.bench import floor, ways
from netlab.errors import KernelError, MachineError
from netlab.kernel import executor, netns
from netlab.kernel.ops import AddAddress, AddNeighbour, AddRoute, CreateNamespace, CreateVeth, Op, SetSysctl
from netlab.kernel.rules import Match, Rule, RuleBackend, Transaction, backend

_GATEWAY, _GATEWAY_MAC = "169.254.0.1", "02:00:00:00:00:01"
_CELL_ADDRESS = "10.0.2.1"
# Legacy tables and nftables do not see each other, so the second one starts from nothing too.
_RULE_BACKENDS = ("iptc", "iptables-nft-restore")


def run(counts: Sequence[int] = (100, 500), runs: int = 3) -> dict[str, float]:
    """Measure; returns flat figures named by what, how many containers, and the unit.

    Raises `KernelError` if the kernel refuses something. Takes some 20 s per 500 containers, most of it the loop of
    `ip`, which is measured once. Nothing is made in the machine's own namespace and nothing is left.
    """
    figures: dict[str, float] = {}
    for count in counts:
        samples: dict[str, list[float]] = defaultdict(list)
        ways.allow_open_files(4 * count + 256)
        for _ in range(runs):
            built, gone = floor.measure(count)
            samples["floor_up"].append(built)
            samples["floor_down"].append(gone)
            for name, seconds in _measure(count).items():
                samples[name].append(seconds)
        if shutil.which("ip"):
            samples["ip_shell_up"].append(_shell_loop(count))
        figures |= _figures(count, {name: statistics.median(values) for name, values in samples.items()})
    return figures


def _figures(count: int, medians: dict[str, float]) -> dict[str, float]:
    figures = {f"{name}_{count}_ms": round(seconds * 1000, 2) for name, seconds in medians.items() if "up" in name}
    figures |= {f"{name}_{count}_ms": round(s * 1000, 2) for name, s in medians.items() if "down" in name}
    figures[f"netlab_up_{count}_ms_per_container"] = round(medians["netlab_up"] * 1000 / count, 3)
    figures[f"netlab_to_floor_{count}_ratio"] = round(medians["netlab_up"] / medians["floor_up"], 2)
    if "ip_shell_up" in medians:
        figures[f"ip_shell_to_netlab_{count}_ratio"] = round(medians["ip_shell_up"] / medians["netlab_up"], 1)
    for name, seconds in medians.items():
        if name.startswith("rules_"):
            figures[f"{name}_{count}_ms_per_container"] = round(seconds * 1000 / count, 3)
    return figures


def plan(prefix: str, count: int) -> list[Op]:
    """The operations that make a cell's namespace and its containers."""
    cell = f"{prefix}-cell"
    ops: list[Op] = [CreateNamespace(cell), SetSysctl(cell, "net.ipv4.ip_forward", "1")]
    for number in range(count):
        name, device, address = f"{prefix}-{number}", f"c{number}", _address(number)
        mac = f"02:00:00:01:{number >> 8:02x}:{number & 255:02x}"
        ops += [
            CreateNamespace(name),
            CreateVeth(cell, device, name, "eth0", mac=_GATEWAY_MAC, peer_mac=mac),
            AddAddress(cell, device, f"{_GATEWAY}/32", peer=address),
            AddNeighbour(cell, device, address, mac),
            AddAddress(name, "eth0", f"{address}/32", peer=_GATEWAY),
            AddNeighbour(name, "eth0", _GATEWAY, _GATEWAY_MAC),
            AddRoute(name, "default", via=_GATEWAY, device="eth0"),
        ]
    return ops


def _address(number: int) -> str:
    return f"10.255.{1 + number // 250}.{2 + number % 250}"


def _rules(prefix: str, directory: Path, count: int) -> list[tuple[Path, list[Transaction]]]:
    """The rules of a cell and its containers, as a cell's rep makes them."""
    published: list[Rule] = []
    work: list[tuple[Path, list[Transaction]]] = []
    for number in range(count):
        port = Match("tcp", (("dport", str(61000 + number)),))
        to_app = (("to-destination", f"{_address(number)}:8080"),)
        published.append(
            Rule(
                "nat",
                "PREROUTING",
                "DNAT",
                to_app,
                protocol="tcp",
                destination=_CELL_ADDRESS,
                matches=(port,),
                comment=f"app hello/{number}: host port to container",
            )
        )
        exempt = Rule(
            "nat",
            "PREROUTING",
            "RETURN",
            protocol="tcp",
            matches=(Match("multiport", (("dports", "2222,15000,15001"),)),),
            comment="not through the sidecar: SSH and the sidecar's own ports",
        )
        to_sidecar = Rule(
            "nat",
            "PREROUTING",
            "DNAT",
            (("to-destination", f"{_address(number)}:15001"),),
            protocol="tcp",
            in_interface="eth0",
            matches=(Match("tcp", (("dport", "8080"),)),),
            comment=f"app hello/{number}: app port to sidecar",
        )
        work.append((directory / f"{prefix}-{number}", [Transaction("nat", append=(exempt, to_sidecar))]))
    return [(directory / f"{prefix}-cell", [Transaction("nat", append=tuple(published))]), *work]


def _backends() -> dict[str, RuleBackend]:
    found: dict[str, RuleBackend] = {}
    for name in _RULE_BACKENDS:
        try:
            found[name] = backend(name)
        except MachineError:
            continue
    return found


def _measure(count: int) -> dict[str, float]:
    """One run of netlab: up, the rules with each backend, down."""
    prefix = f"nlb{os.getpid()}"
    directory = Path(f"/run/{prefix}")
    seconds: dict[str, float] = {}
    netns.mount_directory(directory)
    try:
        ops = plan(prefix, count)
        began = time.monotonic()
        executor.apply(ops, directory)
        seconds["netlab_up"] = time.monotonic() - began
        work = _rules(prefix, directory, count)
        for name, rules in _backends().items():
            rules.list(directory / f"{prefix}-cell", "nat")  # python-iptables is imported here, not in the figure
            began = time.monotonic()
            rules.apply_all(work)
            seconds[f"rules_{name.replace('-', '_')}"] = time.monotonic() - began
        with netns.entered(directory / f"{prefix}-cell"):
            # Its socket keeps the cell's namespace until every link of it is seen to go.
            watch = ways.LinkWatch()
        with watch:
            began = time.monotonic()
            netns.unmount_directory(directory)
            seconds["netlab_down"] = time.monotonic() - began
            watch.wait_for_removals(count)
            seconds["netlab_down_gone"] = time.monotonic() - began
    finally:
        netns.unmount_directory(directory)
    return seconds


_SHELL_LOOP = """
set -e
mount -t tmpfs none /run/netns
began=$(date +%s%N)
ip netns add cell
ip -n cell link set lo up
number=0
while [ $number -lt $1 ]; do
    address=10.255.$((1 + number / 250)).$((2 + number % 250))
    mac=$(printf 02:00:00:01:%02x:%02x $((number / 256)) $((number % 256)))
    ip netns add c$number
    ip -n cell link add c$number address 02:00:00:00:00:01 type veth peer name eth0 address $mac netns c$number
    ip -n cell link set c$number up
    ip -n cell address add 169.254.0.1/32 peer $address dev c$number
    ip -n cell neighbour add $address lladdr $mac dev c$number nud permanent
    ip -n c$number link set lo up
    ip -n c$number link set eth0 up
    ip -n c$number address add $address/32 peer 169.254.0.1 dev eth0
    ip -n c$number neighbour add 169.254.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
    ip -n c$number route add default via 169.254.0.1
    number=$((number + 1))
done
echo $(($(date +%s%N) - began))
"""


def _shell_loop(count: int) -> float:
    """The same with one `ip` a step, as most people's scripts do it; its mounts and namespaces go with the shell."""
    netns.NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SHELL_LOOP, "sh", str(count)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(f"the loop of ip: {done.stderr.strip() or f'exit status {done.returncode}'}")
    return int(done.stdout) / 1e9
