"""The units of simulated experiments, and their effect at each look, with arrays.

A test compares the effects with `flagstaff.experiments.statistics`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.experiments.statistics.effects import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_STANDARD_ERRORS,
    LEAST_UNITS,
    STOP_NEEDS,
)

__all__ = ["ArmSums", "Effects", "Floats", "Kind", "Scenario", "draw", "effects_of", "looks_of"]

Floats = npt.NDArray[np.float64]
Kind = Literal["conversion", "lift", "revenue", "ratio", "grow"]

# Ratio: units view 1 + Poisson(4) pages, and each has a click rate around 0.2.
_VIEWS = 4.0
_RATES = (0.05, 0.35)
# Revenue: the share of units that buy, and the spread of their log-normal amounts.
_BUYERS, _SIGMA = 0.05, 1.0
# Grow: an experiment that looks good at half time gets more traffic, of units that convert more.
_BETTER_LATER = 1.5


@dataclass(frozen=True)
class Scenario:
    """Experiments of one kind, with a look after every so many units."""

    name: str
    kind: Kind
    runs: int
    #: The units at the last look, in both arms.
    units: int
    every: int
    #: N*, the units of both arms that are planned.
    planned: int
    base: float = 0.1
    #: How much larger the metric is in the treatment: 0.2 is a fifth.
    effect: float = 0.0
    #: The share of the treatment.
    treated: float = 0.5
    #: The effect for which `planned` is the size; 0 without one.
    planned_effect: float = 0.0
    #: The units of both arms that one look at the end takes for it.
    one_look: int = 0

    @property
    def is_as_planned(self) -> bool:
        """Whether the effect is the planned one."""
        return self.effect != 0 and self.effect == self.planned_effect


class ArmSums(NamedTuple):
    """What an arm adds until each look: one row per experiment, one column per look."""

    units: Floats
    y: Floats
    yy: Floats
    x: Floats
    xx: Floats
    xy: Floats


def looks_of(scenario: Scenario) -> npt.NDArray[np.int64]:
    """Returns the units of both arms at each look."""
    return np.arange(scenario.every, scenario.units + 1, scenario.every)


def draw(source: np.random.Generator, scenario: Scenario, runs: int) -> tuple[ArmSums, ArmSums]:
    """Returns control and treatment of so many experiments."""
    if scenario.kind in {"revenue", "ratio"}:
        return _draw_units(source, scenario, runs)
    looks = len(looks_of(scenario))
    base = np.full((runs, looks), scenario.base)
    if scenario.kind != "grow":
        return _draw_conversions(source, scenario, base)
    half = looks // 2
    first = _draw_conversions(source, scenario, base[:, :half])
    control, treatment = (arm.y.sum(axis=1) / arm.units.sum(axis=1) for arm in first)
    base[treatment > control] *= _BETTER_LATER
    second = _draw_conversions(source, scenario, base[:, half:])
    before, after = (
        ArmSums(*(np.hstack(pair) for pair in zip(*both, strict=True)))
        for both in zip(first, second, strict=True)
    )
    return before, after


def _draw_conversions(
    source: np.random.Generator, scenario: Scenario, base: Floats
) -> tuple[ArmSums, ArmSums]:
    treated = source.binomial(scenario.every, scenario.treated, base.shape)
    return (
        _of_conversions(scenario.every - treated, base, source),
        _of_conversions(treated, base * (1 + scenario.effect), source),
    )


def _of_conversions(
    units: npt.NDArray[np.int64], chance: Floats, source: np.random.Generator
) -> ArmSums:
    n, y = units.astype(np.float64), source.binomial(units, chance).astype(np.float64)
    return ArmSums(n, y, y, n, n, y)


def _draw_units(
    source: np.random.Generator, scenario: Scenario, runs: int
) -> tuple[ArmSums, ArmSums]:
    """Returns the sums of units that are drawn one by one."""
    shape = (runs, len(looks_of(scenario)), scenario.every)
    treated = source.random(shape, dtype=np.float32) < scenario.treated
    x = np.ones(shape)
    if scenario.kind == "ratio":
        x += source.poisson(_VIEWS, shape)
        y = source.binomial(x.astype(np.int64), source.uniform(*_RATES, shape)).astype(np.float64)
    else:
        y = source.lognormal(0, _SIGMA, shape)
        y[source.random(shape, dtype=np.float32) >= _BUYERS] = 0
    y[treated] *= 1 + scenario.effect
    return _of_units(~treated, y, x), _of_units(treated, y, x)


def _of_units(chosen: npt.NDArray[np.bool_], y: Floats, x: Floats) -> ArmSums:
    y, x = chosen * y, chosen * x
    products = [y, y * y, x, x * x, x * y]
    sums = [product.sum(axis=2) for product in products]
    return ArmSums(chosen.sum(axis=2).astype(np.float64), *sums)


class Effects(NamedTuple):
    """One row per experiment, one column per look."""

    value: Floats
    standard_error: Floats
    is_enough: npt.NDArray[np.bool_]
    #: For a stop of one of several guardrails.
    can_stop: npt.NDArray[np.bool_]


def effects_of(kind: Kind, control: ArmSums, treatment: ArmSums) -> Effects:
    """Returns the effect at each look: a difference, or for the kind "lift" a relative lift.

    The sums are those between two looks.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        before, after = _arm(kind, _until(control)), _arm(kind, _until(treatment))
        return _lift(before, after) if kind == "lift" else _difference(before, after)


def _difference(control: Effects, treatment: Effects) -> Effects:
    error = np.hypot(control.standard_error, treatment.standard_error)
    enough = control.is_enough & treatment.is_enough & (error > 0)
    can_stop = enough & control.can_stop & treatment.can_stop
    return Effects(treatment.value - control.value, error, enough, can_stop)


def _lift(control: Effects, treatment: Effects) -> Effects:
    ratio = treatment.value / control.value
    error = np.hypot(ratio * control.standard_error, treatment.standard_error) / control.value
    enough = control.is_enough & treatment.is_enough & (error > 0)
    enough &= control.value >= LEAST_STANDARD_ERRORS * control.standard_error
    return Effects(ratio - 1, error, enough, enough & control.can_stop & treatment.can_stop)


def _arm(kind: Kind, sums: ArmSums) -> Effects:
    n, mean = sums.units, sums.y / sums.units
    if kind in {"conversion", "lift", "grow"}:
        fewest = np.minimum(sums.y, n - sums.y)
        enough, can_stop = (fewest >= times * LEAST_CONVERSIONS for times in (1, STOP_NEEDS))
        return Effects(mean, np.sqrt(mean * (1 - mean) / n), enough, can_stop)
    squares = sums.yy - sums.y * mean
    enough, can_stop = (
        (n >= LEAST_UNITS) & (sums.y**2 >= times * LEAST_CONTRIBUTORS * sums.yy) & (sums.y > 0)
        for times in (1, STOP_NEEDS)
    )
    if kind == "revenue":
        return Effects(mean, np.sqrt(squares / (n - 1) / n), enough, can_stop)
    mean_x = sums.x / n
    of_x, products = sums.xx - sums.x * mean_x, sums.xy - sums.x * mean
    ratio = sums.y / sums.x
    squares += ratio * ratio * of_x - 2 * ratio * products
    enough &= mean_x >= LEAST_STANDARD_ERRORS * np.sqrt(of_x / (n - 1) / n)
    return Effects(ratio, np.sqrt(squares / (n - 1) / n) / mean_x, enough, can_stop)


def _until(sums: ArmSums) -> ArmSums:
    return ArmSums(*(np.cumsum(sums_of_arm, axis=1) for sums_of_arm in sums))
