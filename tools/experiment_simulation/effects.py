"""The effect and its standard error at each look, as the package computes them, with arrays.

A test compares them with `flagstaff.experiments.statistics`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.experiments.statistics import (
    LEAST_CONTRIBUTORS,
    LEAST_CONVERSIONS,
    LEAST_STANDARD_ERRORS,
    LEAST_UNITS,
)
from tools.experiment_simulation.units import ArmSums, Floats, Kind

__all__ = ["Effects", "effects_of", "has_enough_together"]


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
        if kind == "phases":
            return _difference(*_stratified(control, treatment))
        before, after = _arm(kind, _until(control)), _arm(kind, _until(treatment))
        return _lift(before, after) if kind == "lift" else _difference(before, after)


def has_enough_together(kind: Kind, control: ArmSums, treatment: ArmSums) -> npt.NDArray[np.bool_]:
    """Returns whether there is enough for one look, if its values are spread alike in both arms."""
    before, after = _until(control), _until(treatment)
    if kind not in {"revenue", "ratio"}:
        return np.ones(before.units.shape, dtype=np.bool_)
    units, y, yy = (one + other for one, other in zip(before[:3], after[:3], strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(y > 0, y * y / yy / units, 0)
    enough: npt.NDArray[np.bool_] = (
        np.minimum(before.units, after.units) * share >= LEAST_CONTRIBUTORS
    )
    return enough


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
    if kind in {"conversion", "lift", "phases"}:
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


def _stratified(control: ArmSums, treatment: ArmSums) -> tuple[Effects, Effects]:
    """Returns the estimates of both arms, with the weights of the two phases."""
    half = control.units.shape[1] // 2
    total = np.cumsum(control.units + treatment.units, axis=1)
    arms = []
    for arm in (control, treatment):
        first = _arm("phases", _until(ArmSums(*(_keep(sums, 0, half) for sums in arm))))
        second = _arm("phases", _until(ArmSums(*(_keep(sums, half, None) for sums in arm))))
        weight = total[:, half - 1 : half] / np.maximum(total, total[:, half - 1 : half])
        has_begun = weight < 1
        arms.append(
            Effects(
                weight * first.value + np.where(has_begun, (1 - weight) * second.value, 0),
                np.hypot(
                    weight * first.standard_error,
                    np.where(has_begun, (1 - weight) * second.standard_error, 0),
                ),
                first.is_enough & (second.is_enough | ~has_begun),
            )
        )
    return arms[0], arms[1]


def _keep(sums: Floats, start: int, end: int | None) -> Floats:
    """Returns the sums of the looks from `start` to `end`, and 0 at the others."""
    found = np.zeros_like(sums)
    found[:, start:end] = sums[:, start:end]
    return found


def _until(sums: ArmSums) -> ArmSums:
    return ArmSums(*(np.cumsum(one, axis=1) for one in sums))
