"""Results that are valid at every look, their correction for several metrics, and sample sizes.

The results are an asymptotic confidence sequence (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences", arXiv 2103.06476): the
normal mixture of Robbins 1970 around an estimate whose standard error is itself estimated. It holds
for differences and lifts of proportions, means and ratios alike, because it needs the estimate and
its standard error only. Asymptotic means that it needs a start: it is silent until
`Effect.is_enough`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

from flagstaff.experiments.statistics.effects import Comparison, Effect

#: The share of experiments without an effect that may have a result. Plans are for it; intervals of
#: another one are valid too.
ALPHA = 0.05


@dataclass(frozen=True)
class Plan:
    """For which size the results are narrowest. Fixed before the first look, and never changed.

    A wrong guess costs width, not validity: at a tenth of the units the interval is 27 % wider than
    with a plan for that size, at ten times the units 7 %.
    """

    #: N*: the units of both arms together.
    units: int

    @property
    def rho_squared(self) -> float:
        """rho² of the two-sided sequence: (-2·ln alpha + ln(1 - 2·ln alpha)) / N*."""
        return self._rho_squared(ALPHA)

    @property
    def lower_rho_squared(self) -> float:
        """rho² of the one-sided sequence: that of 2·alpha."""
        return self._rho_squared(2 * ALPHA)

    def _rho_squared(self, alpha: float) -> float:
        log = -2 * math.log(alpha)
        return (log + math.log1p(log)) / self.units


def always_valid(effect: Effect, plan: Plan, alpha: float = ALPHA) -> Comparison:
    """Returns an effect with its always-valid interval and p value.

    However often it is called, the interval ever misses the effect with `alpha` at most. The half
    width is `critical_value` standard errors; the p value is the
    smallest alpha whose interval excludes 0:

        min(1, √m·exp(-(m - 1)·z² / (2·m)))    with m = N·rho² + 1, z = value / standard error

    A report shows the smallest p value of its looks. Without enough units the interval is from -inf
    to inf and p is 1.

        >>> effect = Effect(20_000, 0.03, 0.008, True)
        >>> found = always_valid(effect, Plan(20_000))
        >>> round(found.low, 4), round(found.high, 4), round(found.p_value, 4)
        (0.0057, 0.0543, 0.0058)
    """
    width = critical_value(effect.units, plan, alpha)
    if not effect.is_enough:
        return Comparison(effect.value, effect.standard_error, -math.inf, math.inf, 1.0)
    width *= effect.standard_error
    size = effect.units * plan.rho_squared
    z = effect.value / effect.standard_error
    log_p = math.log(size + 1) / 2 - size * z * z / (2 * (size + 1))
    return Comparison(
        effect.value,
        effect.standard_error,
        effect.value - width,
        effect.value + width,
        math.exp(min(log_p, 0.0)),
    )


def critical_value(units: int, plan: Plan, alpha: float = ALPHA) -> float:
    """Returns the half width of the always-valid interval in standard errors.

    `units` are those of both arms:

        √(2·m / (m - 1)·ln(√m / alpha))    with m = units·rho² + 1

    inf without units.

        >>> round(critical_value(10_000, Plan(10_000)), 3)
        3.035
    """
    size = units * plan.rho_squared
    log = math.log(size + 1) / 2 - math.log(alpha)
    return _width(size, log) if size else math.inf


def lower_bound(effect: Effect, plan: Plan, alpha: float = ALPHA) -> float:
    """Returns the always-valid one-sided lower bound of an effect, for guardrails.

    It is ever above the effect with `alpha` at most. For a guardrail that must not fall pass the
    negated effect: harm is certain where the bound is above what is tolerated. Pass differences:
    lifts are skewed, and the bounds of negated ones came near `alpha` in simulations (5.0 % at 5 %,
    weights 90/10). -inf without enough units.

        >>> effect = Effect(20_000, 0.03, 0.008, True)
        >>> round(lower_bound(effect, Plan(20_000)), 4)
        0.0078
    """
    critical = lower_critical_value(effect.units, plan, alpha)
    return effect.value - critical * effect.standard_error if effect.is_enough else -math.inf


def lower_critical_value(units: int, plan: Plan, alpha: float = ALPHA) -> float:
    """Returns the distance of `lower_bound` from the effect in standard errors.

    The one-sided sequence of arXiv 2103.06476, with the rho of 2·alpha:

        √(2·m / (m - 1)·ln(1 + √m / (2·alpha)))    with m = units·rho² + 1

    inf without units.

        >>> round(lower_critical_value(10_000, Plan(10_000)), 3)
        2.779
    """
    size = units * plan.lower_rho_squared
    log = math.log1p(math.sqrt(size + 1) / (2 * alpha))
    return _width(size, log) if size else math.inf


def _width(size: float, log: float) -> float:
    return math.sqrt(2 * (size + 1) / size * log)


# Holm's correction for several metrics or several treatments. Guardrails are not in it: to stop,
# each has alpha divided by their number (Bonferroni).


@dataclass(frozen=True)
class Corrected:
    """One of several p values, corrected."""

    p_value: float
    #: Whether it is at most alpha after the correction.
    is_rejected: bool
    #: The alpha of the interval that excludes 0 exactly if `is_rejected`.
    interval_alpha: float


def holm(p_values: Sequence[float], alpha: float = ALPHA) -> list[Corrected]:
    """Returns the adjusted p values, in the same order: `alpha` holds for all of them together.

    The i-th smallest of m is multiplied by m - i + 1, and is at least its predecessor (Holm 1979,
    "A simple sequentially rejective multiple test procedure"). Its interval has alpha / (m - i + 1)
    if it is rejected; all others have that of the first that is not. So the interval and the
    decision agree for each metric. They do not hold together with `alpha`; intervals of alpha / m
    do. Also valid for always-valid p values, at every look.

        >>> [round(one.p_value, 3) for one in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
        >>> [round(one.interval_alpha, 4) for one in holm([0.01, 0.04, 0.03])]
        [0.0167, 0.025, 0.025]
    """
    by_index: dict[int, Corrected] = {}
    largest, is_rejected, level = 0.0, True, alpha
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        remaining = len(p_values) - rank
        largest = max(largest, min(remaining * p_values[index], 1.0))
        if is_rejected:
            level = alpha / remaining
            is_rejected = p_values[index] <= level
        by_index[index] = Corrected(largest, is_rejected, level)
    return [by_index[index] for index in range(len(p_values))]


# The units that an experiment needs.

#: Always-valid results need so many times the units of one look: until four of five experiments
#: with the planned effect have found it, and on average.
FOUND, ON_AVERAGE = 1.7, 1.16
#: Until four of five experiments without an effect have had an interval within the planned one.
EXCLUDED = 2.16
#: The same as standard errors beside the half width. 1.28 at one look; earlier ones count, too. All
#: four are simulated by `tools.simulation`, for Holm's levels and for plans that are wrong by ten.
_EXCLUDED_ERRORS = 1.1
# Of 5 % two-sided and of four in five.
_QUANTILES = (NormalDist().inv_cdf(1 - ALPHA / 2), NormalDist().inv_cdf(0.8))


@dataclass(frozen=True)
class SampleSize:
    """The units of both arms that an experiment needs."""

    #: For one look at the end, at 5 %, in four of five cases.
    one_look: int
    #: With the planned effect, in four of five cases: the size of the `Plan`.
    planned: int
    #: With the planned effect, on average.
    average: int
    #: Without an effect, in four of five cases, until the planned one is excluded.
    without_effect: int


def size_for_proportions(control: float, treatment: float) -> SampleSize:
    """Returns the units that tell two proportions apart, both above 0 and below 1.

    One look at an arm takes (z_alpha·√(2·p·q) + z_power·√(p1·q1 + p2·q2))² / (p2 - p1)², with p the
    mean of both and q = 1 - p (Fleiss, Levin and Paik, "Statistical Methods for Rates and
    Proportions", 4.2). Raises ValueError if they are equal.

        >>> size_for_proportions(0.10, 0.12)
        SampleSize(one_look=7682, planned=13100, average=8920, without_effect=15300)
    """
    if control == treatment:
        raise ValueError("treatment is equal to control, but must differ")
    z_alpha, z_power = _QUANTILES
    pooled = (control + treatment) / 2
    null = math.sqrt(2 * pooled * (1 - pooled))
    alternative = math.sqrt(control * (1 - control) + treatment * (1 - treatment))
    effect = treatment - control
    arm = _whole(((z_alpha * null + z_power * alternative) / effect) ** 2)
    return _size(arm, _arm_for_means(math.sqrt(control * (1 - control)), effect))


def size_for_means(standard_deviation: float, effect: float) -> SampleSize:
    """Returns the units that show a difference of two means.

    One look at an arm takes 2·(z_alpha + z_power)²·s² / effect², with one standard deviation s in
    both arms (Chow, Shao and Wang, "Sample Size Calculations in Clinical Research", 3.2). With
    CUPED s² is multiplied by 1 - variance reduction. For a ratio metric s is that of (y - R·x) /
    mean x. Raises ValueError.

        >>> size_for_means(10, 1)
        SampleSize(one_look=3140, planned=5340, average=3650, without_effect=6790)
    """
    if effect == 0:
        raise ValueError("effect is 0, but must differ")
    arm = _arm_for_means(standard_deviation, effect)
    return _size(arm, arm)


def units_without_effect(
    effect: Effect, smallest: float, plan: Plan, alpha: float = ALPHA
) -> int | None:
    """Returns the units of both arms with which four of five experiments without an effect say so.

    These are the smallest N with (`critical_value` + 1.1)·s / √N of at most `smallest`, where s² is
    the variance of one unit: the present standard error squared, times the present units. None
    without a standard error.

        >>> units_without_effect(Effect(5_000, 0.01, 0.0085, True), 0.02, Plan(13_100))
        15452
    """
    if not effect.is_enough:
        return None
    deviation = effect.standard_error * math.sqrt(effect.units)

    def suffices(units: int) -> bool:
        errors = critical_value(units, plan, alpha) + _EXCLUDED_ERRORS
        return errors * deviation <= smallest * math.sqrt(units)

    high = 1
    while not suffices(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _arm_for_means(standard_deviation: float, effect: float) -> int:
    relative = sum(_QUANTILES) * standard_deviation / effect
    return _whole(2 * relative * relative)


def _size(arm: int, arm_without_effect: int) -> SampleSize:
    return SampleSize(
        2 * arm,
        _rounded(2 * FOUND * arm),
        _rounded(2 * ON_AVERAGE * arm),
        _rounded(2 * EXCLUDED * arm_without_effect),
    )


def _rounded(units: float) -> int:
    """Returns a number of three digits and noughts that is not below."""
    step: int = 10 ** max(math.floor(math.log10(units)) - 2, 0)
    return math.ceil(units / step) * step


def _whole(units: float) -> int:
    if not math.isfinite(units):
        raise ValueError("the number of units is too large; raise the effect")
    return math.ceil(units)
