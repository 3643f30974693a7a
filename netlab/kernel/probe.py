"""What this machine's kernel and tools can do, found out by doing it in namespaces made for the purpose.

`netlab doctor` prints what `features` returns. Each probe is a real operation, since a configuration option may be
set and yet forbidden, and the other way round; none touches the machine's own network namespace.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import struct
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netlab.errors import NetlabError
from netlab.kernel import bpf, capture, cgroup, iptc_backend, legacy, netns, nflog, nft, rtnetlink, syscalls
from netlab.kernel.nfnetlink import NetfilterSocket

Need = Literal["required", "optional"]
_HERE = Path("/proc/thread-self/ns/net")


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that netlab uses, and whether it is there."""

    name: str
    ok: bool
    detail: str
    """What was found, or why it does not work."""
    needed: Need
    purpose: str
    """What netlab does with it, or does without it if it is optional."""


@dataclass(frozen=True, slots=True)
class _Probe:
    name: str
    needed: Need
    purpose: str
    run: Callable[[], str]
    """Returns what was found; raises `OSError` or `NetlabError` if it does not work."""


def features() -> list[Feature]:
    """Try everything that netlab uses, most important first; some 50 ms, and the import of python-iptables."""
    return [_try(probe) for probe in _PROBES]


def feature(name: str) -> Feature:
    """Try one of them, by name; the answer is kept."""
    return _feature(name)


@functools.cache
def _feature(name: str) -> Feature:
    return _try(next(probe for probe in _PROBES if probe.name == name))


def _try(probe: _Probe) -> Feature:
    try:
        detail = probe.run()
    except NetlabError as error:
        return Feature(probe.name, False, error.message, probe.needed, probe.purpose)
    except OSError as error:
        return Feature(probe.name, False, error.strerror or str(error), probe.needed, probe.purpose)
    return Feature(probe.name, True, detail, probe.needed, probe.purpose)


def _root() -> str:
    if os.geteuid() != 0:
        raise PermissionError(errno.EPERM, "this is not root; use sudo")
    return "running as root"


def _in_new_namespace(work: Callable[[], str]) -> str:
    def run() -> str:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        return work()

    return netns.in_thread(run)


def _namespaces() -> str:
    return _in_new_namespace(lambda: "made one")


def _mounts() -> str:
    with tempfile.TemporaryDirectory(prefix="netlab-probe-", dir="/run") as base:
        directory = Path(base, "ns")
        netns.mount_directory(directory)
        netns.unmount_directory(directory)
    return "mounted a tmpfs of its own"


def _links() -> str:
    with rtnetlink.Batch() as batch:
        fd = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            batch.send(
                [rtnetlink.new_bridge("br0", "02:00:00:00:00:01", 10), rtnetlink.new_veth("a", "b", fd, master=10)]
            )
        finally:
            os.close(fd)
    return "made a bridge with a port"


def _legacy_tables() -> str:
    if reason := legacy.why_not():
        raise OSError(errno.ENOPROTOOPT, f"the kernel has no legacy nat table ({reason})")
    return "listed the nat table"


def _python_iptables() -> str:
    if not iptc_backend.installed():
        raise OSError(errno.ENOENT, "python-iptables is not installed")
    _legacy_tables()
    backend = iptc_backend.IptcBackend()
    _in_new_namespace(lambda: str(backend.list(_own_namespace(), "nat")))
    return "listed the nat table"


def _own_namespace() -> Path:
    # The backends enter the namespace from other threads, where thread-self would be another one.
    return Path(f"/proc/{os.getpid()}/task/{_thread_id()}/ns/net")


def _thread_id() -> int:
    return int(os.readlink("/proc/thread-self").rpartition("/")[2])


def _iptables_programs() -> str:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    found = [name for name in ("iptables-nft-restore", "iptables-legacy-restore") if shutil.which(name, path=path)]
    if not found:
        raise OSError(errno.ENOENT, "neither iptables-nft-restore nor iptables-legacy-restore is installed")
    return ", ".join(found)


def _rules() -> str:
    failed = []
    for probe in (_python_iptables, _restore):
        try:
            return probe()
        except (OSError, NetlabError) as error:
            failed.append(str(error))
    raise OSError(errno.ENOPROTOOPT, "; ".join(failed))


def _restore() -> str:
    from netlab.kernel import restore_backend
    from netlab.kernel.rules import Rule, Transaction

    backend = restore_backend.best()
    rule = Rule("nat", "PREROUTING", "DNAT", (("to-destination", "192.0.2.1"),), comment="probe")

    def work() -> str:
        backend.apply(_own_namespace(), Transaction("nat", append=(rule,)))
        return f"added a DNAT rule with {backend.name}"

    return _in_new_namespace(work)


