"""The sums that an arm delivers, against the users themselves."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable

import pytest

from flagstaff.experiments.statistics import Conversions, PairSums, Sums
from tests.support.experiment_sums import pair_sums_of, sums_of

HUGE = 10**400


def users(number: int, seed: int = 1) -> tuple[list[float], list[float]]:
    source = random.Random(seed)
    x = [source.gauss(10, 3) for _ in range(number)]
    return [0.5 * one + source.gauss(0, 2) for one in x], x


def test_mean_and_variance_are_those_of_the_users() -> None:
    y, _ = users(500)
    found = sums_of(y)
    assert found.mean == pytest.approx(statistics.fmean(y), rel=1e-12)
    assert found.variance == pytest.approx(statistics.variance(y), rel=1e-12)


def test_covariance_is_that_of_the_users() -> None:
    y, x = users(500)
    found = pair_sums_of(y, x)
    assert found.covariance == pytest.approx(statistics.covariance(y, x), rel=1e-12)
    assert (found.of_y, found.of_x) == (sums_of(y), sums_of(x))


def test_sums_of_two_phases_are_those_of_the_union() -> None:
    y, x = users(300)
    whole = pair_sums_of(y, x)
    added = pair_sums_of(y[:100], x[:100]) + pair_sums_of(y[100:], x[100:])
    assert added.covariance == pytest.approx(whole.covariance, rel=1e-12)
    assert (sums_of(y[:7]) + sums_of(y[7:])).variance == pytest.approx(whole.of_y.variance)
    assert Conversions(3, 1) + Conversions(4, 4) == Conversions(7, 5)


def test_sums_of_an_empty_phase_add_nothing() -> None:
    assert Sums(2, 3, 5) + Sums(0, 0, 0) == Sums(2, 3, 5)
    pair = PairSums(2, 3, 5, 1, 1, 2)
    assert pair + PairSums(0, 0, 0, 0, 0, 0) == pair


def test_shift_keeps_the_digits_that_large_means_lose() -> None:
    y, x = users(500)
    large = [1e8 + one for one in y]
    shifted = sums_of(large, shift=1e8)
    assert shifted.mean == pytest.approx(statistics.fmean(large), rel=1e-15)
    assert shifted.variance == pytest.approx(statistics.variance(y), rel=1e-6)
    # As the docstring says: without a shift only the first digits are left, if any.
    assert sums_of(large).variance != pytest.approx(statistics.variance(y), rel=1e-6)
    found = pair_sums_of(large, x, y_shift=1e8, x_shift=10)
    assert found.covariance == pytest.approx(statistics.covariance(y, x), rel=1e-6)


def test_whole_sums_of_huge_values_are_exact() -> None:
    base = 10**30
    values = [base, base + 1, base + 2]
    found = Sums(3, sum(values), sum(value * value for value in values))
    assert found.variance == 1


def test_equal_values_have_no_variance() -> None:
    assert sums_of([0.1] * 1000).variance == pytest.approx(0, abs=1e-15)
    assert sums_of([-5.0] * 3).variance == 0


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Conversions(-1, 0), "users"),
        (lambda: Conversions(1, -1), "converted"),
        (lambda: Conversions(1, 2), "converted"),
        (lambda: Conversions(1.5, 1), "users"),  # type: ignore[arg-type]
        (lambda: Sums(1, math.nan, 1), "y "),
        (lambda: Sums(1, math.inf, 1), "y "),
        (lambda: Sums(1, 1, math.inf), "yy "),
        (lambda: Sums(1, 1, -1), "yy "),
        (lambda: Sums(1, 1, 1, math.nan), "shift "),
        (lambda: Sums(1, HUGE, 1), "y is too large"),
        (lambda: Sums(HUGE, 1, 1), "users is too large"),
        (lambda: Sums(0, 1, 1), "y and yy"),
        (lambda: Sums(2, 10, 1), "yy is 1, but must be at least"),
        (lambda: Sums(-1, 0, 0), "users"),
        (lambda: PairSums(2, 1, 1, 1, 1, math.nan), "xy "),
        (lambda: PairSums(2, 1, 1, math.inf, 1, 1), "x "),
        (lambda: PairSums(2, 1, 1, 1, 1, 2), "xy "),
        (lambda: PairSums(2, 1, 1, 10, 1, 1), "xx is 1, but must be at least"),
        (lambda: PairSums(2, 1, 1, 1, math.nan, 1), "xx "),
        (lambda: Sums(1, 1, 1) + Sums(1, 1, 1, 5), "shift "),
        (
            lambda: PairSums(1, 1, 1, 1, 1, 1) + PairSums(1, 1, 1, 1, 1, 1, x_shift=2),
            "x_shift ",
        ),
        (lambda: Sums(0, 0, 0).mean, "users is 0"),
        (lambda: Sums(1, 1, 1).variance, "users is 1"),
        (lambda: PairSums(1, 1, 1, 1, 1, 1).covariance, "users is 1"),
    ],
    ids=itertools.count(),
)
def test_impossible_sums_are_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_sums_that_no_values_have_are_refused_at_any_scale(scale: float) -> None:
    Sums(4, 2 * scale, scale**2 * 1.0000001)
    with pytest.raises(ValueError, match="must be at least y² / users"):
        Sums(4, 2 * scale, scale**2 * 0.99)
