"""Sums, estimates, effects and sample sizes, against statsmodels and the units themselves."""

import math
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest

from flagstaff.experiments.statistics.effects import (
    Conversions,
    Effect,
    Estimate,
    PairSums,
    Sums,
    adjust,
    difference,
    lift,
    mean,
    proportion,
    ratio,
)
from flagstaff.experiments.statistics.sequential import (
    Plan,
    critical_value,
    size_for_means,
    size_for_proportions,
    units_without_effect,
)

# Each test imports what it needs of statsmodels, which takes two seconds.
Units = tuple[list[float], list[float]]


def arm(units: int, seed: int, effect: float = 0.0, slope: float = 0.8) -> Units:
    """Returns y and x of the units of an arm."""
    source = random.Random(seed)
    x = [source.gauss(20, 4) for _ in range(units)]
    return [slope * value + effect + source.gauss(0, 2) for value in x], x


def sums_of(values: Sequence[float], shift: float = 0) -> Sums:
    moved = [value - shift for value in values]
    return Sums(len(values), math.fsum(moved), math.fsum(value * value for value in moved), shift)


def pair_sums_of(
    y: Sequence[float], x: Sequence[float], y_shift: float = 0, x_shift: float = 0
) -> PairSums:
    of_y, of_x = sums_of(y, y_shift), sums_of(x, x_shift)
    xy = math.fsum(
        (x_of_unit - y_shift) * (other - x_shift) for x_of_unit, other in zip(y, x, strict=True)
    )
    return PairSums(len(y), of_y.y, of_y.yy, of_x.y, of_x.yy, xy, y_shift, x_shift)


CONTROL, TREATMENT = arm(400, 1), arm(150, 2, 0.7)


def test_mean_variance_and_covariance_are_those_of_the_units_of_all_hours() -> None:
    y, x = arm(500, 1)
    sums = pair_sums_of(y[:100], x[:100]) + pair_sums_of(y[100:], x[100:])
    assert sums.of_y.mean == pytest.approx(statistics.fmean(y), rel=1e-12)
    assert sums.of_y.variance == pytest.approx(statistics.variance(y), rel=1e-12)
    assert float(sums.products) / (sums.units - 1) == pytest.approx(
        statistics.covariance(y, x), rel=1e-12
    )
    # An empty hour adds nothing.
    assert sums + PairSums(0, 0, 0, 0, 0, 0) == sums


def test_sums_keep_the_digits_of_large_means_with_a_shift_and_of_whole_numbers() -> None:
    y, x = arm(500, 1)
    large = [1e8 + value for value in y]
    shifted = sums_of(large, shift=1e8)
    assert shifted.mean == pytest.approx(statistics.fmean(large), rel=1e-15)
    assert shifted.variance == pytest.approx(statistics.variance(y), rel=1e-6)
    # As the docstring says: without a shift only the first digits are left, if any.
    assert sums_of(large).variance != pytest.approx(statistics.variance(y), rel=1e-6)
    sums = pair_sums_of(large, x, y_shift=1e8, x_shift=10)
    assert float(sums.products) / (sums.units - 1) == pytest.approx(
        statistics.covariance(y, x), rel=1e-6
    )
    base = 10**30
    values = [base, base + 1, base + 2]
    assert Sums(3, sum(values), sum(value * value for value in values)).variance == 1
    assert sums_of([0.1] * 1000).variance == pytest.approx(0, abs=1e-15)
    assert sums_of([-5.0] * 3).variance == 0


def test_adjusted_difference_is_that_of_an_analysis_of_covariance() -> None:
    from statsmodels.regression.linear_model import OLS

    y, x = np.array([*CONTROL[0], *TREATMENT[0]]), np.array([*CONTROL[1], *TREATMENT[1]])
    treated = np.repeat([0.0, 1.0], [len(CONTROL[0]), len(TREATMENT[0])])
    fitted = OLS(y, np.column_stack([np.ones(len(y)), treated, x])).fit()
    adjusted = adjust([pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)])
    assert adjusted.theta == pytest.approx(fitted.params[2], rel=1e-9)
    assert difference(*adjusted.arms).value == pytest.approx(fitted.params[1], rel=1e-9)


