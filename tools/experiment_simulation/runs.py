"""Runs experiments and finds the first look at which each rule speaks."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.experiments.statistics.sequential import (
    Plan,
    critical_value,
    lower_critical_value,
)
from tools.experiment_simulation.effects import Effects, effects_of
from tools.experiment_simulation.units import Floats, Scenario, draw, looks_of

__all__ = ["NEVER", "Ends", "run_all", "run_chunk"]

#: The end of a run in which a rule never speaks.
NEVER = 0
# Two-sided, 5 %.
_NAIVE = 1.959963984540054
# So many units are in memory at a time, or so many looks.
_CHUNK = 1_000_000

_Ends = npt.NDArray[np.int64]


class Ends(NamedTuple):
    """For each run the units of both arms at the first look with a result, or NEVER."""

    always_valid: _Ends
    #: The one-sided bound of a guardrail is above 0.
    lower_bound: _Ends
    #: The one-sided bound of the negated effect is above 0.
    upper_bound: _Ends
    #: A z test at 5 % at each look.
    naive: _Ends
    #: A z test at 5 % at the planned size only.
    planned: _Ends


def run_all(scenarios: Sequence[Scenario]) -> dict[str, Ends]:
    """Returns the ends by name of the scenario. Uses all cores; the seeds are fixed."""
    found = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for scenario in scenarios:
            rows = (
                scenario.units if scenario.kind in {"revenue", "ratio"} else len(looks_of(scenario))
            )
            size = max(_CHUNK // rows, 1)
            starts = range(0, scenario.runs, size)
            runs = [min(size, scenario.runs - start) for start in starts]
            parts = list(pool.map(run_chunk, [scenario] * len(runs), starts, runs))
            found[scenario.name] = Ends(*map(np.concatenate, zip(*parts, strict=True)))
    return found


def run_chunk(scenario: Scenario, start: int, runs: int) -> Ends:
    """Returns the ends of so many runs. The seed is the name of the scenario and the start."""
    source = np.random.default_rng([zlib.crc32(scenario.name.encode()), start])
    arms = draw(source, scenario, runs)
    effects = effects_of(scenario.kind, *arms)
    looks, plan = looks_of(scenario), Plan(scenario.planned)
    two_sided = np.array([critical_value(int(units), plan) for units in looks])
    one_sided = np.array([lower_critical_value(int(units), plan) for units in looks])
    z = _z(effects)
    return Ends(
        _first(looks, np.abs(z) >= two_sided),
        _first(looks, z > one_sided),
        _first(looks, -z > one_sided),
        _first(looks, np.abs(z) >= _NAIVE),
        _first(looks, (np.abs(z) >= _NAIVE) & (looks == scenario.planned)),
    )


def _z(effects: Effects) -> Floats:
    enough = effects.is_enough
    return np.divide(
        effects.value, effects.standard_error, out=np.zeros_like(effects.value), where=enough
    )


def _first(looks: _Ends, has_spoken: npt.NDArray[np.bool_]) -> _Ends:
    units = looks[has_spoken.argmax(axis=1)]
    return np.where(has_spoken.any(axis=1), units, NEVER)
