"""The scenarios of experiments in `make sim`."""

from __future__ import annotations

from dataclasses import replace

from flagstaff.experiments.statistics.sequential import units_for_proportions
from tools.experiment_simulation.units import Scenario

__all__ = ["scenarios"]

# The planned effect: 10 % convert, and a fifth more in the treatment.
_BASE, _EFFECT = 0.1, 0.2
# Looks until the planned size: one a day for seven weeks, or for three.
_DAYS = (50, 20)
# Longer experiments are stopped at so many times the planned size.
_LONGEST = 6


def scenarios(runs: int) -> list[Scenario]:
    """Returns the scenarios. `runs` are those of most of them."""
    often = Scenario("", "conversion", runs, units=10_000, every=5, planned=10_000)
    rare = replace(often, kind="lift", units=40_000, every=20, planned=40_000, base=0.01)
    none = [
        replace(often, name="20 looks", runs=4 * runs, every=500),
        replace(often, name="every 5 units"),
        replace(often, name="every 5 units, 1 %", base=0.01),
        replace(often, name="every 5 units, 95 %", base=0.95),
        replace(often, name="every 5 units, 90/10", treated=0.1),
        replace(often, name="every 5 units, plan 1,000", planned=1_000),
        replace(often, name="every 5 units, plan 100,000", planned=100_000),
        replace(often, name="every 5 units, grow", kind="grow"),
        replace(often, name="every 5 units, lift", kind="lift"),
        replace(often, name="every 5 units, lift 90/10", kind="lift", treated=0.1),
        replace(often, name="every 5 units, lift 10/90", kind="lift", treated=0.9),
        replace(rare, name="every 20 units, lift 1 %"),
        replace(rare, name="every 20 units, lift, plan 4,000", planned=4_000),
        replace(often, name="every 5 units, revenue", kind="revenue"),
        replace(rare, name="every 20 units, revenue 90/10", kind="revenue", base=0.1, treated=0.1),
        replace(often, name="every 5 units, ratio", kind="ratio"),
    ]
    some = [_with_effect(runs, _EFFECT, looks) for looks in _DAYS]
    return none + some + [_with_effect(runs, effect, _DAYS[0]) for effect in (0.15, 0.3)]


def _with_effect(runs: int, effect: float, looks: int) -> Scenario:
    """Returns experiments that are planned for the effect _EFFECT, with looks until that size."""
    planned = 2 * units_for_proportions(_BASE, _BASE * (1 + _EFFECT))
    every = -(-planned // looks)
    planned = every * looks
    name = f"effect {effect:.0%}, {looks} looks"
    return Scenario(
        name,
        "conversion",
        runs,
        planned * _LONGEST,
        every,
        planned,
        _BASE,
        effect,
        planned_effect=_EFFECT,
    )