def test_adjusted_standard_error_is_that_of_the_adjusted_units() -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    products = squares = 0.0
    for y, x in (CONTROL, TREATMENT):
        mean_y, mean_x = statistics.fmean(y), statistics.fmean(x)
        products += sum(
            (x_of_unit - mean_y) * (other - mean_x) for x_of_unit, other in zip(y, x, strict=True)
        )
        squares += sum((other - mean_x) ** 2 for other in x)
    theta = products / squares
    units = [
        [x_of_unit - theta * other for x_of_unit, other in zip(y, x, strict=True)]
        for y, x in (TREATMENT, CONTROL)
    ]
    theirs = CompareMeans(*map(DescrStatsW, units))
    sums = [pair_sums_of(*arm, y_shift=15, x_shift=20) for arm in (CONTROL, TREATMENT)]
    adjusted = difference(*adjust(sums).arms)
    assert adjusted.standard_error == pytest.approx(theirs.std_meandiff_separatevar, rel=1e-9)


def test_variance_reduction_is_that_of_the_standard_errors() -> None:
    arms = [pair_sums_of(*CONTROL), pair_sums_of(*TREATMENT)]
    result = adjust(arms)
    plain, adjusted = difference(*(mean(arm.of_y) for arm in arms)), difference(*result.arms)
    expected = 1 - (adjusted.standard_error / plain.standard_error) ** 2
    assert result.variance_reduction == pytest.approx(expected, rel=1e-9)
    # The correlation in the population: 0.64·16 / (0.64·16 + 4).
    assert result.variance_reduction == pytest.approx(0.72, abs=0.05)
    # All units together keep their plain mean.
    total = sum(arm.value * arm.units for arm in result.arms)
    assert total == pytest.approx(sum(arm.y for arm in arms), rel=1e-12)
    assert lift(*result.arms) is not None


def test_constant_value_before_or_metric_changes_nothing() -> None:
    y, _ = CONTROL
    sums = pair_sums_of(y, [0.0] * len(y))
    adjusted = adjust([sums, sums])
    assert (adjusted.theta, adjusted.variance_reduction) == (0, 0)
    assert adjusted.arms[0] == mean(sums.of_y)
    adjusted = adjust([PairSums(3, 6, 12, 4, 8, 8)])
    assert (adjusted.theta, adjusted.variance_reduction) == (0, 0)
    assert adjusted.arms[0].standard_error == 0


def test_proportion_needs_ten_conversions_and_ten_others() -> None:
    sizes = [(9, 100), (10, 100), (90, 100), (91, 100)]
    enough = [proportion(Conversions(units, converted)).is_enough for converted, units in sizes]
    assert enough == [False, True, True, False]


@pytest.mark.parametrize("seed", range(3))
def test_difference_of_means_has_the_standard_error_of_statsmodels(seed: int) -> None:
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    source = random.Random(seed)
    control = [source.lognormvariate(1, 1) for _ in range(300)]
    treatment = [source.gauss(-2, 5) for _ in range(120)]
    theirs = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    effect = difference(*(mean(sums_of(arm)) for arm in (control, treatment)))
    assert effect.value == pytest.approx(np.mean(treatment) - np.mean(control), rel=1e-9)
    assert effect.standard_error == pytest.approx(theirs.std_meandiff_separatevar, rel=1e-9)
    # Huge values of the other sign keep their digits.
    huge = [mean(sums_of([-1e150 * unit for unit in units])) for units in (control, treatment)]
    assert difference(*huge).standard_error == pytest.approx(1e150 * effect.standard_error)


def test_lift_has_the_standard_error_of_the_delta_method() -> None:
    from statsmodels.stats._delta_method import NonlinearDeltaCov

    control, treatment = mean(Sums(400, 800, 2_000)), mean(Sums(300, 690, 2_000))
    theirs = NonlinearDeltaCov(
        lambda both: both[1:] / both[:1] - 1,
        np.array([control.value, treatment.value]),
        np.diag([control.standard_error**2, treatment.standard_error**2]),
        deriv=lambda both: np.array([[-both[1] / both[0] ** 2, 1 / both[0]]]),
    )
    lifted = lift(control, treatment)
    assert lifted is not None
    assert lifted.value == pytest.approx(theirs.predicted()[0], rel=1e-9)
    assert lifted.standard_error == pytest.approx(theirs.se_vectorized()[0], rel=1e-9)


