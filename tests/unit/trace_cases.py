"""Traces of a real lab, recorded with everything that their verdicts rest on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from netlab.trace.correlate import correlate
from netlab.trace.evidence import Evidence
from netlab.trace.expected import Declared, declare
from netlab.trace.path import Observed
from netlab.trace.routes import Routes
from netlab.trace.subject import Subject
from netlab.trace.verdict import Verdict, judge

DIRECTORY = Path(__file__).parent / "traces"


@dataclass(frozen=True)
class Recording:
    """One recorded trace."""

    subject: Subject
    routes: Routes
    host: str
    path: str
    evidence: Evidence

    @property
    def declared(self) -> Declared:
        return declare(self.subject, self.routes, self.host, self.path)

    def observed(self) -> Observed:
        return correlate(self.subject, self.evidence)

    def verdict(self) -> Verdict:
        return judge(self.subject, self.declared, self.evidence, self.observed())


_ADAPTER = TypeAdapter(Recording)


def names() -> list[str]:
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def load(name: str) -> Recording:
    return _ADAPTER.validate_json((DIRECTORY / f"{name}.json").read_bytes())


def save(name: str, recording: Recording) -> None:
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{name}.json").write_bytes(_ADAPTER.dump_json(recording) + b"\n")
