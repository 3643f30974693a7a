"""Turning measurements into figures: flat, named, with their unit in the name."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below or at which `percent` of the measurements lie (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def distribution(values: Sequence[float]) -> dict[str, float]:
    """Seconds as min_ms, p50_ms, p99_ms and max_ms."""
    shown = {"min": 0.0, "p50": 50.0, "p99": 99.0, "max": 100.0}
    return {f"{name}_ms": round(percentile(values, percent) * 1000, 3) for name, percent in shown.items()}
