"""Always-valid results, against the formulas of the article and against numerical integration."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from scipy import integrate, optimize, stats

from flagstaff.experiments.statistics import (
    Conversions,
    Effect,
    PairSums,
    Plan,
    Sums,
    always_valid,
    critical_value,
    difference,
    lift,
    lower_bound,
    lower_critical_value,
    lower_p_value,
    mean,
    proportion,
    ratio,
    running_minimum,
)

PLANS = [Plan(2_000), Plan(50_000, 0.01), Plan(1)]
EFFECTS = [
    Effect(10_000, 0.03, 0.01, math.inf, True),
    Effect(300, -5.0, 1.1, 298.0, True),
    Effect(10**9, 1e-5, 4e-6, math.inf, True),
    Effect(500, 0.0, 1.0, 100.0, True),
]


def mixture(effect: Effect, rho_squared: float, *, one_sided: bool = False) -> float:
    """Integrates the likelihood ratio over a normal prior of the effect, or over its upper half.

    In units of the standard deviation of one user the mean of N users is normal with variance 1/N,
    and the prior has the variance rho².
    """
    users, root = effect.users, math.sqrt(effect.users)
    observed = effect.value / (effect.standard_error * root)
    rho = math.sqrt(rho_squared)
    # Where the product of likelihood and prior has its mass.
    variance = 1 / (users + 1 / rho_squared)
    centre, width = variance * users * observed, 12 * math.sqrt(variance)

    def weighted(true: float) -> float:
        ratio = math.exp(users * (true * observed - true * true / 2))
        return ratio * float(stats.norm.pdf(true, scale=rho))

    low = max(centre - width, 0.0) if one_sided else centre - width
    found, _ = integrate.quad(weighted, low, centre + width, epsabs=0, epsrel=1e-12, limit=500)
    return float(2 * found if one_sided else found)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_p_value_is_the_reciprocal_of_the_integrated_likelihood_ratio(
    effect: Effect, plan: Plan
) -> None:
    expected = min(1 / mixture(effect, plan.rho_squared), 1.0)
    assert always_valid(effect, plan).p_value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_interval_has_the_half_width_of_the_article(effect: Effect, plan: Plan) -> None:
    users, alpha = effect.users, plan.alpha
    rho = math.sqrt((-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / plan.users)
    deviation = effect.standard_error * math.sqrt(users)
    inner = (users * rho**2 + 1) / (users**2 * rho**2)
    width = deviation * math.sqrt(2 * inner * math.log(math.sqrt(users * rho**2 + 1) / alpha))
    found = always_valid(effect, plan)
    assert (found.low, found.high) == pytest.approx(
        (effect.value - width, effect.value + width), rel=1e-9
    )


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS, ids=str)
def test_lower_bound_has_the_distance_of_the_article(effect: Effect, plan: Plan) -> None:
    users, alpha = effect.users, plan.alpha
    log = -2 * math.log(2 * alpha)
    rho = math.sqrt((log + math.log(log + 1)) / plan.users)
    deviation = effect.standard_error * math.sqrt(users)
    inner = (users * rho**2 + 1) / (users * rho) ** 2
    root = math.sqrt(users * rho**2 + 1)
    width = deviation * math.sqrt(2 * inner * math.log(1 + root / (2 * alpha)))
    assert lower_bound(effect, plan) == pytest.approx(effect.value - width, rel=1e-9)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("effect", EFFECTS[:3:2], ids=str)
def test_lower_p_value_is_not_below_the_integrated_likelihood_ratio(
    effect: Effect, plan: Plan
) -> None:
    # The closed form of the article bounds the integral over positive effects from below.
    exact = 1 / mixture(effect, plan.lower_rho_squared, one_sided=True)
    found = lower_p_value(effect, plan)
    assert min(exact, 1) <= found * (1 + 1e-9)
    assert found <= always_valid(effect, plan).p_value


@pytest.mark.parametrize("effect", EFFECTS[:3], ids=str)
def test_p_value_is_the_alpha_whose_interval_ends_at_zero(effect: Effect) -> None:
    plan = Plan(5_000)
    p_value = always_valid(effect, plan).p_value
    if p_value < 1:
        found = always_valid(effect, plan, alpha=p_value)
        nearest = min(abs(found.low), abs(found.high))
        assert nearest == pytest.approx(0, abs=1e-9 * abs(effect.value))
    positive = replace(effect, value=abs(effect.value))
    p_value = lower_p_value(positive, plan)
    if p_value < 1:
        bound = lower_bound(positive, plan, alpha=p_value)
        assert bound == pytest.approx(0, abs=1e-9 * positive.value)


def test_plan_is_narrowest_near_its_size() -> None:
    def width_at(users: float) -> float:
        return critical_value(10_000, Plan(round(users)))

    found = optimize.minimize_scalar(width_at, bounds=(1_000, 100_000), method="bounded")
    # The article's rho is an approximation of the optimum.
    assert width_at(10_000) <= found.fun * 1.001
    assert critical_value(10_000, Plan(10_000)) == pytest.approx(3.0352, abs=1e-4)


@pytest.mark.parametrize(("users", "wider"), [(1_000, 1.27), (100_000, 1.07)])
def test_wrong_plan_costs_the_width_of_its_docstring(users: int, wider: float) -> None:
    found = critical_value(users, Plan(10_000)) / critical_value(users, Plan(users))
    assert found == pytest.approx(wider, abs=0.005)


def test_interval_is_wider_than_at_a_fixed_horizon_and_the_lower_bound_nearer() -> None:
    plan = Plan(7_682)
    ratio = critical_value(7_682, plan) / float(stats.norm.isf(0.025))
    assert ratio == pytest.approx(1.55, abs=0.01)
    assert lower_critical_value(7_682, plan) < critical_value(7_682, plan)


@pytest.mark.parametrize(
    ("converted", "is_silent"), [((9, 50), True), ((10, 10), False), ((90, 91), True)]
)
def test_proportions_are_silent_before_ten_conversions_and_ten_others(
    converted: tuple[int, int], is_silent: bool
) -> None:
    control, treatment = (proportion(Conversions(100, one)) for one in converted)
    found = always_valid(difference(control, treatment), Plan(200))
    assert (found.high == math.inf) == is_silent
    assert (found.low == -math.inf) == is_silent
    assert found.p_value == 1 or not is_silent
    bound = lower_bound(difference(control, treatment), Plan(200))
    assert (bound == -math.inf) == is_silent


def test_silent_effect_has_no_lower_p_value() -> None:
    assert lower_p_value(Effect(100, 5.0, 0.1, 98.0, False), Plan(100)) == 1
    assert lower_p_value(Effect(100, -5.0, 0.1, 98.0, True), Plan(100)) == 1


def test_users_with_one_value_are_silent() -> None:
    effect = difference(mean(Sums(500, 500, 500)), mean(Sums(500, 1000, 2000)))
    assert always_valid(effect, Plan(1000)).p_value == 1


def test_means_and_ratios_speak_from_a_hundred_users_on() -> None:
    for users, speaks in [(99, False), (100, True)]:
        arm = mean(Sums(users, users, 1.5 * users))
        assert (always_valid(difference(arm, arm), Plan(200)).high < math.inf) == speaks
        arm = ratio(PairSums(users, users, 1.5 * users, users, 1.5 * users, users))
        assert (always_valid(difference(arm, arm), Plan(200)).high < math.inf) == speaks


def test_ratio_with_an_uncertain_denominator_is_silent() -> None:
    # 1 of 200 users has all the views.
    arm = ratio(PairSums(200, 10, 100, 50, 2500, 500))
    assert not arm.is_enough


def test_lift_of_proportions_is_near_the_difference_in_significance() -> None:
    control, treatment = proportion(Conversions(9000, 900)), proportion(Conversions(9000, 1010))
    relative = lift(control, treatment)
    assert relative is not None
    found, plan = always_valid(relative, Plan(18_000)), Plan(18_000)
    assert found.value == pytest.approx(110 / 900)
    absolute = always_valid(difference(control, treatment), plan)
    assert found.p_value == pytest.approx(absolute.p_value, rel=0.6)
    assert 10 * absolute.low == pytest.approx(found.low, abs=0.03)


def test_enormous_effect_has_a_p_value_of_zero() -> None:
    effect = Effect(10_000, 1e300, 1e-300, math.inf, True)
    assert always_valid(effect, Plan(100)).p_value == 0
    assert lower_p_value(effect, Plan(100)) == 0
    large = Effect(10_000, 38.0, 1.0, math.inf, True)
    assert 0 < lower_p_value(large, Plan(100)) < 1e-300


def test_running_minimum_never_goes_up() -> None:
    source = random.Random(1)
    p_values = [source.random() for _ in range(50)]
    found = running_minimum(p_values)
    assert found == [min(p_values[: end + 1]) for end in range(50)]
    assert running_minimum([]) == []


def test_no_users_have_an_endless_interval() -> None:
    assert critical_value(0, Plan(100)) == math.inf
    assert lower_critical_value(0, Plan(100)) == math.inf
    assert always_valid(Effect(0, 0.0, 0.0, math.inf, False), Plan(100)).high == math.inf


@pytest.mark.parametrize("alpha", [0.5, 0.6, 0.99])
def test_large_alpha_has_results(alpha: float) -> None:
    plan = Plan(1000, alpha)
    assert 0 < lower_critical_value(1000, plan) < 3
    assert 0 < critical_value(1000, plan) < 3


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Plan(0), "users"),
        (lambda: Plan(10**400), "users"),
        (lambda: Plan(100, 0), "alpha"),
        (lambda: Plan(100, math.nan), "alpha"),
        (lambda: critical_value(-1, Plan(100)), "users"),
        (lambda: critical_value(1, Plan(100), 1), "alpha"),
        (lambda: lower_critical_value(1, Plan(100), math.nan), "alpha"),
        (lambda: always_valid(EFFECTS[0], Plan(100), 0), "alpha"),
    ],
    ids=itertools.count(),
)
def test_impossible_argument_is_rejected_by_name(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}"):
        call()
