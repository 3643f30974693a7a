"""The probes of a trace: captures, rule traces and log readers in every place that the request may come through.

They are there before the request is sent and vanish with the process, however it ends; the lab stays as it was.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from netlab.errors import KernelError, MachineError
from netlab.kernel import conntrack, rules
from netlab.kernel.capture import Capture, Packet, close_all
from netlab.kernel.nflog import RuleTrace, TraceRecord
from netlab.kernel.rules import InstalledRule, RuleBackend
from netlab.trace.evidence import Connection, Source, host, port

PORT_LIMIT = 90
"""Above this many ports a capture takes everything instead."""
TRACED_PORTS = 16
"""Above this many ports a rule trace marks every connection that begins."""


@dataclass(frozen=True, slots=True)
class Place:
    """One namespace to look into."""

    node: str
    namespace: Path
    ports: frozenset[int]
    """The TCP ports that matter there."""


@dataclass(slots=True)
class _Probe:
    place: Place
    capture: Capture | None = None
    trace: RuleTrace | None = None
    packets: list[Packet] = field(default_factory=list)
    records: list[TraceRecord] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)

    def drain(self) -> None:
        if self.capture is not None:
            self.packets += self.capture.read()
        if self.trace is not None:
            self.records += self.trace.read()

    def filenos(self) -> list[int]:
        found = [] if self.capture is None else [self.capture.fileno()]
        return found + (list(self.trace.filenos()) if self.trace is not None else [])


class Observer:
    """Looks into all places at once while it is entered; what it has seen is complete after `stop`."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._probes = {place.node: _Probe(place) for place in places}
        self._stop_read, self._stop_write = -1, -1
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __enter__(self) -> Self:
        for probe in self._probes.values():
            self._open(probe)
        self._stop_read, self._stop_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="netlab-trace")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        probes = self._probes.values()
        close_all([each for probe in probes for each in (probe.capture, probe.trace) if each is not None])

    def stop(self) -> None:
        """Read what is left and look no further."""
        if self._thread is None:
            return
        os.close(self._stop_write)
        self._thread.join()
        self._thread = None
        os.close(self._stop_read)
        if self._failure is not None:
            raise self._failure

    def packets(self) -> Mapping[str, list[Packet]]:
        """The packets of each place so far."""
        return {node: list(probe.packets) for node, probe in self._probes.items()}

    def records(self) -> Mapping[str, list[TraceRecord]]:
        """The rule steps of each place so far."""
        return {node: list(probe.records) for node, probe in self._probes.items()}

    def sources(self) -> Iterator[Source]:
        """What each probe could see, and what it lost."""
        for node, probe in self._probes.items():
            if probe.capture is None:
                yield Source("packet", node, False, probe.problems["packet"])
            else:
                seen, lost = probe.capture.statistics()
                yield Source("packet", node, True, f"{seen} packets passed the filter", lost)
            if probe.trace is None:
                yield Source("rule-trace", node, False, probe.problems["rule-trace"])
            else:
                yield Source("rule-trace", node, True, f"{len(probe.records)} steps traced", probe.trace.lost)

    def _open(self, probe: _Probe) -> None:
        place = probe.place
        try:
            ports = place.ports if len(place.ports) <= PORT_LIMIT else None
            probe.capture = Capture(place.namespace, ports=ports)
        except KernelError as error:
            probe.problems["packet"] = error.message
        try:
            ports = place.ports if len(place.ports) <= TRACED_PORTS else None
            probe.trace = RuleTrace(place.namespace, ports)
        except KernelError as error:
            probe.problems["rule-trace"] = f"{error.message}{f', {error.hint}' if error.hint else ''}"

    def _run(self) -> None:
        try:
            with contextlib.closing(select.epoll()) as poll:
                owners = {fd: probe for probe in self._probes.values() for fd in probe.filenos()}
                for fd in (self._stop_read, *owners):
                    poll.register(fd, select.EPOLLIN)
                stopping = False
                while not stopping:
                    for fd, _ in poll.poll():
                        if fd == self._stop_read:
                            stopping = True
                        else:
                            owners[fd].drain()
                for probe in self._probes.values():
                    probe.drain()
        except BaseException as error:
            self._failure = error


def look_up(node: str, namespace: Path, source: str, destination: str) -> tuple[Connection, Source]:
    """What conntrack has for a connection, by its first packet's ends as they were on arrival there."""
    original = conntrack.Tuple(host(source), port(source), host(destination), port(destination))
    try:
        entry = conntrack.get(namespace, original)
    except KernelError as error:
        return Connection(node, source, destination, False), Source("conntrack", node, False, error.message)
    seen = Source("conntrack", node, True, "no entry" if entry is None else f"entry {entry.id}")
    if entry is None:
        return Connection(node, source, destination, False), seen
    connection = Connection(
        node=node,
        source=source,
        destination=destination,
        found=True,
        translated=_endpoint(entry.dnat),
        masqueraded=_endpoint(entry.snat),
        state=entry.tcp_state,
        id=entry.id,
        start_ns=entry.start_ns,
    )
    return connection, seen


def installed(
    namespaces: Mapping[str, Path], tables: Sequence[str] = ("nat",)
) -> tuple[dict[str, list[InstalledRule]], list[Source]]:
    """The rules of each namespace; those that could not be read are missing and have their reason."""
    reader = _reader()
    found: dict[str, list[InstalledRule]] = {}
    sources: list[Source] = []

    def read(namespace: Path) -> list[InstalledRule]:
        return [rule for table in tables for rule in reader.list(namespace, table)]

    # Each waits for a program most of its time.
    with ThreadPoolExecutor(max_workers=4, thread_name_prefix="netlab-rules") as pool:
        reading = {node: pool.submit(read, namespace) for node, namespace in namespaces.items()}
        for node, result in reading.items():
            try:
                found[node] = result.result()
                sources.append(Source("rules", node, True, f"{len(found[node])} rules in {', '.join(tables)}"))
            except KernelError as error:
                sources.append(Source("rules", node, False, error.message))
    return found, sources


def _reader() -> RuleBackend:
    """What lists rules fastest: a program, as python-iptables needs a fork of this whole process for each namespace."""
    backend = rules.backend()
    if backend.name == "iptc":
        with contextlib.suppress(MachineError):
            return rules.backend("iptables-legacy-restore")
    return backend


def _endpoint(pair: tuple[str, int] | None) -> str | None:
    return None if pair is None else f"{pair[0]}:{pair[1]}"
