"""The effect and its standard error at each look, as the package computes them, with arrays.

A test compares them with `flagstaff.experiments.statistics`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.experiments.statistics.effects import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_STANDARD_ERRORS,
    LEAST_UNITS,
)
from tools.experiment_simulation.units import ArmSums, Floats, Kind

__all__ = ["Effects", "effects_of"]


class Effects(NamedTuple):
    """One row per experiment, one column per look."""

    value: Floats
    standard_error: Floats
    is_enough: npt.NDArray[np.bool_]


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
    return Effects(treatment.value - control.value, error, enough)


def _lift(control: Effects, treatment: Effects) -> Effects:
    ratio = treatment.value / control.value
    error = np.hypot(ratio * control.standard_error, treatment.standard_error) / control.value
    enough = control.is_enough & treatment.is_enough & (error > 0)
    enough &= control.value >= LEAST_STANDARD_ERRORS * control.standard_error
    return Effects(ratio - 1, error, enough)


def _arm(kind: Kind, sums: ArmSums) -> Effects:
    n, mean = sums.units, sums.y / sums.units
    if kind in {"conversion", "lift", "grow"}:
        enough = np.minimum(sums.y, n - sums.y) >= LEAST_CONVERSIONS
        return Effects(mean, np.sqrt(mean * (1 - mean) / n), enough)
    squares = sums.yy - sums.y * mean
    enough = (n >= LEAST_UNITS) & (sums.y**2 >= LEAST_CONTRIBUTORS * sums.yy) & (sums.y > 0)
    if kind == "revenue":
        return Effects(mean, np.sqrt(squares / (n - 1) / n), enough)
    mean_x = sums.x / n
    of_x, products = sums.xx - sums.x * mean_x, sums.xy - sums.x * mean
    ratio = sums.y / sums.x
    squares += ratio * ratio * of_x - 2 * ratio * products
    enough &= mean_x >= LEAST_STANDARD_ERRORS * np.sqrt(of_x / (n - 1) / n)
    return Effects(ratio, np.sqrt(squares / (n - 1) / n) / mean_x, enough)


def _until(sums: ArmSums) -> ArmSums:
    return ArmSums(*(np.cumsum(one, axis=1) for one in sums))
