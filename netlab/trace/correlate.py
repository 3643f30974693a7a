"""From evidence to hops: joins packets, conntrack entries, rule steps and log lines of one request. Pure.

A destination changes on the way, a connection's client end does not, so that end is what names a leg. Of the packets
of a leg the one that carries the request's id counts, on whichever interface; a first packet (SYN) does where the
request itself never came through.
"""

from __future__ import annotations

from netlab.trace import pieces
from netlab.trace.evidence import Evidence, RuleStep, Segment, host, port
from netlab.trace.expected import app_of, sidecar_of
from netlab.trace.path import (
    APP,
    BALANCER,
    CELL,
    CLIENT,
    CONTAINER,
    DNAT,
    INGRESS,
    SIDECAR,
    Hop,
    Leg,
    Observed,
    Piece,
)
from netlab.trace.pieces import arrow
from netlab.trace.subject import Instance, Subject
from netlab.trace.walk import Arrival, translations

PATIENCE_NS = 50_000_000
"""Nanoseconds after which a first packet in the lab counts as not answered."""


def correlate(subject: Subject, evidence: Evidence) -> Observed:
    """The hops of the request, in the order in which it came to them, as far as it came."""
    observed = Observed()
    source = evidence.outcome.local
    if source is None:
        return observed
    observed.client_leg = leg = Leg(source, evidence.outcome.remote)
    _Correlation(subject, evidence, observed).follow(leg)
    return observed