def test_lift_needs_a_control_well_above_zero() -> None:
    arm = Estimate(100, 1.0, 0.2, True)
    for value, expected in [(2.01, True), (1.99, False), (0.0, False), (-1.0, False)]:
        lifted = lift(Estimate(100, value, 0.2, True), arm)
        assert (lifted is not None) == expected
    assert lift(proportion(Conversions(100, 0)), proportion(Conversions(100, 5))) is None
    # Numbers that would overflow.
    tiny = Estimate(100, 5e-324, 0.0, True)
    assert lift(tiny, Estimate(100, 1e300, 1.0, True)) is None
    small = Estimate(100, 1e-200, 1e-202, True)
    lifted = lift(small, small)
    assert lifted is not None
    assert lifted.standard_error == pytest.approx(math.sqrt(2) / 100)


def test_ratio_has_the_standard_error_of_the_delta_method_of_units() -> None:
    from statsmodels.stats._delta_method import NonlinearDeltaCov

    source = random.Random(5)
    views = [float(source.randint(1, 30)) for _ in range(400)]
    clicks = [source.gauss(0.3, 0.1) * view for view in views]
    covariance = np.cov(clicks, views) / len(views)
    theirs = NonlinearDeltaCov(
        lambda both: both[:1] / both[1:],
        np.array([np.mean(clicks), np.mean(views)]),
        covariance,
        deriv=lambda both: np.array([[1 / both[1], -both[0] / both[1] ** 2]]),
    )
    estimate = ratio(pair_sums_of(clicks, views))
    assert estimate.value == pytest.approx(sum(clicks) / sum(views), rel=1e-12)
    assert estimate.standard_error == pytest.approx(theirs.se_vectorized()[0], rel=1e-9)
    shifted = ratio(pair_sums_of(clicks, views, y_shift=3, x_shift=10))
    assert shifted.value == pytest.approx(estimate.value, rel=1e-12)
    assert shifted.standard_error == pytest.approx(estimate.standard_error, rel=1e-9)


def test_effect_without_spread_and_mean_of_few_buyers_say_nothing() -> None:
    effect = difference(mean(Sums(2, 2, 2)), mean(Sums(2, 4, 8)))
    assert effect == Effect(4, 1.0, 0.0, False)
    for buyers, expected in [(0, False), (49, False), (50, True)]:
        assert mean(Sums(1_000, buyers, buyers)).is_enough == expected
    # One large amount among many small ones counts nearly alone.
    assert not mean(Sums(1_000, 1_000 + 500, 1_000 + 250_000)).is_enough


@pytest.mark.parametrize(
    ("control", "treatment"), [(0.1, 0.12), (0.5, 0.4), (0.001, 0.0012), (0.9, 0.99)]
)
def test_units_of_one_look_at_proportions_equal_those_of_statsmodels(
    control: float, treatment: float
) -> None:
    from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

    expected = samplesize_proportions_2indep_onetail(
        control - treatment, treatment, 0.8, alpha=0.05, alternative="two-sided"
    )
    assert size_for_proportions(control, treatment).one_look == 2 * math.ceil(expected)


@pytest.mark.parametrize(("deviation", "effect"), [(10, 1), (2.5, -0.01), (1e6, 1e5)])
def test_units_of_one_look_at_means_equal_those_of_statsmodels(
    deviation: float, effect: float
) -> None:
    from statsmodels.stats.power import NormalIndPower

    # One tail, because the other one is not counted as seeing the effect.
    expected = NormalIndPower().solve_power(
        effect_size=abs(effect) / deviation, alpha=0.025, power=0.8, alternative="larger"
    )
    size = size_for_means(deviation, effect).one_look / 2
    assert size == pytest.approx(expected, rel=1e-9, abs=1)
    assert size >= expected * (1 - 1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("planned", [500, 13_100, 1_000_000])
def test_units_without_an_effect_are_the_least_with_a_narrow_interval(
    planned: int, alpha: float
) -> None:
    effect, plan = Effect(2_000, 0.01, 0.0134, True), Plan(planned)
    least = units_without_effect(effect, 0.02, plan, alpha)
    assert least is not None
    for units, is_narrow in [(least - 1, False), (least, True)]:
        error = effect.standard_error * math.sqrt(effect.units / units)
        assert ((critical_value(units, plan, alpha) + 1.1) * error <= 0.02) is is_narrow
    assert units_without_effect(Effect(2_000, 0.01, 0.01, False), 0.02, plan, alpha) is None


def test_no_number_of_units_shows_a_difference_of_zero_or_next_to_it() -> None:
    with pytest.raises(ValueError, match="treatment is equal to control"):
        size_for_proportions(0.1, 0.1)
    with pytest.raises(ValueError, match="effect is 0"):
        size_for_means(10, 0)
    with pytest.raises(ValueError, match="the number of units is too large"):
        size_for_means(10, 1e-200)