def _nftables() -> str:
    def work() -> str:
        with NetfilterSocket(None) as sock:
            sock.batch(nft.SUBSYSTEM, nft.trace_table(None))
        return "made a table that goes with its socket"

    return _in_new_namespace(work)


def _capture() -> str:
    def work() -> str:
        with rtnetlink.Batch() as batch, capture.Capture(_HERE):
            batch.send([rtnetlink.link_up(1)])
        return "opened a packet socket"

    return _in_new_namespace(work)


def _conntrack() -> str:
    from netlab.kernel import conntrack

    def work() -> str:
        with conntrack.Events(_HERE):
            return f"listed {len(conntrack.entries(_HERE))} connections and subscribed to events"

    return _in_new_namespace(work)


def _rule_trace() -> str:
    def work() -> str:
        nflog.RuleTrace(_HERE).close()
        return "opened a rule trace"

    return _in_new_namespace(work)


def _bpf_netfilter() -> str:
    return _in_new_namespace(lambda: bpf.probe_netfilter_link())


def _netem() -> str:
    with rtnetlink.Batch() as batch:
        fd = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            batch.send([rtnetlink.new_veth("a", "b", fd, index=10)])
        finally:
            os.close(fd)
        # struct tc_netem_qopt: no latency, a limit of 1,000 packets, no loss, gap, duplication or jitter.
        options = struct.pack("=6I", 0, 1000, 0, 0, 0, 0)
        try:
            batch.send([rtnetlink.new_qdisc(10, "netem", options)])
        except FileNotFoundError as error:
            raise OSError(errno.ENOENT, "this kernel was built without netem") from error
    return "added one to a link"


def _cgroup() -> str:
    path = cgroup.create("netlab-probe", str(os.getpid()))
    if path is None:
        raise OSError(errno.ENOENT, "no cgroup v2 hierarchy is mounted where it can be written to")
    try:
        return f"{cgroup.root()}, {'with' if (path / 'cgroup.kill').exists() else 'without'} cgroup.kill"
    finally:
        _remove(path)


def _limits() -> str:
    path = cgroup.create("netlab-probe", f"{os.getpid()}-limits")
    if path is None:
        raise OSError(errno.ENOENT, "no cgroup v2 hierarchy is mounted where it can be written to")
    try:
        cgroup.delegate(path.parent)
        found, lacking = cgroup.available(path) & cgroup.LIMITS, cgroup.LIMITS - cgroup.available(path)
        if lacking:
            raise OSError(errno.ENOENT, f"the v2 hierarchy has no controller for {', '.join(sorted(lacking))}")
        return f"controllers {', '.join(sorted(found))}"
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    cgroup.remove(path)
    # Another probe may be at work in it.
    with suppress(NetlabError):
        cgroup.remove(path.parent)


_PROBES = (
    _Probe("root", "required", "namespaces, links and rules are the privilege of root", _root),
    _Probe("network_namespaces", "required", "each VM and each container is one", _namespaces),
    _Probe("private_mounts", "required", "namespaces are kept by mounts in a tmpfs of the lab", _mounts),
    _Probe("veth_bridge", "required", "the lab's links and segments", lambda: _in_new_namespace(_links)),
    _Probe("rules", "required", "DNAT on the way to routers, cells and sidecars", _rules),
    _Probe("packet_sockets", "required", "a trace sees the packets", _capture),
    _Probe("conntrack", "required", "DNAT works on connections, and a trace reads their tuples", _conntrack),
    _Probe("legacy_iptables", "optional", "python-iptables works on it; else nftables serves", _legacy_tables),
    _Probe("python_iptables", "optional", "the first choice for rules; else iptables-restore serves", _python_iptables),
    _Probe("iptables_restore", "optional", "rules without python-iptables", _iptables_programs),
    _Probe("nft", "optional", "rules where the kernel has no legacy tables, and the trace bit", _nftables),
    _Probe("nflog_trace", "optional", "a trace names the rule that matched; else it counts", _rule_trace),
    _Probe("bpf_netfilter", "optional", "a trace sees each header before and after NAT", _bpf_netfilter),
    _Probe("cgroup2", "optional", "ends a lab's processes with one write; else one by one", _cgroup),
    _Probe("cgroup2_limits", "optional", "apps are limited in memory, processes and processor", _limits),
    _Probe(
        "netem", "optional", "delay and loss as faults; else they are not offered", lambda: _in_new_namespace(_netem)
    ),
)
