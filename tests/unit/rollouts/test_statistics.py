"""The formulas of guarded rollouts, against exact fractions and against simulations."""

import math
import random
from collections import Counter
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
import scipy

from flagstaff._core import REGISTERS
from flagstaff.rollouts.statistics import (
    CARDINALITY_ERROR,
    RATIOS,
    brake_threshold,
    cardinality,
    e_value,
    explained_ratio,
    log_e_value,
    mixture,
    ratio,
    share_at,
    share_error,
    smallest_ratio,
    upper_bound,
    visible_ratio,
    weight_of,
)

COUNTS = [(0, 0), (1, 0), (0, 1), (3, 2), (7, 40), (25, 10)]
THETAS = [0.01, 0.05, 0.25, 0.5, 0.97]


def exact_q(theta: float, ratio: float | Fraction) -> Fraction:
    inside, outside = Fraction(theta) * Fraction(ratio), 1 - Fraction(theta)
    return inside / (inside + outside)


def exact_e_value(inside: int, outside: int, theta: float) -> Fraction:
    """The mean of the likelihood ratios of the failing users, one by one."""
    null, total = Fraction(theta), Fraction(0)
    for alternative in RATIOS:
        chance = exact_q(theta, alternative)
        total += (chance / null) ** inside * ((1 - chance) / (1 - null)) ** outside
    return total / len(RATIOS)


def exact_e_value_against_smaller(
    inside: int, outside: int, theta: float, bound: float
) -> Fraction:
    null, total = exact_q(theta, bound), Fraction(0)
    for divisor in RATIOS:
        chance = exact_q(theta, Fraction(bound) / Fraction(divisor))
        total += (chance / null) ** inside * ((1 - chance) / (1 - null)) ** outside
    return total / len(RATIOS)


@pytest.mark.parametrize("theta", THETAS)
def test_e_value_equals_the_mean_of_products(theta: float) -> None:
    for inside, outside in COUNTS:
        expected = float(exact_e_value(inside, outside, theta))
        assert e_value(inside, outside, theta) == pytest.approx(expected, rel=1e-10)


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


def test_weights_of_all_tenths_are_one_and_late_evidence_counts_less() -> None:
    weights = [weight_of(tenth) for tenth in range(100_000)]
    assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert mixture([0.0] * 50) == pytest.approx(1)
    assert mixture([math.log(300)]) == pytest.approx(150.5)
    assert mixture([0.0, *[math.log(900)] * 9]) == pytest.approx(0.6 + 360)
    assert mixture([2000.0]) == math.inf


@pytest.mark.parametrize(("share", "seen"), [(1e-6, 2.0), (0.5, 1.5), (1.0, 1.0)])
def test_ratio_of_users_is_bounded_by_the_share_that_has_failed(share: float, seen: float) -> None:
    assert visible_ratio(share, 2) == pytest.approx(seen, abs=1e-5)


@pytest.mark.parametrize("limit", [1.5, 2.0, 4.0])
def test_explained_ratio_times_the_requests_stays_within_the_limit(limit: float) -> None:
    assert explained_ratio(0.5, limit) == explained_ratio(1, limit) == explained_ratio(limit, limit)
    for requests in (1.1, math.sqrt(limit), 0.9 * limit, 3 * limit):
        explained = explained_ratio(requests, limit)
        assert 1 <= explained <= requests
        assert explained * requests <= max(limit, requests) * (1 + 1e-9)


@pytest.mark.parametrize(("true_ratio", "most"), [(1.0, 0.02), (1.3, 0.05), (2.6, 1.0)])
def test_evidence_beyond_an_explained_ratio_is_seldom_false(true_ratio: float, most: float) -> None:
    source, theta, plans = random.Random(4), 0.25, 1_000
    chance, null = share_at(theta, true_ratio), share_at(theta, 1.3)
    ever = 0
    for _ in range(plans):
        inside = 0
        for number in range(1, 301):
            inside += source.random() < chance
            if log_e_value(inside, number - inside, null) >= math.log(20):
                ever += 1
                break
    # 2.33 standard errors, and a simulation that cannot find anything proves nothing.
    assert ever / plans <= most + 2.33 * math.sqrt(most * (1 - most) / plans)
    assert true_ratio < 2 or ever / plans > 0.9


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


@pytest.mark.parametrize("theta", THETAS)
def test_upper_bound_is_the_largest_ratio_that_is_not_rejected(theta: float) -> None:
    for inside, outside in [(0, 40), (3, 20), (7, 40), (25, 60)]:
        bound = upper_bound(inside, outside, theta, 0.05)
        assert exact_e_value_against_smaller(inside, outside, theta, bound) >= 20
        assert exact_e_value_against_smaller(inside, outside, theta, bound * 0.998) < 20


