"""A trace from beginning to end, as a task that the lab runs in a process of its own, in the machine's namespace."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from netlab.trace import dissect, expected, probe, result, subject
from netlab.trace.accesslogs import AccessLogs, Proxy
from netlab.trace.correlate import correlate
from netlab.trace.evidence import Connection, Evidence, Outcome, Source, host
from netlab.trace.expected import Declared
from netlab.trace.observe import Observer, Place, installed, look_up
from netlab.trace.path import Observed
from netlab.trace.routes import declared_routes
from netlab.trace.subject import INGRESS_PORT, Subject
from netlab.trace.verdict import judge

LOG_SECONDS = 0.5
"""How long an Envoy may take to write a line that must come; it writes every 20 ms."""
DOUBT_SECONDS = 0.1
"""How long to wait for a line that perhaps nobody writes."""
WATCHED_INSTANCES = 200
"""Of a route with more instances these many are watched; the verdict says so if the request went to another."""
LISTED_INSTANCES = 8
"""Of so many instances the rules are held against what is declared, besides the one that the request went to."""
_ALL_TABLES = ("raw", "mangle", "nat", "filter")


def task(params: dict[str, Any], _emit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Trace one request: `run_dir`, `url`, and optionally `method`, `headers` (`Name: value`) and `timeout` (seconds).

    Returns the document of netlab.trace.result. Raises UsageError for a URL that the lab cannot serve, LabNotFound,
    MeshError if the lab's DNS or client is broken.
    """
    began = time.monotonic_ns()
    request = probe.parse(
        params["url"], params.get("method", "GET"), params.get("headers", ()), float(params.get("timeout", 5.0))
    )
    lab = subject.load(Path(params["run_dir"]))
    address = probe.resolve(lab, request.host)
    declared = expected.declare(lab, declared_routes(lab), request.authority, request.path)
    evidence = _observe(lab, declared, request, address)
    observed = correlate(lab, evidence)
    verdict = judge(lab, declared, evidence, observed)
    return result.document(
        lab=lab.name,
        url=params["url"],
        declared=declared,
        evidence=evidence,
        observed=observed,
        verdict=verdict,
        duration_ns=time.monotonic_ns() - began,
    )


def _observe(lab: Subject, declared: Declared, request: probe.Request, address: str) -> Evidence:
    """Send the request with every probe in place, and gather what was seen."""
    logs = AccessLogs(_log_files(lab, declared), request.request_id)
    with Observer(_places(lab, declared)) as observer:
        outcome = probe.send(lab.client.namespace, request, lab.client.address, address)
        listed, sources = installed(_listed(lab, declared))
        _await_lines(logs, observer, outcome)
        observer.stop()
        sources += observer.sources()
        evidence = _gather(declared, observer, logs, outcome)
        seen = correlate(lab, evidence)
        connections, asked = _connections(lab, seen)
        observed = correlate(lab, dataclasses.replace(evidence, connections=connections))
        if outcome.failure is not None or observed.hop("app") is None or observed.failed:
            # The rule that a lost packet met last may be in any table.
            more, _ = installed(_path_namespaces(lab, declared, observed), _ALL_TABLES)
            listed |= more
    sources += [*asked, *_log_sources(logs)]
    return dataclasses.replace(evidence, connections=connections, rules=listed, sources=tuple(sources))


def _places(lab: Subject, declared: Declared) -> Iterator[Place]:
    instances = [way.instance for way in declared.ways[:WATCHED_INSTANCES]]
    host_ports = frozenset(way.host_port for way in declared.ways)
    ingress = frozenset({INGRESS_PORT})
    yield Place(lab.client.name, lab.client.namespace, ingress)
    yield Place(lab.balancer.name, lab.balancer.namespace, ingress)
    for vm in lab.of_kind("router"):
        yield Place(vm.name, vm.namespace, ingress | host_ports)
    for vm in lab.of_kind("cell"):
        own = [way for way in declared.ways if way.instance.cell == vm.name]
        ports = frozenset(way.host_port for way in own)
        yield Place(vm.name, vm.namespace, ports | {way.app_port for way in own} | host_ports)
    for instance in instances:
        app_ports = frozenset(app_port for app_port, _ in instance.ports)
        yield Place(instance.node, instance.namespace, app_ports | {instance.sidecar_port})


