"""Sharing out percentages."""

from __future__ import annotations

from collections.abc import Sequence


def rescale(weights: Sequence[int], total: int) -> list[int]:
    """Whole numbers in the proportion of `weights`, each at least 1, that add up to `total`.

    `total` must be at least the number of weights. What rounding leaves over goes to the largest remainders.
    """
    if total < len(weights):
        raise ValueError(f"{total} cannot be shared among {len(weights)}")
    spare = total - len(weights)
    scale = sum(weights)
    exact = [weight * spare / scale for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(weights)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: spare - sum(shares)]:
        shares[index] += 1
    return [share + 1 for share in shares]
