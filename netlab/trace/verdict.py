"""Whether a request took the declared path, and if not, why. Pure: declarations, evidence and hops in, verdict out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from netlab.trace import causes, configured
from netlab.trace.case import Case, Cause
from netlab.trace.evidence import Evidence, SourceName
from netlab.trace.expected import Declared
from netlab.trace.path import APP, CELL, CONTAINER, DNAT, SIDECAR, Observed
from netlab.trace.subject import Subject

NEEDED_SOURCES = 2
"""So many independent sources must have seen a change of the destination."""

Outcome = Literal["pass", "differs", "dropped", "insufficient"]
EXIT_STATUS: dict[Outcome, int] = {"pass": 0, "differs": 1, "dropped": 3, "insufficient": 4}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a trace."""

    verdict: Outcome
    expected: tuple[str, ...]
    observed: tuple[str, ...]
    cause: str | None = None
    hint: str | None = None

    @property
    def exit_status(self) -> int:
        """0 as declared, 1 another path, 3 dropped or no answer, 4 not enough evidence."""
        return EXIT_STATUS[self.verdict]


def judge(subject: Subject, declared: Declared, evidence: Evidence, observed: Observed) -> Verdict:
    """Compare what is declared, what is configured and what was seen; name the first difference and its cause.

    What was not seen counts only where it would have been seen.
    """
    expected = tuple(declared.path(observed.router, observed.container))
    seen = tuple(observed.nodes)

    def verdict(outcome: Outcome, cause: str | None = None, hint: str | None = None) -> Verdict:
        return Verdict(outcome, expected, seen, cause, hint or None)

    complete = evidence.outcome.status is not None and evidence.outcome.failure is None
    gap = next(configured.gaps(subject, declared, evidence.rules, observed.container), None)
    if seen == expected and complete:
        if gap is not None:
            return verdict("differs", _although(gap, observed), gap.hint)
        retried = causes.retried(Case(subject, declared, evidence, observed))
        if retried is not None:
            return verdict("differs", retried.text, retried.hint)
        weak = next(_unproven(observed), None)
        if weak is not None:
            return verdict("insufficient", weak, "the table of sources says what could not be seen")
        return verdict("pass")
    found = causes.find(Case(subject, declared, evidence, observed))
    if gap is not None and _explains(gap, observed):
        found = Cause(gap.cause, gap.hint, dropped=found.dropped)
    elif complete and (blind := _blind(declared, evidence, observed, expected)):
        return verdict("insufficient", f"{blind}; what else is known: {found.text}", found.hint)
    dropped = found.dropped or not complete
    return verdict("dropped" if dropped else "differs", found.text, found.hint)


def _although(gap: configured.Gap, observed: Observed) -> str:
    leg = observed.mesh_leg
    if gap.node == observed.container and leg is not None and not leg.new:
        return f"{gap.cause} (this request came through it on a connection that was made while the rule stood)"
    if gap.node not in observed.nodes:
        return f"{gap.cause} (this request went to {observed.container}, but the next may not)"
    return gap.cause


def _explains(gap: configured.Gap, observed: Observed) -> bool:
    """Whether the request ended, or left its path, where the rules are not as declared."""
    places = [hop.node for hop in observed.hops if hop.kind not in (SIDECAR, APP)]
    if not places:
        return False
    return gap.node == places[-1] or gap.node == observed.container


def _unproven(observed: Observed) -> Iterator[str]:
    """Changes of the destination that are not seen, or by too few sources, and places that nobody saw."""
    for hop in observed.hops:
        if not hop.evidence:
            yield f"nothing but the places around it says that the request came through {hop.node} ({hop.kind})"
        if hop.kind == DNAT and len(hop.proofs) < NEEDED_SOURCES:
            by = " and ".join(sorted(hop.proofs)) or "nothing"
            yield f"the DNAT on {hop.node} is shown by {by} only; {NEEDED_SOURCES} independent sources are needed"
    for kind in ("lb", CELL, CONTAINER):
        place = observed.hop(kind)
        if place is not None and observed.hop(DNAT, place.node) is None:
            yield f"no source shows the DNAT on {place.node}"


def _blind(declared: Declared, evidence: Evidence, observed: Observed, expected: tuple[str, ...]) -> str | None:
    """Why a place that is missing in the path may have been there all the same.

    One sound source that saw nothing there is enough to say that the request was not.
    """
    container = observed.container
    places: tuple[tuple[Sequence[str], tuple[SourceName, ...]], ...] = (
        ((declared.client,), ("packet",)),
        ((declared.balancer,), ("packet",)),
        ((observed.router,) if observed.router else declared.routers, ("packet", "access-log")),
        (sorted({way.instance.cell for way in declared.ways}), ("packet",)),
        ((container,) if container else [way.instance.node for way in declared.ways], ("packet", "access-log")),
        ((container,) if container else (), ("packet", "access-log")),
        ((container,) if container else (), ("packet",)),
    )
    for name, (nodes, witnesses) in zip(expected, places, strict=True):
        if name in observed.nodes:
            continue
        for node in nodes:
            reasons = [f"{source}: {why}" for source in witnesses if (why := evidence.blind(node, source))]
            if len(reasons) == len(witnesses):
                return f"{name} could not be watched on {node} ({'; '.join(reasons)})"
    return None
