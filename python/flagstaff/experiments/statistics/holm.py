"""Holm's correction for several metrics or several treatments. Guardrails are not in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Corrected:
    """One of several p values, corrected."""

    p_value: float
    #: Whether it is at most alpha after the correction.
    is_rejected: bool
    #: The alpha of the interval that excludes 0 exactly if `is_rejected`.
    interval_alpha: float


def holm(p_values: Sequence[float], alpha: float = 0.05) -> list[Corrected]:
    """Returns the adjusted p values, in the same order: `alpha` holds for all of them together.

    The i-th smallest of m is multiplied by m - i + 1, and is at least its predecessor (Holm 1979,
    "A simple sequentially rejective multiple test procedure"). Its interval has alpha / (m - i + 1)
    if it is rejected; all others have that of the first that is not. So the interval and the
    decision agree for each metric. They do not hold together with `alpha`; intervals of alpha / m
    do. Also valid for always-valid p values, at every look.

        >>> [round(one.p_value, 3) for one in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
        >>> [round(one.interval_alpha, 4) for one in holm([0.01, 0.04, 0.03])]
        [0.0167, 0.025, 0.025]
    """
    found: dict[int, Corrected] = {}
    largest, is_rejected, level = 0.0, True, alpha
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        left = len(p_values) - rank
        largest = max(largest, min(left * p_values[index], 1.0))
        if is_rejected:
            level = alpha / left
            is_rejected = p_values[index] <= level
        found[index] = Corrected(largest, is_rejected, level)
    return [found[index] for index in range(len(p_values))]
