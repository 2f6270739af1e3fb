"""Simulates plans with the default steps: `python -m tools.simulation.default_plan [--plans N]`.

A plan of 55 hours would be too long for `tools.simulation`, which draws each request. Here the
users of a class are counted only: not seen yet, seen, failed. That is exact, because users of a
class are alike and each counts once; retries change nothing. The guard is that of errors; looks are
every minute for two hours, then every ten. Before the start a day is measured, which says whether
the plan will hold.

Each row has the plans that tripped, were done or hold, those done within 1.5 times the dwell times,
and median and maximum of the users who had failed inside at a trip. *Warned* plans were said to
hold, *in vain* if they were done in time; *surprised* ones hold or were late without a warning.
Exits with 1 if a bound is broken.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import django

from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.hyperloglog import share_error
from flagstaff.rollouts.results import GuardCounts, StepEvidence, StepVerdict
from flagstaff.rollouts.steps import ALL, DEFAULT_STEPS, Step
from flagstaff.rollouts.verdict import judge
from tools.simulation.plan import Estimates
from tools.simulation.printing import print_result
from tools.simulation.sampling import binomial, share_bound
from tools.simulation.users import CLASSES, MOST_FAILING, swing

if TYPE_CHECKING:
    from flagstaff.rollouts.traffic import Traffic

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.support.settings")

__all__ = ["SCENARIOS", "Outcome", "Scenario", "run_plan"]

_GUARD = Guard("errors")
_DAY = 24 * 60
# Looks are rare after so many minutes.
_OFTEN, _RARELY = 120, 10
# A plan is in time within so many times its dwell times, and is stopped after more of them.
_IN_TIME, _END = 1.5, 4
_FAILS_FOR_ALL = math.inf
_MOST_FALSE_TRIPS, _MOST_BAD_BUILDS, _MOST_FALSE_WARNINGS = 0.05, 0.05, 0.1


def _steps(first: int) -> tuple[Step, ...]:
    """Returns the steps that the console proposes where the users need such a first step."""
    return Step(first, 3600), *(step for step in DEFAULT_STEPS if step.percent > first)


@dataclass(frozen=True)
class Deploy:
    """A new build in a random step: when, as a share of the dwell time, and its harm."""

    earliest: float
    latest: float
    harm: float


@dataclass(frozen=True)
class Scenario:
    """Plans of one kind. Numbers of users and shares of errors are log-uniform."""

    #: All users of the site.
    users: tuple[float, float] = (100_000, 1_000_000)
    errors: tuple[float, float] = (0.002, 0.02)
    #: How many times as often as usual the users come.
    activity: float = 1.0
    harm: float = 1.0
    steps: Sequence[Step] = DEFAULT_STEPS
    required_users: int = 1000
    deploys: tuple[Deploy, ...] = ()


NO_HARM, BAD_BUILD = "no harm", "bad build"
# A build that fails for all, and one with half as many errors more, which is soon repaired.
_BAD = (Deploy(0.1, 0.95, _FAILS_FOR_ALL),)
_REPAIR = (Deploy(0, 0, 1.5), Deploy(0, 0.1, 1.0))
SCENARIOS = {
    NO_HARM: Scenario(),
    "no harm, any site": Scenario((3_000, 1_000_000)),
    "2 times, 120,000 users": Scenario((120_000, 120_000), harm=2.0),
    "2 times, 12,000 users": Scenario((12_000, 12_000), harm=2.0),
    "2 times, 12,000 users, proposed steps": Scenario((12_000, 12_000), harm=2.0, steps=_steps(9)),
    "3,000 users, 300 a day": Scenario((3_000, 3_000), activity=0.007),
    "3,000 users, 300 a day, proposed steps": Scenario(
        (3_000, 3_000), activity=0.007, steps=_steps(10), required_users=300
    ),
    BAD_BUILD: Scenario(deploys=_BAD),
    "repaired build": Scenario(deploys=_REPAIR),
}


@dataclass(frozen=True)
class Outcome:
    """How a plan ended: "tripped", "done" or "holds", and what was said before its start."""

    end: str
    percent: int
    minutes: int
    #: Users with the flag who have met an error, also one without harm. Summed over the runs.
    failed_inside: int
    #: The plan was done in time.
    in_time: bool
    was_warned: bool
    #: Deploys that it has met.
    deploys: int


class _Side:
    """The users inside or outside in one run: of each class not seen, seen, and failed."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._unseen, self._fine, self.failed = [*sizes], [0] * len(sizes), 0

    @property
    def seen(self) -> int:
        return sum(self._fine) + self.failed

    def pass_time(self, source: random.Random, hours: float, errors: float) -> None:
        for kind, (_, rate, often) in enumerate(CLASSES):
            share = min(errors * often, MOST_FAILING)
            fails = -math.expm1(-rate * share * hours)
            first = binomial(source, self._unseen[kind], fails)
            later = binomial(source, self._fine[kind], fails)
            others = self._unseen[kind] - first
            fine = binomial(source, others, -math.expm1(-rate * (1 - share) * hours))
            self._unseen[kind] = others - fine
            self._fine[kind] += fine - later
            self.failed += first + later


