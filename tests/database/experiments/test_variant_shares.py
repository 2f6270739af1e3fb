"""The shares of variants over a million units, and their independence of other splits.

Keys and units are fixed, so each statistic is always the same. A correct split exceeds its bound
with one of a thousand keys.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest

from flagstaff import experiments, flag_enabled, refresh
from flagstaff.changes import create as create_flag
from flagstaff.changes import enable, set_rollout
from flagstaff.experiments import peek_variant
from flagstaff.experiments.allocation import targets
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED

pytestmark = [COMMITTED, pytest.mark.timeout(120)]

KEY = "checkout_button"
UNITS = range(1_000_000)
#: By degrees of freedom: exceeded by chance in one of a thousand cases.
BOUNDS = {1: 10.828, 2: 13.816, 3: 16.266}
Variants = Sequence[str | None]


@pytest.fixture(autouse=True)
def in_memory(transactional_db: None) -> Iterator[None]:
    with live_engine():
        yield


def variants(key: str = KEY) -> Variants:
    """The variants of all units now."""
    refresh()
    return [peek_variant(key, unit) for unit in UNITS]


def chi_square(observed: Sequence[float], expected: Sequence[float]) -> float:
    pairs = zip(observed, expected, strict=True)
    return sum((number - mean) ** 2 / mean for number, mean in pairs)


def dependence(one: Sequence[object], other: Sequence[object]) -> float:
    """The chi-square statistic of the table of two splits in two, against independence."""
    rows, columns = Counter(one), Counter(other)
    assert (len(rows), len(columns)) == (2, 2)
    cells = Counter(zip(one, other, strict=True))
    table = [(row, column) for row in rows for column in columns]
    expected = [rows[row] * columns[column] / len(one) for row, column in table]
    return chi_square([cells[cell] for cell in table], expected)


@pytest.mark.parametrize(
    ("given", "traffic"),
    [
        ({"control": 1, "treatment": 1}, 100),
        ({"a": 1, "b": 2, "c": 7}, 100),
        ({"a": 1, "b": 1, "c": 1}, 40),
        ({"control": 99, "treatment": 1}, 100),
    ],
    ids=["halves", "1:2:7", "thirds of 40 %", "99:1"],
)
def test_shares_of_a_million_units_are_those_of_the_weights(
    given: dict[str, int], traffic: int
) -> None:
    weights = [f"{variant}:{weight}" for variant, weight in given.items()]
    experiments.create(KEY, weights, traffic_percent=traffic)
    experiments.start(KEY)
    found = Counter(variants())
    buckets: dict[str | None, int] = dict(targets(given, traffic).items())
    if traffic < 100:
        buckets[None] = 10_000 - sum(buckets.values())
    assert set(found) == set(buckets)
    expected = [len(UNITS) * number / 10_000 for number in buckets.values()]
    statistic = chi_square([found[variant] for variant in buckets], expected)
    assert statistic < BOUNDS[len(buckets) - 1], found


def test_variants_of_two_experiments_are_independent() -> None:
    for key in (KEY, "search_order"):
        experiments.create(key)
        experiments.start(key)
    assert dependence(variants(KEY), variants("search_order")) < BOUNDS[1]


def test_variants_are_independent_of_a_flag_at_half() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    create_flag("new_checkout")
    enable("new_checkout")
    set_rollout("new_checkout", 50)
    found = variants()
    assert dependence(found, [flag_enabled("new_checkout", unit) for unit in UNITS]) < BOUNDS[1]


def test_variants_after_a_shuffle_are_independent_of_those_before() -> None:
    experiments.create(KEY)
    experiments.start(KEY)
    before = variants()
    experiments.shuffle(KEY)
    again = variants()
    experiments.shuffle(KEY)
    third = variants()
    for one, other in ((before, again), (again, third), (before, third)):
        assert dependence(one, other) < BOUNDS[1]


def test_random_changes_of_weights_move_as_few_units_as_possible() -> None:
    rng = random.Random(7)
    experiments.create(KEY, ["a", "b", "c"])
    experiments.start(KEY)
    wanted, before = targets({"a": 1, "b": 1, "c": 1}, 100), variants()
    for _ in range(6):
        weights = {variant: rng.randrange(1, 10) for variant in "abc"}
        traffic = rng.randrange(50, 101)
        experiments.set_weights(KEY, weights, traffic_percent=traffic)
        after = variants()
        moved = sum(one != other for one, other in zip(before, after, strict=True))
        share = least_share(wanted, wanted := targets(weights, traffic))
        deviation = (len(UNITS) * share * (1 - share)) ** 0.5
        # Five standard deviations of the number of units in so many buckets.
        assert abs(moved - len(UNITS) * share) <= 5 * deviation
        before = after


def least_share(before: dict[str, int], after: dict[str, int]) -> float:
    """The share of units that must move: what the owners that shrink give up."""
    outside = [10_000 - sum(targets.values()) for targets in (before, after)]
    pairs = [(before[variant], after[variant]) for variant in before] + [(outside[0], outside[1])]
    return sum(max(0, one - other) for one, other in pairs) / 10_000
