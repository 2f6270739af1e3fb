"""Always-valid results, Holm's correction and sample-ratio mismatch, against their articles."""

import math
import random
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest
import scipy

from flagstaff.experiments.statistics.effects import Effect, PairSums, Sums, difference, mean, ratio
from flagstaff.experiments.statistics.mismatch import (
    CONCENTRATION,
    MISMATCH_ALPHA,
    Shares,
    log_bayes_factor,
    sequential_p_value,
)
from flagstaff.experiments.statistics.sequential import (
    ALPHA,
    Plan,
    always_valid,
    critical_value,
    holm,
    lower_bound,
    lower_critical_value,
)

PLANS = [Plan(2_000), Plan(50_000), Plan(1)]
EFFECTS = [
    Effect(10_000, 0.03, 0.01, True),
    Effect(300, -5.0, 1.1, True),
    Effect(10**9, 1e-5, 4e-6, True),
    Effect(500, 0.0, 1.0, True),
]


def mixture(effect: Effect, rho_squared: float) -> float:
    """Integrates the likelihood ratio over a normal prior of the effect.

    In units of the standard deviation of one unit the mean of N units is normal with variance 1/N,
    and the prior has the variance rho².
    """
    units, root = effect.units, math.sqrt(effect.units)
    observed = effect.value / (effect.standard_error * root)
    rho = math.sqrt(rho_squared)
    # Where the product of likelihood and prior has its mass.
    variance = 1 / (units + 1 / rho_squared)
    centre, width = variance * units * observed, 12 * math.sqrt(variance)

    def weighted(true: float) -> float:
        ratio = math.exp(units * (true * observed - true * true / 2))
        return ratio * float(scipy.stats.norm.pdf(true, scale=rho))

    ends = (centre - width, centre + width)
    integral, _ = scipy.integrate.quad(weighted, *ends, epsabs=0, epsrel=1e-12, limit=500)
    return float(integral)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_p_value_is_that_of_the_integrated_likelihood_ratio(effect: Effect, plan: Plan) -> None:
    expected = min(1 / mixture(effect, plan.rho_squared), 1.0)
    assert always_valid(effect, plan).p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_interval_and_lower_bound_have_the_widths_of_the_article(
    effect: Effect, plan: Plan
) -> None:
    units, alpha, value = effect.units, ALPHA, effect.value

    def width(level: float, log_of: Callable[[float], float]) -> float:
        log = -2 * math.log(level)
        rho = math.sqrt((log + math.log(log + 1)) / plan.units)
        inner = (units * rho**2 + 1) / (units * rho) ** 2
        root = math.sqrt(units * rho**2 + 1)
        return effect.standard_error * math.sqrt(units * 2 * inner * log_of(root))

    both_sides = width(alpha, lambda root: math.log(root / alpha))
    interval = always_valid(effect, plan)
    expected = pytest.approx((value - both_sides, value + both_sides), rel=1e-9)
    assert (interval.low, interval.high) == expected
    one_side = width(2 * alpha, lambda root: math.log(1 + root / (2 * alpha)))
    assert lower_bound(effect, plan) == pytest.approx(value - one_side, rel=1e-9)


def test_plan_is_narrowest_near_its_size() -> None:
    def width_at(units: float) -> float:
        return critical_value(10_000, Plan(round(units)))

    narrowest = scipy.optimize.minimize_scalar(width_at, bounds=(1_000, 100_000), method="bounded")
    # The article's rho is an approximation of the optimum.
    assert width_at(10_000) <= narrowest.fun * 1.001
    assert critical_value(10_000, Plan(10_000)) == pytest.approx(3.0352, abs=1e-4)


def test_effect_without_enough_units_is_silent() -> None:
    effect, plan = Effect(100, 5.0, 0.1, False), Plan(100)
    interval = always_valid(effect, plan)
    assert (interval.low, interval.high, interval.p_value) == (-math.inf, math.inf, 1)
    assert lower_bound(effect, plan) == -math.inf
    # No units have an endless interval.
    assert critical_value(0, Plan(100)) == lower_critical_value(0, Plan(100)) == math.inf
    assert always_valid(Effect(0, 0.0, 0.0, False), Plan(100)).high == math.inf
    # All units of an arm have one value.
    effect = difference(mean(Sums(500, 500, 500)), mean(Sums(500, 1000, 2000)))
    assert always_valid(effect, Plan(1000)).p_value == 1


def test_means_and_ratios_speak_from_a_hundred_units_on() -> None:
    for units, speaks in [(99, False), (100, True)]:
        arm = mean(Sums(units, units, 1.5 * units))
        assert (always_valid(difference(arm, arm), Plan(200)).high < math.inf) == speaks
        arm = ratio(PairSums(units, units, 1.5 * units, units, 1.5 * units, units))
        assert (always_valid(difference(arm, arm), Plan(200)).high < math.inf) == speaks
    # 1 of 200 units has all the views, so the denominator is uncertain.
    assert not ratio(PairSums(200, 10, 100, 50, 2500, 500)).is_enough


