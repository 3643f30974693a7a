"""Percentages out of route weights."""

from __future__ import annotations

from collections.abc import Sequence


def percentages(weights: Sequence[int]) -> list[int]:
    """Integers in proportion to `weights` (each >= 1) that sum to exactly 100; none for no weights.

    Nobody with a weight is left with 0, as long as there are at most 100 of them. A larger weight never gets less
    than a smaller one, and equal ones differ by at most 1, the earlier having more.
    """
    if not weights:
        return []
    total = sum(weights)
    least = 1 if len(weights) <= 100 else 0
    shares = [max(least, weight * 100 // total) for weight in weights]
    missing = 100 - sum(shares)
    if missing > 0:
        # Largest remainders first; the sort is stable, so among equals the earlier wins.
        by_remainder = sorted(range(len(weights)), key=lambda i: weights[i] * 100 % total, reverse=True)
        eligible = [i for i in by_remainder if shares[i] * total <= weights[i] * 100]
        for i in (eligible or by_remainder)[:missing]:
            shares[i] += 1
    while missing < 0:
        # Raising tiny shares to 1 overshot: take from whoever is now nearest above (or least below) its due.
        i = max(
            (i for i in range(len(shares)) if shares[i] > least),
            key=lambda i: (shares[i] * total - weights[i] * 100, i),
        )
        shares[i] -= 1
        missing += 1
    return shares
