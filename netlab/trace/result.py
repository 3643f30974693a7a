"""A trace as one JSON document, which is also what the table is drawn from."""

from __future__ import annotations

from typing import Any

from netlab.trace.evidence import Evidence
from netlab.trace.expected import Declared
from netlab.trace.path import Observed
from netlab.trace.verdict import Verdict


def document(
    *,
    lab: str,
    url: str,
    declared: Declared,
    evidence: Evidence,
    observed: Observed,
    verdict: Verdict,
    duration_ns: int,
) -> dict[str, Any]:
    """The result of a trace. Times are Unix nanoseconds (`_ns`) or milliseconds (`_ms`)."""
    outcome = evidence.outcome
    leg = observed.mesh_leg
    return {
        "lab": lab,
        "url": url,
        "request_id": outcome.request_id,
        "verdict": verdict.verdict,
        "exit_status": verdict.exit_status,
        "status": outcome.status,
        "failure": outcome.failure,
        "cause": verdict.cause,
        "hint": verdict.hint,
        "expected": list(verdict.expected),
        "observed": list(verdict.observed),
        "hops": [
            {
                "node": hop.node,
                "kind": hop.kind,
                "at_ns": hop.at_ns,
                "before": hop.before,
                "after": hop.after,
                "evidence": [dict(piece) for piece in hop.evidence],
            }
            for hop in observed.hops
        ],
        "declared": {
            "route": declared.route.url,
            "origin": declared.origin,
            "problem": declared.problem,
            "routers": list(declared.routers),
            "instances": [way.instance.node for way in declared.ways],
        },
        "upstream_connection": None if leg is None else "new" if leg.new else "reused",
        "attempts": observed.attempts,
        "sources": [
            {
                "source": source.source,
                "node": source.node,
                "available": source.available,
                "lost": source.lost,
                "detail": source.detail,
            }
            for source in evidence.sources
        ],
        "started_ns": outcome.started_ns,
        "request_ms": round((outcome.ended_ns - outcome.started_ns) / 1e6, 3),
        "duration_ms": round(duration_ns / 1e6, 3),
    }
