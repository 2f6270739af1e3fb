"""The formulas of guarded rollouts, against exact fractions and against all possible courses."""

from __future__ import annotations

import doctest
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest

from flagstaff.rollouts import hyperloglog, statistics
from flagstaff.rollouts.statistics import (
    CARDINALITY_ERROR,
    RATIOS,
    REGISTERS,
    brake_threshold,
    cardinality,
    e_value,
    log_e_value,
    q,
    ratio,
    share_error,
    smallest_ratio,
    upper_bound,
)

COUNTS = [(0, 0), (1, 0), (0, 1), (3, 2), (7, 40), (25, 10)]
THETAS = [0.01, 0.05, 0.25, 0.5, 0.97]


def exact_q(theta: float, ratio: float) -> Fraction:
    inside, outside = Fraction(theta) * Fraction(ratio), 1 - Fraction(theta)
    return inside / (inside + outside)


def exact_e_value(inside: int, outside: int, theta: float, tolerated: float) -> Fraction:
    """Multiplies the likelihood ratios of the failing users one by one."""
    null = exact_q(theta, tolerated)
    products = []
    for alternative in RATIOS:
        if alternative > tolerated:
            chance, product = exact_q(theta, alternative), Fraction(1)
            for _ in range(inside):
                product *= chance / null
            for _ in range(outside):
                product *= (1 - chance) / (1 - null)
            products.append(product)
    return sum(products, Fraction(0)) / len(products)


def exact_e_value_against_smaller(
    inside: int, outside: int, theta: float, bound: float
) -> Fraction:
    null, found = exact_q(theta, bound), Fraction(0)
    for divisor in RATIOS:
        odds = Fraction(theta) * Fraction(bound) / Fraction(divisor)
        chance = odds / (odds + 1 - Fraction(theta))
        found += (chance / null) ** inside * ((1 - chance) / (1 - null)) ** outside
    return found / len(RATIOS)


def chance_of_ever(stops: Callable[[int, int], bool], chance_inside: float, failures: int) -> float:
    """Returns the exact probability that a look after any of the first failures stops.

    Sums over all courses: `alive[x]` is the probability of x failures inside without a stop.
    """
    alive, stopped = {0: 1.0}, 0.0
    for number in range(1, failures + 1):
        following: dict[int, float] = {}
        for inside, chance in alive.items():
            for one, part in ((inside + 1, chance_inside), (inside, 1 - chance_inside)):
                following[one] = following.get(one, 0.0) + chance * part
        stopped += sum(following.pop(x) for x in [*following] if stops(x, number - x))
        alive = following
    return stopped


def test_examples_in_docstrings_are_correct() -> None:
    assert doctest.testmod(statistics).failed == 0
    assert doctest.testmod(hyperloglog).failed == 0


@pytest.mark.parametrize("theta", THETAS)
def test_q_is_the_share_of_failures_inside(theta: float) -> None:
    for one in (0.2, 1, 1.25, 20):
        assert q(theta, one) == pytest.approx(float(exact_q(theta, one)), rel=1e-12)


@pytest.mark.parametrize("theta", THETAS)
@pytest.mark.parametrize("tolerated", [1.0, 1.2, 1.5, 0.5])
def test_e_value_equals_the_mean_of_products(theta: float, tolerated: float) -> None:
    for inside, outside in COUNTS:
        expected = float(exact_e_value(inside, outside, theta, tolerated))
        assert e_value(inside, outside, theta, tolerated) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(
    ("inside", "outside", "theta"),
    [(100_000, 300_000, 0.25), (250_000, 250_000, 0.5), (900_000, 10, 0.01), (0, 700_000, 0.05)],
)
def test_log_e_value_is_correct_for_large_counts(inside: int, outside: int, theta: float) -> None:
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 60, -(10**9), 10**9
        null = Decimal(theta)
        terms = []
        for alternative in RATIOS:
            odds = null * Decimal(alternative)
            chance = odds / (odds + 1 - null)
            terms.append((chance / null) ** inside * ((1 - chance) / (1 - null)) ** outside)
        expected = float((sum(terms, Decimal(0)) / len(terms)).ln())
    assert log_e_value(inside, outside, theta) == pytest.approx(expected, rel=1e-9)


def test_e_value_beyond_floats_is_infinite() -> None:
    assert e_value(300_000, 1, 0.05) == math.inf
    assert e_value(0, 10_000_000, 0.5) == 0.0


@pytest.mark.parametrize("theta", [0, 1])
def test_nobody_inside_or_outside_is_no_evidence(theta: float) -> None:
    assert e_value(50, 3, theta) == 1.0
    assert upper_bound(50, 3, theta, 0.05) == math.inf
    assert ratio(50, 3, theta) is None
    assert brake_threshold(theta, 0.01) is None
    assert smallest_ratio(3, theta, 100) is None


