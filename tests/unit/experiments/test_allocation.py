"""The buckets of variants: shares by weight, and the fewest changes of buckets."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flagstaff._core import BUCKETS
from flagstaff.experiments.allocation import (
    Allocation,
    allocate,
    moved_ranges,
    shares,
    targets,
)

WEIGHTS = st.dictionaries(
    st.sampled_from("abcd"), st.integers(0, 9), min_size=1, max_size=4
).filter(lambda weights: sum(weights.values()) > 0)
PERCENT = st.integers(0, 100)


def buckets(allocation: Allocation) -> list[str | None]:
    return [owner for owner, number in allocation for _ in range(number)]


def test_share_of_the_traffic_is_split_by_weight() -> None:
    found = allocate([], {"control": 1, "treatment": 1}, 100)
    assert found == [("control", 5000), ("treatment", 5000)]
    found = allocate([], {"control": 1, "treatment": 3}, 40)
    assert shares(found) == {"control": 0.1, "treatment": 0.3}


def test_largest_remainders_get_the_buckets_that_are_left() -> None:
    assert targets({"a": 1, "b": 1, "c": 1}, 100) == {"a": 3334, "b": 3333, "c": 3333}
    assert targets({"a": 2, "b": 5}, 1) == {"a": 29, "b": 71}


@pytest.mark.parametrize("weights", [{}, {"a": 0}, {"a": 2, "b": -1}])
def test_weights_without_a_positive_sum_are_refused(weights: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="weight"):
        targets(weights, 100)


@pytest.mark.thorough
# A busy machine is slow.
@settings(deadline=None)
@given(st.lists(st.tuples(WEIGHTS, PERCENT), min_size=2, max_size=8))
def test_each_of_many_changes_changes_the_fewest_buckets(
    changes: list[tuple[dict[str, int], int]],
) -> None:
    allocation: Allocation = []
    for weights, traffic in changes:
        old = buckets(allocation) or [None] * BUCKETS
        allocation = allocate(allocation, weights, traffic)
        new = buckets(allocation)
        assert len(new) == BUCKETS
        assert {key: new.count(key) for key in weights} == targets(weights, traffic)
        changed = sum(one != other for one, other in zip(old, new, strict=True))
        # The distance of the two distributions: no assignment of buckets moves fewer.
        owners = {*old, *new}
        assert 2 * changed == sum(abs(old.count(one) - new.count(one)) for one in owners)


def test_moved_ranges_are_the_buckets_that_get_another_variant_in_any_later_phase() -> None:
    first = [("a", 5000), ("b", 5000)]
    assert moved_ranges(first, []) == []
    assert moved_ranges(first, [[("a", 2500), ("b", 7500)]]) == [(2500, 5000)]
    back = [[("a", 4000), ("b", 6000)], [("a", 7000), ("b", 3000)]]
    assert moved_ranges(first, back) == [(4000, 7000)]
    assert moved_ranges(first, [[("a", 1000), (None, 9000)]]) == []
