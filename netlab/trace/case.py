"""One trace as the finding of causes sees it: what is known, and the questions that are put to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from netlab.trace.evidence import Evidence, Segment
from netlab.trace.expected import Declared
from netlab.trace.path import Leg, Observed
from netlab.trace.subject import Instance, Subject


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong, how to mend it, and whether packets were lost over it."""

    text: str
    hint: str = ""
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """All that a cause is found from."""

    subject: Subject
    declared: Declared
    evidence: Evidence
    observed: Observed

    def packets(self, node: str, source: str) -> list[Segment]:
        """The packets of a leg at a node, both ways."""
        return [
            each for each in self.evidence.segments if each.node == node and source in (each.source, each.destination)
        ]

    def unanswered(self, node: str, source: str) -> bool:
        """Whether packets of a leg were seen at a node, and none in answer."""
        seen = self.packets(node, source)
        return bool(seen) and not any(each.destination == source for each in seen)

    def refused(self, node: str, source: str) -> bool:
        """Whether a leg was answered by a reset and nothing else, or by an ICMP error."""
        seen = self.packets(node, source)
        answers = [each for each in seen if each.destination == source]
        return any(each.icmp for each in seen) or (bool(answers) and all("R" in each.flags for each in answers))

    def left(self, node: str, leg: Leg) -> bool:
        """Whether a leg's packets went out of a node."""
        return any(each.outgoing and each.source == leg.source for each in self.packets(node, leg.source))

    def instance(self, node: str | None) -> Instance | None:
        """The instance whose container is called so."""
        return next((each for each in self.subject.instances if each.node == node), None)