class _Run:
    """The state of a plan between two looks."""

    def __init__(self, source: random.Random, scenario: Scenario, site: random.Random) -> None:
        self.source, self.scenario = source, scenario
        users, self.errors = _between(site, scenario.users), _between(site, scenario.errors)
        self.outside = [round(users * share) for share, _, _ in CLASSES]
        self.inside = [0] * len(CLASSES)
        self.harm, self.phase = scenario.harm, source.random() * 2 * math.pi
        self.at = self.began = self.index = self.earlier = 0
        self.traffic = self._measure_a_day()
        self.begin_step(0)

    def _measure_a_day(self) -> Traffic:
        from flagstaff.rollouts.traffic import Traffic  # noqa: PLC0415 (after set-up)

        self.begin_run(0)
        for _ in range(_DAY // _RARELY):
            self.pass_time(_RARELY)
        self.at = 0
        seen, failed = self.sides[0].seen, self.sides[0].failed
        return Traffic(_DAY * 60, seen, {0: failed})

    def is_warned(self) -> bool:
        """Returns whether the page says before the start that the plan will hold."""
        scenario = self.scenario
        return bool(self.traffic.slow_steps(scenario.steps, [_GUARD], scenario.required_users))

    def begin_step(self, index: int) -> None:
        """Moves users inside, who stay inside."""
        before = self.scenario.steps[index - 1].percent if index else 0
        share = (self.scenario.steps[index].percent - before) / (ALL - before)
        for kind, outside in enumerate(self.outside):
            moved = binomial(self.source, outside, share)
            self.outside[kind] -= moved
            self.inside[kind] += moved
        self.index = index
        self.earlier = self.failed_inside() if index else 0
        self.begin_run(1)

    def begin_run(self, number: int) -> None:
        """Forgets the evidence."""
        self.number, self.began = number, self.at
        self.sides = _Side(self.outside), _Side(self.inside)
        self.estimates = Estimates(self.source)

    def deploy(self, harm: float) -> None:
        """Brings a new build to all workers, which begins a new run of the step."""
        self.harm, self.earlier = harm, self.failed_inside()
        self.begin_run(self.number + 1)

    def failed_inside(self) -> int:
        return self.earlier + self.sides[1].failed

    def pass_time(self, minutes: int) -> None:
        hours = swing(self.phase, self.at) * self.scenario.activity * minutes / 60
        for side, harm in zip(self.sides, (1.0, self.harm), strict=True):
            side.pass_time(self.source, hours, self.errors * harm)
        self.at += minutes

    def look(self) -> StepVerdict:
        outside, inside = self.estimates.of([side.seen for side in self.sides])
        counts = {0: GuardCounts(self.sides[1].failed, self.sides[0].failed)}
        # Requests matter only if there are none.
        requests = self.sides[0].seen, self.sides[1].seen
        evidence = StepEvidence(inside, outside, share_error(inside, outside), counts, requests)
        required = self.scenario.required_users
        return judge(self.scenario.steps, self.index, [_GUARD], evidence, required, self.number)


def run_plan(scenario: Scenario, name: str, plan: int) -> Outcome:
    """Returns what a plan did. The same name and number give the same result."""
    site, source = random.Random(f"site {plan}"), random.Random(f"{name} {plan}")  # noqa: S311
    run, steps = _Run(source, scenario, site), scenario.steps
    dwell = sum(step.seconds // 60 for step in steps if step.percent < ALL)
    compared = sum(step.percent < ALL for step in steps)
    chosen, entered = source.randrange(compared), 0
    times = [source.uniform(one.earliest, one.latest) for one in scenario.deploys]
    met, end = 0, "holds"
    while run.at < _END * dwell and end == "holds":
        seconds = steps[run.index].seconds
        is_chosen = met < len(times) and run.index == chosen
        if is_chosen and (run.at - entered) * 60 >= times[met] * seconds:
            run.deploy(scenario.deploys[met].harm)
            met += 1
        run.pass_time(1 if run.at - run.began < _OFTEN else _RARELY)
        verdict = run.look()
        if verdict.trip:
            end = "tripped"
        elif verdict.passed and (run.at - run.began) * 60 >= seconds:
            if run.index + 1 < compared:
                run.begin_step(run.index + 1)
                entered = run.at
            else:
                end = "done"
    return Outcome(
        end=end,
        percent=ALL if end == "done" else steps[run.index].percent,
        minutes=run.at,
        failed_inside=run.failed_inside(),
        in_time=end == "done" and run.at <= _IN_TIME * dwell,
        was_warned=run.is_warned(),
        deploys=met,
    )


@dataclass(frozen=True)
class Figures:
    """How the plans of a scenario ended. With deploys, those that have met all of them."""

    plans: int
    ends: dict[str, int]
    #: Upper 99 % bounds of the shares.
    tripped_bound: float
    done_bound: float
    #: Users with the flag who had met an error when the plan tripped.
    failed_median: float | None
    failed_most: int | None
    in_time: int
    #: Plans that were warned before the start, and those of them that were done in time.
    warned: int
    warned_in_time: int
    #: Neither done in time nor tripped nor warned.
    surprised: int


def figures_of(scenario: Scenario, outcomes: Sequence[Outcome]) -> Figures:
    """Returns the figures of a scenario."""
    met = [one for one in outcomes if one.deploys == len(scenario.deploys)]
    ends = Counter(one.end for one in met)
    failed = [one.failed_inside for one in met if one.end == "tripped"]
    return Figures(
        plans=len(met),
        ends=dict(ends),
        tripped_bound=share_bound(ends["tripped"], len(met)),
        done_bound=share_bound(ends["done"], len(met)),
        failed_median=statistics.median(failed) if failed else None,
        failed_most=max(failed) if failed else None,
        in_time=sum(one.in_time for one in met),
        warned=sum(one.was_warned for one in met),
        warned_in_time=sum(one.was_warned and one.in_time for one in met),
        surprised=sum(not (one.in_time or one.was_warned or one.end == "tripped") for one in met),
    )


def broken_bounds(found: Mapping[str, Figures]) -> list[str]:
    """Returns what is wrong with the figures."""
    problems = []
    for name, one in found.items():
        scenario = SCENARIOS[name]
        if name == NO_HARM and one.tripped_bound > _MOST_FALSE_TRIPS:
            problems.append(f"{name}: bound of trips {one.tripped_bound:.1%}")
        if name == BAD_BUILD and one.done_bound > _MOST_BAD_BUILDS:
            problems.append(f"{name}: bound of plans that are done {one.done_bound:.1%}")
        is_harmless = scenario.harm == 1 and not scenario.deploys
        if is_harmless and one.warned_in_time > _MOST_FALSE_WARNINGS * one.in_time:
            problems.append(f"{name}: {one.warned_in_time} of {one.in_time} warned in vain")
    return problems


def _row(name: str, one: Figures) -> str:
    failed = "-" if one.failed_most is None else f"{one.failed_median:,.0f} · {one.failed_most:,}"
    ends = "".join(f"{one.ends.get(end, 0):>9,}" for end in ("tripped", "done", "holds"))
    return (
        f"{name:<40}{one.plans:>7,}{ends}{one.in_time:>9,}{failed:>18}"
        f"{one.warned:>9,}{one.warned_in_time:>9,}{one.surprised:>10,}"
    )


def main() -> int:
    """Runs all scenarios, prints their figures, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=2000, help="plans without harm")
    parser.add_argument("--others", type=int, default=200, help="plans of each other scenario")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    started, found = time.monotonic(), {}
    with ProcessPoolExecutor(os.cpu_count(), initializer=django.setup) as pool:
        for name, scenario in SCENARIOS.items():
            plans = options.plans if name == NO_HARM else options.others
            run = partial(run_plan, scenario, name)
            found[name] = figures_of(scenario, [*pool.map(run, range(plans), chunksize=5)])
    heads = ("tripped", "done", "holds", "in time")
    columns = "".join(f"{head:>9}" for head in heads)
    head = f"{'users failed':>18}{'warned':>9}{'in vain':>9}{'surprised':>10}"
    lines = [f"{'':<40}{'plans':>7}{columns}{head}"]
    lines += [_row(name, one) for name, one in found.items()]
    figures = {name: asdict(one) for name, one in found.items()}
    problems = broken_bounds(found)
    return print_result("\n".join(lines), figures, problems, started=started, as_json=options.json)


def _between(source: random.Random, limits: tuple[float, float]) -> float:
    return math.exp(source.uniform(*map(math.log, limits)))


if __name__ == "__main__":
    sys.exit(main())
