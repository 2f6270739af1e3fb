"""Units whose bucket got another variant in a later phase.

Those who return meet two variants. If only they were left out, one variant would lose its most
active units, so all units of such a bucket are left out, whether they returned or not. The hash
decides who they are, so both variants keep a random part of their units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flagstaff._core import BUCKETS
from flagstaff.conf import conf
from flagstaff.experiments.allocation import moved_ranges
from flagstaff.experiments.models import Experiment, Phase

#: The ranges of buckets that got another variant after a phase, by its number.
BucketRanges = Mapping[int, Sequence[tuple[int, int]]]


class ReassignedBuckets(NamedTuple):
    """The phases since the last shuffle, and the buckets that moved after each."""

    phases: Sequence[Phase]
    ranges: BucketRanges


def reassigned_buckets(experiment: Experiment) -> ReassignedBuckets:
    """Returns the phases of an experiment, and what moved between them. Makes one query."""
    rows = Phase.objects.using(conf.database).filter(
        experiment_id=experiment.pk, shuffle=experiment.shuffle
    )
    phases = list(rows.order_by("number"))
    moved = {
        phase.number: moved_ranges(
            phase.allocation, [later.allocation for later in phases[place + 1 :]]
        )
        for place, phase in enumerate(phases)
    }
    return ReassignedBuckets(phases, moved)


def shares_that_stay(phase: Phase, moved: Sequence[tuple[int, int]]) -> dict[str, float]:
    """Returns the share of all units by variant, without the buckets that moved later."""
    sizes: dict[str, int] = {}
    first = 0
    for owner, number in phase.allocation:
        after = first + number
        lost = sum(max(0, min(after, end) - max(first, start)) for start, end in moved)
        if owner is not None:
            sizes[owner] = sizes.get(owner, 0) + number - lost
        first = after
    return {owner: number / BUCKETS for owner, number in sizes.items()}


def reassigned_sql(moved: BucketRanges) -> str:
    """Returns the SQL condition that an exposure `e` is in such a bucket."""
    parts = [
        f"(e.phase OPERATOR(pg_catalog.=) {number} "
        f"AND e.bucket OPERATOR(pg_catalog.>=) {first} AND e.bucket OPERATOR(pg_catalog.<) {end})"
        for number, ranges in moved.items()
        for first, end in ranges
    ]
    return f"coalesce({' OR '.join(parts)}, false)" if parts else "false"
