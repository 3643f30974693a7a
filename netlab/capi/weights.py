"""Sharing out percentages."""

from __future__ import annotations

from collections.abc import Sequence


def rescale(weights: Sequence[int], total: int) -> list[int]:
    """Whole numbers in the proportion of `weights`, each at least 1, that add up to `total`.

    `total` must be at least the number of weights. What rounding leaves over goes to the largest remainders;
    what the ones that would be 0 need is taken from the largest.
    """
    if total < len(weights):
        raise ValueError(f"{total} cannot be shared among {len(weights)}")
    exact = [weight * total / sum(weights) for weight in weights]
    shares = [max(1, int(share)) for share in exact]
    while (missing := total - sum(shares)) > 0:
        by_remainder = sorted(range(len(shares)), key=lambda index: shares[index] - exact[index])
        for index in by_remainder[:missing]:
            shares[index] += 1
    while sum(shares) > total:
        shares[shares.index(max(shares))] -= 1
    return shares
