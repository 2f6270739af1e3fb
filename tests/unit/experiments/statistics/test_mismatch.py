"""Sample-ratio mismatch, against scipy and against the article's sequential update."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
from scipy import stats

from flagstaff.experiments.statistics import (
    CONCENTRATION,
    MISMATCH_ALPHA,
    Shares,
    chi_square,
    log_bayes_factor,
    sequential_p_value,
)

COUNTS = [
    ([520, 480], [50, 50]),
    ([9_890, 110], [99, 1]),
    ([10, 20, 33], [1, 2, 3]),
    ([10**9, 10**9 + 10**5], [0.5, 0.5]),
    ([0, 7], [1, 3]),
]


@pytest.mark.parametrize(("users", "weights"), COUNTS)
def test_chi_square_equals_that_of_scipy(users: list[int], weights: list[float]) -> None:
    expected = [sum(users) * weight / sum(weights) for weight in weights]
    _, p_value = stats.chisquare(users, expected)
    assert chi_square([Shares(users, weights)]) == pytest.approx(p_value, rel=1e-9)


def test_chi_square_of_two_phases_adds_statistics_and_degrees() -> None:
    phases = [([9_870, 130], [9900, 100]), ([510, 480, 10], [495, 495, 10])]
    statistic = sum(float(stats.chisquare(users, expected)[0]) for users, expected in phases)
    found = chi_square([Shares(users, expected) for users, expected in phases])
    assert found == pytest.approx(float(stats.chi2.sf(statistic, 3)), rel=1e-9)


def predictive_factor(arms: Sequence[int], weights: Sequence[int], concentration: int) -> Fraction:
    """Multiplies, user by user, how probable each arm was by the prior and by the weights."""
    seen, found = [0] * len(weights), Fraction(1)
    for position, arm in enumerate(arms):
        share = Fraction(weights[arm], sum(weights))
        predicted = (concentration * share + seen[arm]) / (concentration + position)
        found *= predicted / share
        seen[arm] += 1
    return found


@pytest.mark.parametrize("weights", [[1, 1], [99, 1], [2, 1, 1]])
@pytest.mark.parametrize("concentration", [2, 1000])
def test_bayes_factor_is_the_product_over_the_users(weights: list[int], concentration: int) -> None:
    source = random.Random(1)
    for length in [0, 1, 5, 200]:
        arms = [source.randrange(len(weights)) for _ in range(length)]
        expected = predictive_factor(arms, weights, concentration)
        counts = [arms.count(arm) for arm in range(len(weights))]
        found = log_bayes_factor([Shares(counts, weights)], concentration)
        logarithm = math.log(expected.numerator) - math.log(expected.denominator)
        assert found == pytest.approx(logarithm, rel=1e-9, abs=1e-11)


def test_bayes_factor_has_an_expectation_of_one() -> None:
    # All courses of 60 users with weights 3 and 1.
    found = sum(
        float(stats.binom.pmf(first, 60, 0.75))
        * math.exp(log_bayes_factor([Shares([first, 60 - first], [3, 1])]))
        for first in range(61)
    )
    assert found == pytest.approx(1, rel=1e-9)


def test_bayes_factors_of_phases_are_multiplied() -> None:
    first, second = Shares([600, 500], [1, 1]), Shares([90, 20], [9, 1])
    found = log_bayes_factor([first, second])
    assert found == pytest.approx(log_bayes_factor([first]) + log_bayes_factor([second]))


def test_bayes_factor_of_many_users_keeps_its_digits() -> None:
    # The gamma functions are near 10^10, their difference is 7.
    users = [5 * 10**8 + 100_000, 5 * 10**8 - 100_000]
    a = CONCENTRATION / 2
    exact = stats.betabinom.logpmf(users[0], sum(users), a, a)
    exact -= stats.binom.logpmf(users[0], sum(users), 0.5)
    assert log_bayes_factor([Shares(users, [1, 1])]) == pytest.approx(float(exact), abs=1e-4)


def test_mismatch_is_ever_found_without_one_with_alpha_at_most() -> None:
    # A look after every 20 users; 5 % instead of 0.1 %, to see some.
    source, found = random.Random(2), 0
    for _ in range(300):
        users = [0, 0]
        for _ in range(100):
            first = sum(source.random() < 0.3 for _ in range(20))
            users = [users[0] + first, users[1] + 20 - first]
            if sequential_p_value([Shares(users, [3, 7])], concentration=20) < 0.05:
                found += 1
                break
    assert 0 < found / 300 < 0.05


@pytest.mark.parametrize(
    ("users", "is_found"),
    [([20_500, 19_500], True), ([10_000, 10_000], False), ([10_150, 10_000], False)],
)
def test_p_value_finds_a_wrong_share(users: list[int], is_found: bool) -> None:
    p_value = sequential_p_value([Shares(users, [1, 1])])
    assert (p_value < MISMATCH_ALPHA) == is_found
    # Looking at any time has a price.
    assert p_value >= chi_square([Shares(users, [1, 1])])


def test_phase_without_users_says_nothing() -> None:
    empty, full = Shares([0, 0], [1, 1]), Shares([60, 40], [1, 1])
    assert chi_square([empty]) == sequential_p_value([empty]) == 1
    assert chi_square([empty, full]) == chi_square([full])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Shares([1, 2], [1]), "users has 2 arms"),
        (lambda: Shares([1], [1]), "users has fewer"),
        (lambda: Shares([1, -1], [1, 1]), "users"),
        (lambda: Shares([1, 0.5], [1, 1]), "users"),  # type: ignore[list-item]
        (lambda: Shares([1, 1], [1, 0]), "weights"),
        (lambda: Shares([1, 1], [1, math.nan]), "weights"),
        (lambda: Shares([1, 1], [1, math.inf]), "weights"),
        (lambda: chi_square([]), "phases is empty"),
        (lambda: sequential_p_value([]), "phases is empty"),
        (lambda: sequential_p_value([Shares([1, 1], [1, 1])], 0), "concentration"),
        (lambda: log_bayes_factor([Shares([1, 1], [1, 1])], math.nan), "concentration"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
