"""What this machine offers and lacks: `netlab doctor`."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

from netlab.envoy import launch as envoy
from netlab.errors import MachineError
from netlab.kernel import probe


@dataclass(frozen=True)
class Finding:
    """One thing netlab needs (`required`) or can use."""

    name: str
    ok: bool
    required: bool
    detail: str

    def as_dict(self) -> dict[str, Any]:
        """The finding as JSON shows it."""
        return asdict(self)


def examine() -> list[Finding]:
    """Examine the machine: the kernel's features by trying them, and the programs netlab runs."""
    kernel = platform.release()
    findings = [Finding("kernel", True, True, f"Linux {kernel} on {platform.machine()}, {os.cpu_count()} CPUs")]
    for feature in probe.features():
        detail = feature.detail if feature.ok else f"{feature.detail} ({feature.purpose})"
        findings.append(Finding(feature.name, feature.ok, feature.needed == "required", detail))
    try:
        findings.append(Finding("envoy", True, True, str(envoy.envoy_binary())))
    except MachineError as error:
        findings.append(Finding("envoy", False, True, f"{error.message}; {error.hint}"))
    return findings
