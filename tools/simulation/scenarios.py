"""The scenarios of `make sim`, and the plans of each, on all cores."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

from tools.simulation.plan import PERCENTS, Course, Result, run_plan
from tools.simulation.users import Site

__all__ = [
    "HARMS",
    "LOST",
    "LOW",
    "NO_HARM",
    "RESUMED",
    "RESUMED_HARM",
    "RESUMED_OFTEN",
    "Scenario",
    "courses",
    "run_all",
    "scenarios",
]

#: Names of scenarios.
NO_HARM, LOW, LOST = "no harm", "low traffic", "lost worker"
RESUMED, RESUMED_OFTEN = "no harm, resumed in each step", "no harm, resumed ten times in each step"
RESUMED_HARM = "5 times, resumed in each step"
#: How many times as many errors inside.
HARMS = {"1.5 times": 1.5, "2 times": 2.0, "5 times": 5.0}

_CHUNK = 10
# Each plan has its own site.
_COURSE = Course(Site(0, 0))


@dataclass(frozen=True)
class Scenario:
    """Plans of one kind. Users an hour are log-uniform between two limits."""

    name: str
    plans: int
    users: tuple[float, float] = (2_000, 20_000)
    errors: tuple[float, float] = (0.002, 0.02)
    course: Course = _COURSE
    #: The plans begin at each of the steps in turn.
    any_step: bool = False


def scenarios(no_harm: int, others: int) -> list[Scenario]:
    """Returns the scenarios with these numbers of plans."""
    found = [Scenario(NO_HARM, no_harm)]
    found += [
        Scenario(name, others, course=replace(_COURSE, harm=harm)) for name, harm in HARMS.items()
    ]
    patient = replace(_COURSE, forced_after=None)
    lost = replace(patient, lost_workers=1, minutes=4 * 60)
    resumed, often = (replace(_COURSE, restarts=restarts) for restarts in (3, 10))
    return [
        *found,
        Scenario(RESUMED, max(no_harm // 8, 1), course=resumed),
        Scenario(RESUMED_OFTEN, max(no_harm // 8, 1), course=often),
        Scenario(RESUMED_HARM, others, course=replace(resumed, harm=5.0)),
        Scenario(LOW, max(others // 3, 1), users=(2, 300), course=patient, any_step=True),
        Scenario(LOST, max(others // 6, 1), course=lost),
    ]


def courses(scenario: Scenario) -> Iterator[tuple[str, Course]]:
    """Yields the seed and the course of each plan. Plan 7 has the same site in most scenarios."""
    for index in range(scenario.plans):
        source = random.Random(f"site {index}")  # noqa: S311 (a simulation)
        site = Site(_between(source, scenario.users), _between(source, scenario.errors))
        first = index % len(PERCENTS) if scenario.any_step else 0
        yield f"{scenario.name} {index}", replace(scenario.course, site=site, first=first)


def run_all(chosen: list[Scenario]) -> Mapping[str, list[Result]]:
    """Returns the results by name of the scenario. Uses all cores; the seeds are fixed."""
    found = {}
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for scenario in chosen:
            seeds, ways = zip(*courses(scenario), strict=True)
            found[scenario.name] = [*pool.map(run_plan, seeds, ways, chunksize=_CHUNK)]
    return found


def _between(source: random.Random, limits: tuple[float, float]) -> float:
    return math.exp(source.uniform(*map(math.log, limits)))
