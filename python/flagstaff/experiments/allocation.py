"""Which buckets each variant has. A change of weights moves no more units than it must."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from flagstaff._core import BUCKETS

#: Ranges of buckets in order: the key of a variant, or None for units that take no part, and the
#: number of buckets. The numbers add up to BUCKETS.
Allocation: TypeAlias = list[tuple[str | None, int]]


def targets(weights: Mapping[str, int], traffic_percent: int) -> dict[str, int]:
    """Returns the number of buckets of each variant, by the method of the largest remainder.

    `weights` are relative: {"control": 1, "treatment": 1} are halves. `traffic_percent` is the
    share of all units that take part. Raises ValueError if no weight is positive.
    """
    total = sum(weights.values())
    if total <= 0 or min(weights.values()) < 0:
        raise ValueError("at least one weight must be positive, and none negative")
    buckets = traffic_percent * BUCKETS // 100
    found = {key: buckets * weight // total for key, weight in weights.items()}
    remainders = {key: buckets * weight % total for key, weight in weights.items()}
    by_remainder = sorted(remainders, key=lambda key: -remainders[key])
    for key in by_remainder[: buckets - sum(found.values())]:
        found[key] += 1
    return found


def allocate(
    before: Sequence[tuple[str | None, int]], weights: Mapping[str, int], traffic_percent: int
) -> Allocation:
    """Returns the buckets for these weights, with as many of those `before` as possible.

    A variant that shrinks gives up its last buckets, and those that grow get them in order. So the
    number of buckets that change is the least that the new weights allow.
    """
    found = targets(weights, traffic_percent)
    wanted: dict[str | None, int] = dict(found.items())
    wanted[None] = BUCKETS - sum(found.values())
    left = dict(wanted)
    kept: list[str | _Free | None] = []
    for owner in _buckets(before):
        if left.get(owner, 0) > 0:
            left[owner] -= 1
            kept.append(owner)
        else:
            kept.append(_FREE)
    missing = iter([owner for owner, number in left.items() for _ in range(number)])
    filled = [next(missing) if isinstance(owner, _Free) else owner for owner in kept]
    return [(owner, len(list(group))) for owner, group in groupby(filled)]


def shares(allocation: Sequence[Sequence[Any]]) -> dict[str, float]:
    """Returns the share of all units that each variant has, from 0 to 1."""
    found: dict[str, int] = {}
    for owner, number in allocation:
        if owner is not None:
            found[owner] = found.get(owner, 0) + number
    return {key: number / BUCKETS for key, number in found.items()}


def moved_ranges(
    before: Sequence[Sequence[Any]], later: Iterable[Sequence[Sequence[Any]]]
) -> list[tuple[int, int]]:
    """Returns the ranges of buckets that get another variant in one of the later allocations.

    Each range has its first bucket, and the one after its last.
    """
    owners = list(_buckets(before))
    moved = [False] * len(owners)
    for allocation in later:
        for bucket, (owner, other) in enumerate(zip(owners, _buckets(allocation), strict=True)):
            moved[bucket] |= None not in {owner, other} and owner != other
    ranges, start = [], 0
    for is_moved, group in groupby(moved):
        end = start + len(list(group))
        if is_moved:
            ranges.append((start, end))
        start = end
    return ranges


class _Free:
    """A bucket that its variant has given up."""


_FREE = _Free()


def _buckets(allocation: Sequence[Sequence[Any]]) -> list[str | None]:
    """Returns the variant of each bucket. Before the first allocation, no unit takes part."""
    found = [owner for owner, number in allocation for _ in range(number)]
    return found or [None] * BUCKETS