def test_enormous_effect_has_a_p_value_of_zero() -> None:
    effect = Effect(10_000, 1e300, 1e-300, True)
    assert always_valid(effect, Plan(100)).p_value == 0


P_VALUES = [
    [0.01, 0.04, 0.03],
    [0.2],
    [0.0, 1.0],
    [0.02, 0.02, 0.02],
    [0.001, 0.9, 0.012, 0.0249, 0.03, 0.5],
    [1e-300, 0.05, 0.05],
]


@pytest.mark.parametrize("alpha", [0.1, 0.05])
@pytest.mark.parametrize("p_values", P_VALUES, ids=str)
def test_corrected_p_values_equal_those_of_statsmodels(p_values: list[float], alpha: float) -> None:
    from statsmodels.stats.multitest import multipletests

    rejected, adjusted, *_ = multipletests(p_values, alpha=alpha, method="holm")
    tests = holm(p_values, alpha)
    assert [test.p_value for test in tests] == pytest.approx(list(adjusted), rel=1e-9)
    assert [test.is_rejected for test in tests] == list(rejected)


@pytest.mark.parametrize("seed", range(20))
def test_corrected_interval_excludes_zero_exactly_if_the_metric_is_rejected(seed: int) -> None:
    source, plan = random.Random(seed), Plan(2_000)
    effects = [Effect(2_000, source.gauss(2.5, 1.5), 1.0, True) for _ in range(5)]
    tests = holm([always_valid(effect, plan).p_value for effect in effects])
    for effect, corrected in zip(effects, tests, strict=True):
        interval = always_valid(effect, plan, corrected.interval_alpha)
        assert (interval.low > 0 or interval.high < 0) == corrected.is_rejected


def test_levels_of_corrected_intervals_follow_the_steps() -> None:
    tests = holm([0.04, 0.001, 0.04], 0.05)
    assert [test.interval_alpha for test in tests] == [0.025, 0.05 / 3, 0.025]
    assert holm([]) == []


def predictive_factor(arms: Sequence[int], weights: Sequence[int], concentration: int) -> Fraction:
    """Multiplies, unit by unit, how probable each arm was by the prior and by the weights."""
    seen, factor = [0] * len(weights), Fraction(1)
    for position, arm in enumerate(arms):
        share = Fraction(weights[arm], sum(weights))
        predicted = (concentration * share + seen[arm]) / (concentration + position)
        factor *= predicted / share
        seen[arm] += 1
    return factor


@pytest.mark.parametrize("weights", [[1, 1], [99, 1], [2, 1, 1]])
@pytest.mark.parametrize("concentration", [2, 1000])
def test_bayes_factor_is_the_product_over_the_units(weights: list[int], concentration: int) -> None:
    source = random.Random(1)
    for length in [0, 1, 5, 200]:
        arms = [source.randrange(len(weights)) for _ in range(length)]
        expected = predictive_factor(arms, weights, concentration)
        counts = [arms.count(arm) for arm in range(len(weights))]
        seen = Shares(counts, weights)
        logarithm = math.log(expected.numerator) - math.log(expected.denominator)
        factor = log_bayes_factor(seen, concentration)
        assert factor == pytest.approx(logarithm, rel=1e-9, abs=1e-11)
        p_value = min(1, float(1 / expected))
        assert sequential_p_value(seen, concentration) == pytest.approx(p_value, rel=1e-6)


def test_bayes_factor_of_many_units_keeps_its_digits() -> None:
    # The gamma functions are near 10^10, their difference is 7.
    units = [5 * 10**8 + 100_000, 5 * 10**8 - 100_000]
    a = CONCENTRATION / 2
    exact = scipy.stats.betabinom.logpmf(units[0], sum(units), a, a)
    exact -= scipy.stats.binom.logpmf(units[0], sum(units), 0.5)
    assert log_bayes_factor(Shares(units, [1, 1])) == pytest.approx(float(exact), abs=1e-4)


@pytest.mark.parametrize(
    ("units", "is_found"),
    [([20_500, 19_500], True), ([10_000, 10_000], False), ([10_150, 10_000], False)],
)
def test_p_value_finds_a_wrong_share(units: list[int], is_found: bool) -> None:
    p_value = sequential_p_value(Shares(units, [1, 1]))
    assert (p_value < MISMATCH_ALPHA) == is_found
    # Looking at any time has a price.
    assert p_value >= scipy.stats.chisquare(units).pvalue
