"""Pieces of evidence as they are printed, each with a summary in a person's words. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from netlab.kernel.rules import InstalledRule
from netlab.trace.evidence import Connection, LogLine, RuleStep, Segment
from netlab.trace.path import Piece

_LOG_FIELDS = (
    "start_time",
    "method",
    "path",
    "authority",
    "response_code",
    "response_flags",
    "response_code_details",
    "downstream_direct_remote",
    "downstream_local",
    "downstream_direct_local",
    "upstream_local",
    "upstream_remote",
    "upstream_host",
    "upstream_cluster",
    "upstream_failure",
    "route_name",
    "duration_ms",
    "connection_id",
    "upstream_connection_id",
)


def arrow(source: str, destination: str) -> str:
    """A direction in words."""
    return f"{source} → {destination}"


def packet(segment: Segment) -> Piece:
    """A packet on the wire."""
    way = "out of" if segment.outgoing else "into"
    what = segment.icmp or segment.http or segment.flags
    return {
        "source": "packet",
        "summary": f"{way} {segment.interface}: {what}",
        "interface": segment.interface,
        "direction": "out" if segment.outgoing else "in",
        "at_ns": segment.time_ns,
        "from": segment.source,
        "to": segment.destination,
        "flags": segment.flags,
        "seq": segment.seq,
        "bytes": segment.payload,
        "carries_request": segment.carries,
        "http": segment.http,
    }


def conntrack(connection: Connection, now_ns: int, *, new: bool) -> Piece:
    """A connection that conntrack knows."""
    to = f" translated to {connection.translated}" if connection.translated else " not translated"
    summary = f"entry {connection.id}:{to}"
    piece: dict[str, Any] = {
        "source": "conntrack",
        "entry": connection.id,
        "original": arrow(connection.source, connection.destination),
        "translated": connection.translated,
        "state": connection.state,
        "connection": "new" if new else "reused",
    }
    if connection.masqueraded:
        piece["masqueraded"] = connection.masqueraded
    if not new:
        age = (
            f" made {(now_ns - connection.start_ns) / 1e9:.1f} s ago"
            if connection.start_ns
            else " made before this request"
        )
        summary += f",{age}; nat rules see only a connection's first packet"
    return {**piece, "summary": summary}


def rule(installed: InstalledRule, how: str, step: RuleStep | None = None) -> Piece:
    """The rule that did it: `trace` if the kernel said so, `listing` if it is the one that would."""
    said = "" if how == "trace" else ", as it stands now"
    comment = installed.rule.comment
    words = " ".join(dataclasses.replace(installed.rule, comment="").specification())
    return {
        "source": "rule",
        "summary": f"{installed.rule.chain} rule {installed.number}{said}: {words}{f' # {comment}' if comment else ''}",
        "how": how,
        "origin": step.origin if step else None,
        "table": installed.rule.table,
        "chain": installed.rule.chain,
        "number": installed.number,
        "comment": comment,
        "text": str(installed.rule),
    }


def unlisted_rule(step: RuleStep) -> Piece:
    """A rule that the kernel named, but that cannot be read."""
    return {
        "source": "rule",
        "summary": f"{step.chain} rule {step.number}",
        "how": "trace",
        "origin": step.origin,
        "table": step.table,
        "chain": step.chain,
        "number": step.number,
        "comment": "",
        "text": "",
    }


def access_log(line: LogLine) -> Piece:
    """An Envoy's line."""
    flags = line.get("response_flags")
    status = line.get("response_code")
    upstream = line.get("upstream_host") or line.get("upstream_cluster") or "nowhere"
    flagged = f" {flags}" if flags not in ("", "-") else ""
    return {
        "source": "access-log",
        "summary": f"{line.proxy} Envoy: {status}{flagged}, upstream {upstream}",
        **{key: line.fields.get(key) for key in _LOG_FIELDS},
    }


def find_rule(rules: Sequence[InstalledRule], step: RuleStep) -> InstalledRule | None:
    """The rule that a step names by number."""
    for each in rules:
        if (each.rule.table, each.rule.chain, each.number) == (step.table, step.chain, step.number):
            return each
    return None