@pytest.mark.parametrize("theta", [0.05, 0.25, 0.5])
@pytest.mark.parametrize(("tolerated", "true_ratio"), [(1.0, 1.0), (1.2, 1.2), (1.5, 1.0)])
def test_expected_e_value_is_at_most_one_at_every_stopping_rule(
    theta: float, tolerated: float, true_ratio: float
) -> None:
    # The best rule for whoever wants a large value, by backward induction over all courses.
    chance, failures = float(exact_q(theta, true_ratio)), 40
    best = [e_value(x, failures - x, theta, tolerated) for x in range(failures + 1)]
    for number in range(failures - 1, -1, -1):
        best = [
            max(
                e_value(x, number - x, theta, tolerated),
                chance * best[x + 1] + (1 - chance) * best[x],
            )
            for x in range(number + 1)
        ]
    assert best[0] <= 1 + 1e-9


@pytest.mark.parametrize("theta", [0.01, 0.05, 0.25, 0.5])
@pytest.mark.parametrize("tolerated", [1.0, 1.2])
def test_e_value_ever_reaches_the_threshold_with_alpha_at_most(
    theta: float, tolerated: float
) -> None:
    def trips(inside: int, outside: int) -> bool:
        return e_value(inside, outside, theta, tolerated) >= 1 / 0.05

    found = chance_of_ever(trips, q(theta, tolerated), 300)
    assert 0.005 < found <= 0.05


@pytest.mark.parametrize("theta", [0.05, 0.5])
@pytest.mark.parametrize("true_ratio", [1.0, 2.0, 4.0])
def test_upper_bound_is_ever_below_the_true_ratio_with_alpha_at_most(
    theta: float, true_ratio: float
) -> None:
    def misses(inside: int, outside: int) -> bool:
        return upper_bound(inside, outside, theta, 0.1) < true_ratio

    assert chance_of_ever(misses, q(theta, true_ratio), 100) <= 0.1


@pytest.mark.parametrize("theta", THETAS)
def test_upper_bound_is_the_largest_ratio_that_is_not_rejected(theta: float) -> None:
    for inside, outside in [(0, 40), (3, 20), (7, 40), (25, 60)]:
        bound = upper_bound(inside, outside, theta, 0.05)
        assert exact_e_value_against_smaller(inside, outside, theta, bound) >= 20
        assert exact_e_value_against_smaller(inside, outside, theta, bound * 0.998) < 20


def test_upper_bound_without_failures_is_infinite() -> None:
    assert upper_bound(0, 0, 0.05, 0.05) == math.inf
    assert upper_bound(12, 0, 0.05, 0.05) == math.inf


def test_upper_bound_of_large_counts_is_near_the_ratio() -> None:
    bound = upper_bound(100_000, 300_000, 0.25, 0.05)
    assert 1 < bound < 1.15


def test_ratio_compares_the_rates_of_both_sides() -> None:
    # 30 of 1,000 users inside, 60 of 4,000 outside.
    assert ratio(30, 60, 0.2) == pytest.approx(2.0)
    assert ratio(30, 0, 0.2) == math.inf
    assert ratio(0, 30, 0.2) == 0.0
    assert ratio(0, 0, 0.2) is None


def poisson_tail(mean: float, at_least: int) -> float:
    """Returns the probability of so many or more."""
    return 1 - sum(
        math.exp(x * math.log(mean) - mean - math.lgamma(x + 1)) for x in range(at_least)
    )


@pytest.mark.parametrize(("outside", "theta"), [(60, 0.5), (300, 0.25), (2000, 0.05)])
def test_smallest_ratio_trips_in_four_of_five_cases(outside: int, theta: float) -> None:
    found = smallest_ratio(outside, theta, 300)
    assert found is not None
    least = next(x for x in range(10_000) if e_value(x, outside, theta) >= 300)
    chance = poisson_tail(found * outside * theta / (1 - theta), least)
    assert chance == pytest.approx(0.8, abs=0.06)


def test_smallest_ratio_falls_with_more_failures() -> None:
    found = [smallest_ratio(outside, 0.05, 300) or 0.0 for outside in (10, 100, 1000, 10_000)]
    assert found == sorted(found, reverse=True)
    assert smallest_ratio(0, 0.05, 300) is None


@pytest.mark.parametrize("theta", [0.001, 0.01, 0.05, 0.25, 0.5, 0.516])
@pytest.mark.parametrize("alpha", [0.01, 0.0025])
def test_brake_threshold_is_the_smallest_k_with_alpha(theta: float, alpha: float) -> None:
    k = brake_threshold(theta, alpha)
    assert k is not None
    assert theta**k <= alpha * (1 + 1e-9)
    assert k == 1 or theta ** (k - 1) > alpha * (1 + 1e-9)


