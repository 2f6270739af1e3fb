"""The scenarios of plans in `make sim`, their figures, and the bounds that these must keep."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tools.simulation.plan import PERCENTS, Course, Result, run_plan
from tools.simulation.sampling import between, generator, run_all, share_bound
from tools.simulation.users import Site

__all__ = ["LOST", "LOW", "NO_HARM", "Scenario", "broken_bounds", "report", "run", "simulate"]

#: Names of scenarios.
NO_HARM, LOW, LOST = "no harm", "low traffic", "lost worker"
RESUMED, RESUMED_OFTEN = "no harm, resumed in each step", "no harm, resumed ten times in each step"
RESUMED_HARM = "5 times, resumed in each step"
# How many times as many errors inside.
_HARMS = {"1.5 times": 1.5, "2 times": 2.0, "5 times": 5.0}
_MOST_FALSE_TRIPS = 0.05
_LEAST_FOUND = {"5 times": 0.95, RESUMED_HARM: 0.95}
# Plans without harm, and those of each other scenario.
_PLANS, _OTHERS = 4000, 240
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


def run(scale: float) -> tuple[str, list[str]]:
    """Runs all scenarios. Returns their figures as text, and what is wrong with them."""
    results = simulate(_scenarios(round(_PLANS * scale), round(_OTHERS * scale)))
    return report(results), broken_bounds(results)


def _scenarios(no_harm: int, others: int) -> list[Scenario]:
    patient = replace(_COURSE, forced_after=None)
    lost = replace(patient, lost_workers=1, minutes=4 * 60)
    resumed, often = (replace(_COURSE, restarts=restarts) for restarts in (3, 10))
    return [
        Scenario(NO_HARM, no_harm),
        *(
            Scenario(name, others, course=replace(_COURSE, harm=harm))
            for name, harm in _HARMS.items()
        ),
        Scenario(RESUMED, max(no_harm // 8, 1), course=resumed),
        Scenario(RESUMED_OFTEN, max(no_harm // 8, 1), course=often),
        Scenario(RESUMED_HARM, others, course=replace(resumed, harm=5.0)),
        Scenario(LOW, max(others // 3, 1), users=(2, 300), course=patient, any_step=True),
        Scenario(LOST, max(others // 6, 1), course=lost),
    ]


def simulate(scenarios: Sequence[Scenario]) -> dict[str, list[Result]]:
    """Returns the results of all plans by name of the scenario."""
    return {scenario.name: run_all(run_plan, _plans_of(scenario)) for scenario in scenarios}


def _plans_of(scenario: Scenario) -> Iterator[tuple[str, int, Course]]:
    """Yields the arguments of each plan. Plan 7 has the same site in most scenarios."""
    for number in range(scenario.plans):
        source = generator("site", number)
        site = Site(between(source, scenario.users), between(source, scenario.errors))
        first = number % len(PERCENTS) if scenario.any_step else 0
        yield scenario.name, number, replace(scenario.course, site=site, first=first)


def broken_bounds(
    results_by_name: Mapping[str, Sequence[Result]], most_false: float = _MOST_FALSE_TRIPS
) -> list[str]:
    """Returns what is wrong with the results."""
    problems = []
    for name, results in results_by_name.items():
        tripped = sum(result.guard is not None for result in results)
        share, bound = tripped / len(results), share_bound(tripped, len(results))
        blind = sum(result.blind_passes for result in results)
        passes = sum(result.passes for result in results)
        if name in {NO_HARM, RESUMED, RESUMED_OFTEN} and bound > most_false:
            problems.append(
                f"{name}: {share:.2%} tripped, bound {bound:.2%}, allowed {most_false:.0%}"
            )
        if share < (least := _LEAST_FOUND.get(name, 0)):
            problems.append(f"{name}: {share:.1%} tripped, required {least:.0%}")
        if blind:
            problems.append(f"{name}: {blind} steps passed without data")
        if name == LOST and passes:
            problems.append(f"{name}: {passes} steps passed")
    return problems


def report(results_by_name: Mapping[str, Sequence[Result]]) -> str:
    """Returns the figures of each scenario.

    By step the plans that tripped there, with the median of the users who had failed inside; then
    the mean of these users of all plans until the trip or the end.
    """
    return "\n".join(
        line for name, results in results_by_name.items() for line in _lines(name, results)
    )


def _lines(name: str, results: Sequence[Result]) -> Iterator[str]:
    tripped = [result for result in results if result.guard is not None]
    looks, mean = (
        sum(result.looks for result in results),
        statistics.fmean(result.failed_inside for result in results),
    )
    yield f"{name}: {len(results):,} plans, {looks:,} looks"
    steps = [
        _step([result.failed_inside for result in tripped if result.percent == p]) for p in PERCENTS
    ]
    at = ", ".join(f"at {percent} % {text}" for percent, text in zip(PERCENTS, steps, strict=True))
    bound = share_bound(len(tripped), len(results))
    yield f"  tripped {len(tripped) / len(results):.2%}, bound {bound:.2%}: {at}; mean {mean:,.0f}"
    yield f"  trips by guard: {_pairs(Counter(str(result.guard) for result in tripped))}"
    yield (
        f"  steps passed {sum(result.passes for result in results):,}, "
        f"without data {sum(result.blind_passes for result in results):,}, "
        f"left by a person {sum(result.forced for result in results):,}"
    )
    yield f"  plans by last step: {_pairs(Counter(f'{result.percent} %' for result in results))}"


def _step(failed: Sequence[int]) -> str:
    return f"{len(failed):,} ({statistics.median(failed):,.0f} users)" if failed else "none"


def _pairs(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"
