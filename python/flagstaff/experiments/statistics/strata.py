"""Combines the phases of an experiment, each of which has its own weights.

Adding up the units of phases reverses results (Simpson's paradox): with weights 99/1 and then 50/50
most units of the treatment are from the second phase, and every change between the phases looks
like an effect. So the arms are compared within each phase, and the differences are averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeVar

from flagstaff.experiments.statistics.estimates import Estimate

_S = TypeVar("_S")
_ARMS = ("control", "treatment")

Pair = tuple[Estimate, Estimate]


def estimate_strata(
    strata: Mapping[str, tuple[_S, _S]], estimate: Callable[[_S], Estimate]
) -> dict[str, Pair]:
    """Returns the estimates of control and treatment for the sums of each stratum.

    `estimate` is `proportion`, `mean` or `ratio`. Raises ValueError that names the stratum and the
    arm, as for an arm without units.

        >>> from flagstaff.experiments.statistics.proportions import proportion
        >>> from flagstaff.experiments.statistics.sums import Conversions
        >>> sums = {"phase 1": (Conversions(99, 9), Conversions(0, 0))}
        >>> estimate_strata(sums, proportion)
        Traceback (most recent call last):
        ValueError: phase 1, treatment: units is 0, but must be at least 1
    """
    return {
        name: (
            _estimate(f"{name}, control", control, estimate),
            _estimate(f"{name}, treatment", treatment, estimate),
        )
        for name, (control, treatment) in strata.items()
    }


def combine(strata: Mapping[str, Pair]) -> Pair:
    """Returns the estimates of control and treatment as if both had the same units per stratum.

    Each stratum has the weight of its units of both arms, w: the value is Σ w·value, its standard
    error √Σ w²·se² (post-stratification: Cochran, "Sampling Techniques", 5A.9; Miratrix, Sekhon and
    Yu 2013, "Adjusting treatment effect estimates by post-stratification in randomized
    experiments"). So the difference is the effect averaged over all units. Weights by inverse
    variance would be narrower, but would answer for a mix of units that does not exist, if the
    effect differs between the strata. The degrees of freedom are Satterthwaite's. The result is
    silent until each stratum has enough units, because a standard error of few conversions is too
    small. Raises ValueError without strata, or without units in an arm.

        >>> first = Estimate(9_900, 0.10, 0.003, 9_899, True), Estimate(100, 0.12, 0.03, 99, True)
        >>> second = Estimate(500, 0.3, 0.02, 499, True), Estimate(500, 0.32, 0.02, 499, True)
        >>> control, treatment = combine({"first": first, "second": second})
        >>> round(treatment.value - control.value, 6)
        0.02
    """
    if not strata:
        raise ValueError("strata is empty")
    for name, arms in strata.items():
        for arm, found in zip(_ARMS, arms, strict=True):
            if found.units <= 0:
                raise ValueError(f"{name}: {arm} has no units")
    sizes = [control.units + treatment.units for control, treatment in strata.values()]
    weights = [size / sum(sizes) for size in sizes]
    controls, treatments = zip(*strata.values(), strict=True)
    return _average(controls, weights), _average(treatments, weights)


def _estimate(label: str, sums: _S, estimate: Callable[[_S], Estimate]) -> Estimate:
    try:
        return estimate(sums)
    except ValueError as error:
        raise ValueError(f"{label}: {error}") from error


def _average(arms: tuple[Estimate, ...], weights: list[float]) -> Estimate:
    errors = [weight * arm.standard_error for arm, weight in zip(arms, weights, strict=True)]
    total = math.hypot(*errors)
    inverse = 0.0
    if total:
        parts = zip(arms, errors, strict=True)
        inverse = math.fsum((error / total) ** 4 / arm.degrees_of_freedom for arm, error in parts)
    return Estimate(
        units=sum(arm.units for arm in arms),
        value=math.fsum(weight * arm.value for arm, weight in zip(arms, weights, strict=True)),
        standard_error=total,
        degrees_of_freedom=1 / inverse if inverse else math.inf,
        is_enough=all(arm.is_enough for arm in arms),
    )