def _log_files(lab: Subject, declared: Declared) -> dict[str, tuple[Proxy, Path]]:
    files: dict[str, tuple[Proxy, Path]] = {}
    for vm in lab.of_kind("router"):
        if vm.access_log is not None:
            files[vm.name] = ("ingress", vm.access_log)
    for instance in lab.instances:
        # Another app's sidecar may get the request by mistake, and its log is cheap to watch.
        if instance.access_log is not None:
            files[instance.node] = ("sidecar", instance.access_log)
    return files


def _listed(lab: Subject, declared: Declared) -> dict[str, Path]:
    """The namespaces whose rules are held against the declarations."""
    found = {lab.balancer.name: lab.balancer.namespace}
    for way in declared.ways[:LISTED_INSTANCES]:
        cell = lab.vm(way.instance.cell)
        if cell is not None:
            found[cell.name] = cell.namespace
        found[way.instance.node] = way.instance.namespace
    return found


def _path_namespaces(lab: Subject, declared: Declared, observed: Observed) -> dict[str, Path]:
    """The namespaces that the request came to, or was meant to come to by a connection that failed."""
    names = {hop.node for hop in observed.hops}
    tried = {leg.destination for leg in (*observed.failed, observed.mesh_leg) if leg is not None}
    for way in declared.ways:
        if way.endpoint in tried:
            names |= {way.instance.node, way.instance.cell}
    places = itertools.chain(
        ((vm.name, vm.namespace) for vm in lab.vms), ((each.node, each.namespace) for each in lab.instances)
    )
    return {name: namespace for name, namespace in places if name in names}


def _await_lines(logs: AccessLogs, observer: Observer, outcome: Outcome) -> None:
    """Wait for the lines of the Envoys that have passed the request on, as far as packets tell."""

    def written(proxy: Proxy) -> bool:
        return any(line.proxy == proxy for line in logs.lines)

    answered = outcome.status is not None
    if not logs.wait(lambda: written("ingress"), LOG_SECONDS if answered else DOUBT_SECONDS):
        return
    needle = outcome.request_id.encode()
    reached = any(
        packet.interface == "lo" and needle in packet.data
        for packets in observer.packets().values()
        for packet in packets
    )
    logs.wait(lambda: written("sidecar"), LOG_SECONDS if reached else DOUBT_SECONDS)


def _gather(declared: Declared, observer: Observer, logs: AccessLogs, outcome: Outcome) -> Evidence:
    """Dissect what belongs to the request."""
    packets = observer.packets()
    ends = dissect.initiators(packets, outcome.request_id)
    common = dissect.everywhere(ends)
    if outcome.local is not None:
        common.add(outcome.local)
    upstreams = {way.endpoint for way in declared.ways}
    for line in logs.lines:
        # A connection that failed carried nothing; its first packet is all there is.
        if line.proxy == "ingress":
            towards = upstreams | {line.get("upstream_host")}
            common |= dissect.attempts(packets.get(line.node, ()), towards, outcome.started_ns)
    steps = [step for node, records in observer.records().items() for step in dissect.steps(node, records, common)]
    segments = [
        segment
        for node, captured in packets.items()
        for segment in dissect.segments(node, captured, common | ends.get(node, set()), outcome.request_id)
    ]
    return Evidence(outcome, tuple(segments), tuple(steps), lines=tuple(logs.lines))


def _connections(lab: Subject, observed: Observed) -> tuple[tuple[Connection, ...], list[Source]]:
    """Ask conntrack about each leg where it may have been translated."""
    found: list[Connection] = []
    sources: list[Source] = []

    def ask(node: str, namespace: Path, source: str, destination: str) -> str:
        connection, seen = look_up(node, namespace, source, destination)
        found.append(connection)
        sources.append(seen)
        return connection.translated or destination

    if (leg := observed.client_leg) is not None:
        ask(lab.balancer.name, lab.balancer.namespace, leg.source, leg.destination)
    if (leg := observed.mesh_leg) is not None:
        destination = leg.destination
        cell = lab.vm_at(host(destination), "cell")
        if cell is not None:
            destination = ask(cell.name, cell.namespace, leg.source, destination)
        instance = lab.instance_at(host(leg.final or destination))
        if instance is not None:
            ask(instance.node, instance.namespace, leg.source, leg.final or destination)
    return tuple(found), sources


def _log_sources(logs: AccessLogs) -> Iterable[Source]:
    nodes = {line.node for line in logs.lines}
    for node in logs.watched:
        problem = logs.problems.get(node)
        detail = problem or ("the request's line" if node in nodes else "no line of the request")
        yield Source("access-log", node, problem is None, detail)