def test_upper_bound_and_ratio_without_failures_and_with_many() -> None:
    assert upper_bound(0, 0, 0.05, 0.05) == math.inf
    assert upper_bound(12, 0, 0.05, 0.05) == math.inf
    assert 1 < upper_bound(100_000, 300_000, 0.25, 0.05) < 1.15
    # 30 of 1,000 users inside, 60 of 4,000 outside.
    assert ratio(30, 60, 0.2) == pytest.approx(2.0)
    assert ratio(30, 0, 0.2) == math.inf
    assert ratio(0, 30, 0.2) == 0.0
    assert ratio(0, 0, 0.2) is None


@pytest.mark.parametrize(("outside", "theta"), [(60, 0.5), (300, 0.25), (2000, 0.05)])
def test_smallest_ratio_trips_in_four_of_five_cases(outside: int, theta: float) -> None:
    smallest = smallest_ratio(outside, theta, 300)
    assert smallest is not None
    least = next(x for x in range(10_000) if e_value(x, outside, theta) >= 300)
    chance = scipy.stats.poisson.sf(least - 1, smallest * outside * theta / (1 - theta))
    assert chance == pytest.approx(0.8, abs=0.06)
    assert smallest_ratio(0, theta, 300) is None


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


def hash_user(source: random.Random) -> tuple[int, int]:
    """Returns the register of a user, and the position of the first one in the other 52 bits."""
    bits = source.getrandbits(64)
    return bits >> 52, 53 - (bits & (2**52 - 1)).bit_length()


def ranks_of_hashes(users: int, source: random.Random) -> Counter[int]:
    registers = [0] * REGISTERS
    for _ in range(users):
        register, rank = hash_user(source)
        registers[register] = max(registers[register], rank)
    return Counter(registers)


def ranks_of_many(users: int, source: random.Random) -> Counter[int]:
    """Draws the maximum of each register at once, as if each had the mean number of users."""
    each = users / REGISTERS
    return Counter(
        min(max(math.ceil(-math.log2(-math.expm1(math.log(source.random()) / each))), 0), 53)
        for _ in range(REGISTERS)
    )


@pytest.mark.parametrize("users", [0, 1, 10, 500, 5_000, 100_000])
def test_cardinality_of_hashed_users_is_within_four_standard_errors(users: int) -> None:
    for seed in range(3):
        estimated = cardinality(ranks_of_hashes(users, random.Random(f"{users} {seed}")))
        assert estimated == pytest.approx(users, rel=4 * CARDINALITY_ERROR)


@pytest.mark.parametrize("users", [1_000_000, 10_000_000])
def test_cardinality_of_many_sets_has_the_standard_error_and_no_bias(users: int) -> None:
    source = random.Random(1)
    errors = [cardinality(ranks_of_many(users, source)) / users - 1 for _ in range(75)]
    mean = sum(errors) / len(errors)
    spread = math.sqrt(sum(error * error for error in errors) / len(errors))
    assert abs(mean) < 4 * CARDINALITY_ERROR / math.sqrt(len(errors))
    assert spread == pytest.approx(CARDINALITY_ERROR, rel=0.25)


def test_cardinality_of_a_growing_set_never_falls_or_jumps() -> None:
    # The original estimator changes its formula at 10,240 users.
    source, registers = random.Random(2), [0] * REGISTERS
    previous = 0.0
    for number in range(1, 30_001):
        register, rank = hash_user(source)
        registers[register] = max(registers[register], rank)
        if number % 50 == 0:
            estimated = cardinality(Counter(registers))
            # 50 users change the estimate by 50 on average.
            assert 0 <= estimated - previous < 50 + 0.02 * number
            previous = estimated


def test_cardinality_of_full_registers_is_finite_or_infinite() -> None:
    assert cardinality({53: REGISTERS}) == math.inf
    assert cardinality({52: REGISTERS}) > 1e18


@pytest.mark.parametrize("full", [1, REGISTERS // 2, REGISTERS - 1])
def test_cardinality_of_some_full_registers_follows_the_published_sum(full: int) -> None:
    rest = 1 - full / REGISTERS
    powers = [(rest ** (1 / 2**k), 2**k) for k in range(1, 60)]
    tau = (1 - rest - sum((1 - power) ** 2 / weight for power, weight in powers)) / 3
    total = (REGISTERS * tau + REGISTERS - full) / 2**52
    expected = REGISTERS * REGISTERS / (2 * math.log(2) * total)
    assert cardinality({53: full, 52: REGISTERS - full}) == pytest.approx(expected)


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
