"""Results that are valid at every look: an asymptotic confidence sequence.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic
confidence sequences" (arXiv 2103.06476): the normal mixture of Robbins 1970 around an estimate
whose standard error is itself estimated. It holds for differences and lifts of proportions, means
and ratios alike, because it needs the estimate and its standard error only. Asymptotic means that
it needs a start: it is silent until `Effect.is_enough`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flagstaff.experiments.statistics.estimates import Comparison, Effect

_HALF = 0.5


@dataclass(frozen=True)
class Plan:
    """For which size the results are narrowest. Fixed before the first look, and never changed.

    A wrong guess costs width, not validity: at a tenth of the units the interval is 27 % wider than
    with a plan for that size, at ten times the units 7 %.
    """

    #: N*: the units of both arms together.
    units: int
    #: The alpha for which the width is least. Intervals of another one are valid too.
    alpha: float = 0.05

    @property
    def rho_squared(self) -> float:
        """rho² of the two-sided sequence: (-2·ln alpha + ln(1 - 2·ln alpha)) / N*."""
        return _rho_squared(self.units, self.alpha)

    @property
    def lower_rho_squared(self) -> float:
        """rho² of the one-sided sequence: that of 2·alpha."""
        return _rho_squared(self.units, min(2 * self.alpha, 1.0))


def always_valid(effect: Effect, plan: Plan, alpha: float | None = None) -> Comparison:
    """Returns an effect with its always-valid interval and p value.

    However often it is called, the interval ever misses the effect with `alpha` at most, which is
    the plan's if it is None. The half width is `critical_value` standard errors; the p value is the
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


def critical_value(units: int, plan: Plan, alpha: float | None = None) -> float:
    """Returns the half width of the always-valid interval in standard errors.

    `units` are those of both arms, `alpha` the plan's if it is None:

        √(2·m / (m - 1)·ln(√m / alpha))    with m = units·rho² + 1

    inf without units.

        >>> round(critical_value(10_000, Plan(10_000)), 3)
        3.035
    """
    size = units * plan.rho_squared
    log = math.log(size + 1) / 2 - math.log(plan.alpha if alpha is None else alpha)
    return _width(size, log) if size else math.inf


def lower_bound(effect: Effect, plan: Plan, alpha: float | None = None) -> float:
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


def lower_critical_value(units: int, plan: Plan, alpha: float | None = None) -> float:
    """Returns the distance of `lower_bound` from the effect in standard errors.

    The one-sided sequence of arXiv 2103.06476, with the rho of 2·alpha:

        √(2·m / (m - 1)·ln(1 + √m / (2·alpha)))    with m = units·rho² + 1

    inf without units.

        >>> round(lower_critical_value(10_000, Plan(10_000)), 3)
        2.779
    """
    size = units * plan.lower_rho_squared
    log = math.log1p(math.sqrt(size + 1) / (2 * (plan.alpha if alpha is None else alpha)))
    return _width(size, log) if size else math.inf


def _rho_squared(units: int, alpha: float) -> float:
    # An alpha of 1 has no width to be made least: rho² is that of 1/2.
    log = -2 * math.log(min(alpha, _HALF))
    return (log + math.log1p(log)) / units


def _width(size: float, log: float) -> float:
    return math.sqrt(2 * (size + 1) / size * log)