class _Correlation:
    def __init__(self, subject: Subject, evidence: Evidence, observed: Observed) -> None:
        self.subject = subject
        self.evidence = evidence
        self.observed = observed

    def follow(self, leg: Leg) -> None:
        client, balancer = self.subject.client, self.subject.balancer
        sent = self.sighting(client.name, leg.source, outgoing=True)
        # The probe sent it: that needs no other witness.
        self.add(
            CLIENT,
            client.name,
            sent.time_ns if sent else self.evidence.outcome.started_ns,
            after=arrow(leg.source, leg.destination),
            evidence=[pieces.packet(sent)] if sent else [],
        )
        arrived = self.sighting(balancer.name, leg.source, outgoing=False)
        if arrived is None and self.translated(balancer.name, leg) is None:
            return
        self.add_through(BALANCER, balancer.name, leg, arrived)
        router = self.subject.vm_at(host(leg.final), "router") if leg.final else None
        if router is not None:
            self.follow_router(router.name, leg)

    def follow_router(self, router: str, leg: Leg) -> None:
        arrived = self.sighting(router, leg.source, outgoing=False)
        line = self.evidence.line("ingress", router)
        if arrived is None and line is None:
            return
        self.observed.router = router
        upstream = self.mesh_leg(router, leg)
        evidence = [pieces.packet(arrived)] if arrived else []
        if line is not None:
            evidence.append(pieces.access_log(line))
        left = self.sighting(router, upstream.source, outgoing=True) if upstream else None
        if left is not None:
            evidence.append(pieces.packet(left))
        self.add(
            INGRESS,
            router,
            arrived.time_ns if arrived else None,
            before=arrow(leg.source, leg.final or leg.destination),
            after=arrow(upstream.source, upstream.destination) if upstream else "",
            evidence=evidence,
        )
        if upstream is not None:
            self.observed.mesh_leg = upstream
            self.follow_cell(upstream)

    def mesh_leg(self, router: str, client_leg: Leg) -> Leg | None:
        """The connection on which the router passed the request on, or tried to: of several the last."""
        address = next(vm.address for vm in self.subject.vms if vm.name == router)
        out = [
            segment
            for segment in self.evidence.segments
            if segment.node == router
            and segment.outgoing
            and host(segment.source) == address
            and segment.destination != client_leg.source
        ]
        begun = {segment.source: segment for segment in out if segment.flags == "S"}
        failed = {source: segment for source, segment in begun.items() if self.in_vain(router, segment)}
        line = self.evidence.line("ingress", router)
        upstream = line.get("upstream_host") if line else ""
        carriers = [segment for segment in out if segment.carries]
        # Without a packet that carries the request it is the connection that failed, to where the log says.
        chosen = carriers or [each for each in failed.values() if each.destination == upstream] or list(failed.values())
        used = {segment.source for segment in carriers}
        self.observed.attempts = len(used | failed.keys())
        if chosen:
            last = max(chosen, key=lambda segment: segment.time_ns)
            others = (segment for source, segment in failed.items() if source != last.source)
            self.observed.failed = [Leg(segment.source, segment.destination) for segment in others]
            return Leg(last.source, last.destination, new=last.source in begun)
        if line is not None and line.get("upstream_local") and line.get("upstream_remote"):
            # Without packets only the log knows, and it does not tell a new connection from a kept one.
            return Leg(line.get("upstream_local"), line.get("upstream_remote"), new=False)
        return None

    def in_vain(self, node: str, first: Segment) -> bool:
        """Whether a connection that began was refused, or not answered for so long that it never will be."""
        seen = [segment for segment in self.evidence.segments if segment.node == node]
        if any(segment.icmp and segment.source == first.source for segment in seen):
            return True
        answers = [each.flags for each in seen if (each.destination, each.source) == (first.source, first.destination)]
        if answers:
            return all("R" in flags for flags in answers)
        return self.evidence.outcome.ended_ns - first.time_ns > PATIENCE_NS

    def follow_cell(self, leg: Leg) -> None:
        cell = self.subject.vm_at(host(leg.destination), "cell")
        if cell is not None:
            arrived = self.sighting(cell.name, leg.source, outgoing=False)
            if arrived is None and self.translated(cell.name, leg) is None:
                return
            self.observed.cell = cell.name
            self.add_through(CELL, cell.name, leg, arrived)
        instance = self.subject.instance_at(host(leg.final or leg.destination))
        if instance is not None:
            self.follow_container(instance, leg)

    def follow_container(self, instance: Instance, leg: Leg) -> None:
        destination = leg.final or leg.destination
        arrived = self.sighting(instance.node, leg.source, outgoing=False)
        line = self.evidence.line("sidecar", instance.node)
        if arrived is None and line is None:
            return
        self.observed.container = instance.node
        inner = Leg(leg.source, destination, new=leg.new)
        self.add_through(CONTAINER, instance.node, inner, arrived)
        at_app = self.local_request(instance, inner)
        if line is not None or at_app is not None:
            self.add_sidecar(instance, inner, at_app)
            if at_app is not None:
                self.add_app(instance, at_app)
        elif inner.final is None and (answer := self.answer_of(instance, inner)) is not None and arrived is not None:
            # Nothing came between the wire and the app.
            self.add_app(instance, arrived, answer)

    def add_sidecar(self, instance: Instance, leg: Leg, at_app: Segment | None) -> None:
        line = self.evidence.line("sidecar", instance.node)
        began = _nanoseconds(line.get("start_time")) if line else None
        arrived = self.sighting(instance.node, leg.source, outgoing=False)
        if arrived is not None:
            # Envoy's clock is a coarser one than the kernel's.
            began = max(began or 0, arrived.time_ns)
        after = arrow(at_app.source, at_app.destination) if at_app else ""
        if not after and line is not None and line.get("upstream_remote"):
            after = arrow(line.get("upstream_local"), line.get("upstream_remote"))
        self.add(
            SIDECAR,
            instance.node,
            began,
            before=arrow(leg.source, leg.final or leg.destination),
            after=after,
            evidence=[pieces.access_log(line)] if line else [pieces.packet(at_app)] if at_app else [],
            name=sidecar_of(instance.node),
        )

    def add_app(self, instance: Instance, arrived: Segment, answer: Segment | None = None) -> None:
        answer = answer or next(
            (
                segment
                for segment in self.evidence.segments
                if segment.node == instance.node
                and (segment.source, segment.destination) == (arrived.destination, arrived.source)
                and segment.http.startswith("HTTP/")
            ),
            None,
        )
        evidence = [pieces.packet(arrived)] + ([pieces.packet(answer)] if answer else [])
        before = arrow(arrived.source, arrived.destination)
        self.add(APP, instance.node, arrived.time_ns, before, "", evidence, name=app_of(instance.node))

    def add_through(self, kind: str, node: str, leg: Leg, arrived: Segment | None) -> None:
        """A node that may change the destination: one hop for the arrival, one for the change."""
        before = arrow(leg.source, leg.destination)
        at = arrived.time_ns if arrived else None
        self.add(kind, node, at, before, "", [pieces.packet(arrived)] if arrived else [])
        changed = self.translated(node, leg)
        if changed is None:
            return
        leg.final = changed
        left = self.departure(node, leg)
        evidence: list[Piece] = []
        if (by := self.rule(node, leg, changed)) is not None:
            evidence.append(by)
        connection = self.evidence.connection(node, leg.source)
        if connection is not None and connection.translated == changed:
            evidence.append(pieces.conntrack(connection, self.evidence.outcome.ended_ns, new=leg.new))
        if left is not None:
            evidence.append(pieces.packet(left))
        line = self.evidence.line("sidecar", node)
        if line is not None and (line.get("downstream_local"), line.get("downstream_direct_local")) == (
            leg.destination,
            changed,
        ):
            evidence.append(pieces.access_log(line))
        self.add(DNAT, node, left.time_ns if left else at, before, arrow(leg.source, changed), evidence, name="")

    def add(
        self,
        kind: str,
        node: str,
        at_ns: int | None,
        before: str = "",
        after: str = "",
        evidence: list[Piece] | None = None,
        name: str | None = None,
    ) -> None:
        self.observed.hops.append(Hop(node, kind, at_ns, before, after, tuple(evidence or ())))
        name = node if name is None else name
        if name:
            self.observed.nodes.append(name)

    def sighting(self, node: str, source: str, *, outgoing: bool) -> Segment | None:
        """The packet of a leg that stands for it on its way into or out of a node."""
        found = [
            segment
            for segment in self.evidence.segments
            if (segment.node, segment.source, segment.outgoing) == (node, source, outgoing)
            and segment.interface != "lo"
            and not segment.icmp
        ]
        for segment in found:
            if segment.carries:
                return segment
        return found[0] if found else None

    def departure(self, node: str, leg: Leg) -> Segment | None:
        """The packet on its way out of a node with its new destination."""
        left = self.sighting(node, leg.source, outgoing=True)
        return left if left is not None and left.destination != leg.destination else None

    def local_request(self, instance: Instance, leg: Leg) -> Segment | None:
        """The request on the container's loopback, on its way from the sidecar to the app."""
        for segment in self.evidence.segments:
            if (
                segment.node == instance.node
                and segment.interface == "lo"
                and not segment.outgoing
                and segment.carries
                and segment.source != leg.source
                and port(segment.destination) in dict(instance.ports)
            ):
                return segment
        return None

    def answer_of(self, instance: Instance, leg: Leg) -> Segment | None:
        """The beginning of an answer that left the container on the connection on which the request came."""
        for segment in self.evidence.segments:
            if (
                segment.node == instance.node
                and segment.outgoing
                and (segment.source, segment.destination) == (leg.destination, leg.source)
                and segment.http.startswith("HTTP/")
            ):
                return segment
        return None

    def translated(self, node: str, leg: Leg) -> str | None:
        """Where a node changed a leg's destination to, by the first source that tells."""
        left = self.departure(node, leg)
        if left is not None:
            return left.destination
        connection = self.evidence.connection(node, leg.source)
        if connection is not None and connection.translated:
            return connection.translated
        for step in self.steps(node, leg):
            if step.destination != leg.destination:
                return step.destination
        return None

    def steps(self, node: str, leg: Leg) -> list[RuleStep]:
        return [step for step in self.evidence.steps if (step.node, step.source) == (node, leg.source)]

    def rule(self, node: str, leg: Leg, changed: str) -> Piece | None:
        """The rule that changed a leg's destination: the last nat rule that met it as it came."""
        listed = self.evidence.rules.get(node, [])
        met = [
            step
            for step in self.steps(node, leg)
            if step.table == "nat" and step.kind == "rule" and step.destination == leg.destination
        ]
        if met:
            installed = pieces.find_rule(listed, met[-1])
            return pieces.rule(installed, "trace", met[-1]) if installed else pieces.unlisted_rule(met[-1])
        for translation in translations(listed, Arrival(leg.source, leg.destination)):
            if translation.destination == changed:
                return pieces.rule(translation.rule, "listing")
        return None


def _nanoseconds(seconds: str) -> int | None:
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0")[:9]) if whole.isdigit() else None