def test_brake_threshold_at_an_exact_power_adds_nothing() -> None:
    assert brake_threshold(0.1, 0.01) == 2
    assert brake_threshold(0.1, 0.001) == 3
    assert brake_threshold(0.05, 0.0025) == 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: q(1.5, 2),
        lambda: q(0.5, 0),
        lambda: e_value(-1, 0, 0.5),
        lambda: e_value(1, 0, math.nan),
        lambda: e_value(math.inf, 0, 0.5),
        lambda: e_value(1, 0, 0.5, tolerated=20),
        lambda: upper_bound(1, 0, 0.5, 0),
        lambda: upper_bound(1, 0, 0.5, 1),
        lambda: brake_threshold(-0.1, 0.05),
        lambda: brake_threshold(0.1, 5),
        lambda: share_error(-1, 5),
        lambda: cardinality({54: 1}),
        lambda: cardinality({1: -1}),
        lambda: cardinality({1: 4097}),
    ],
    ids=itertools.count(),
)
def test_impossible_arguments_are_rejected(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"must|not the ranks"):
        call()


def rank_of(bits: int) -> int:
    """Returns the position of the first one among 52 bits, 53 if there is none."""
    return 53 - bits.bit_length()


def ranks_of_hashes(users: int, source: random.Random) -> Counter[int]:
    registers = [0] * REGISTERS
    for _ in range(users):
        bits = source.getrandbits(64)
        register = bits >> 52
        registers[register] = max(registers[register], rank_of(bits & (2**52 - 1)))
    return Counter(registers)


def ranks_of_many(users: int, source: random.Random) -> Counter[int]:
    """Draws the maximum of each register at once, as if each had the mean number of users."""
    each = users / REGISTERS
    return Counter(
        min(max(math.ceil(-math.log2(-math.expm1(math.log(source.random()) / each))), 0), 53)
        for _ in range(REGISTERS)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("users", [0, 1, 10, 500, 5_000, 100_000])
def test_cardinality_of_hashed_users_is_within_four_standard_errors(users: int, seed: int) -> None:
    found = cardinality(ranks_of_hashes(users, random.Random(f"{users} {seed}")))
    assert found == pytest.approx(users, rel=4 * CARDINALITY_ERROR)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("users", [1_000_000, 10_000_000])
def test_cardinality_of_millions_is_within_four_standard_errors(users: int, seed: int) -> None:
    found = cardinality(ranks_of_many(users, random.Random(f"{users} {seed}")))
    assert found == pytest.approx(users, rel=4 * CARDINALITY_ERROR)


def test_cardinality_of_many_sets_has_the_standard_error_and_no_bias() -> None:
    source = random.Random(1)
    errors = [cardinality(ranks_of_many(1_000_000, source)) / 1_000_000 - 1 for _ in range(150)]
    mean = sum(errors) / len(errors)
    spread = math.sqrt(sum(error * error for error in errors) / len(errors))
    assert abs(mean) < 4 * CARDINALITY_ERROR / math.sqrt(len(errors))
    assert spread == pytest.approx(CARDINALITY_ERROR, rel=0.25)


def test_cardinality_of_a_growing_set_never_falls_or_jumps() -> None:
    # The original estimator changes its formula at 10,240 users.
    source, registers = random.Random(2), [0] * REGISTERS
    ranks, previous = Counter({0: REGISTERS}), 0.0
    for number in range(1, 30_001):
        bits = source.getrandbits(64)
        register, rank = bits >> 52, rank_of(bits & (2**52 - 1))
        if rank > registers[register]:
            ranks[registers[register]] -= 1
            ranks[rank] += 1
            registers[register] = rank
        if number % 50 == 0:
            found = cardinality(ranks)
            # 50 users change the estimate by 50 on average.
            assert 0 <= found - previous < 50 + 0.02 * number
            previous = found


def test_cardinality_of_full_registers_is_finite_or_infinite() -> None:
    assert cardinality({53: REGISTERS}) == math.inf
    assert cardinality({52: REGISTERS}) > 1e18


def test_share_error_is_the_spread_of_estimated_shares() -> None:
    source, theta = random.Random(3), 0.25
    shares = []
    for _ in range(20_000):
        inside = theta * source.gauss(1, CARDINALITY_ERROR)
        outside = (1 - theta) * source.gauss(1, CARDINALITY_ERROR)
        shares.append(inside / (inside + outside) / theta - 1)
    spread = math.sqrt(sum(share * share for share in shares) / len(shares))
    assert share_error(250, 750) == pytest.approx(spread, rel=0.05)
    assert share_error(0, 750) == 0
