"""Plans with the default steps in `make sim`.

A plan of days would be too long for `tools.simulation.plan`, which draws each request. Here the
users of a class are counted only: not seen yet, seen, failed. That is exact, because users of a
class are alike and each counts once; retries change nothing. The guard is that of errors; looks are
every minute for two hours, then every ten. Before the start a day is measured, which says whether
the plan will hold.

Each row has the plans that tripped, were done or hold, those done within 1.5 times the dwell times,
and median and maximum of the users who had failed inside at a trip. *Warned* plans were said to
hold, *in vain* if they were done in time; *surprised* ones hold or were late without a warning.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from flagstaff.rollouts.statistics import share_error
from flagstaff.rollouts.steps_and_guards import (
    ALL,
    DEFAULTS,
    Defaults,
    Guard,
    GuardCounts,
    StepEvidence,
    StepVerdict,
    Tenth,
    defaults_for,
)
from flagstaff.rollouts.verdict import judge
from tools.simulation.plan import Estimates
from tools.simulation.sampling import between, generator, run_all, share_bound
from tools.simulation.users import MOST_FAILING, OFTEN, RATES, SHARES, swing

if TYPE_CHECKING:
    from flagstaff.rollouts.status import Traffic

__all__ = ["SCENARIOS", "Outcome", "Scenario", "broken_bounds", "run", "run_plan"]

_GUARD = Guard("errors")
_DAY = 24 * 60
# Looks are rare after so many minutes.
_OFTEN, _RARELY = 120, 10
# A plan is in time within so many times its dwell times, and is stopped after more of them.
_IN_TIME, _END = 1.5, 4
_FAILS_FOR_ALL = math.inf
_MOST_FALSE_TRIPS, _MOST_BAD_BUILDS, _MOST_FALSE_WARNINGS = 0.05, 0.05, 0.1
# Plans without harm, and those of each other scenario.
_PLANS, _OTHERS = 2000, 200


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
    plan: Defaults = DEFAULTS[0]
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
    "2 times, 12,000 users, steps that fit": Scenario(
        (12_000, 12_000), harm=2.0, plan=defaults_for(5_000)
    ),
    "3,000 users, 300 a day": Scenario((3_000, 3_000), activity=0.007),
    "3,000 users, 300 a day, steps that fit": Scenario(
        (3_000, 3_000), activity=0.007, plan=defaults_for(300)
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

    def __init__(self, source: np.random.Generator, sizes: Sequence[int]) -> None:
        self._source, self._unseen = source, np.array(sizes)
        self._fine, self.failed = np.zeros_like(self._unseen), 0

    @property
    def seen(self) -> int:
        return int(self._fine.sum()) + self.failed

    def pass_time(self, hours: float, errors: float) -> None:
        binomial, share = self._source.binomial, np.minimum(errors * OFTEN, MOST_FAILING)
        fails = -np.expm1(-RATES * share * hours)
        first, later = binomial(self._unseen, fails), binomial(self._fine, fails)
        others = self._unseen - first
        fine = binomial(others, -np.expm1(-RATES * (1 - share) * hours))
        self._unseen = others - fine
        self._fine += fine - later
        self.failed += int((first + later).sum())


class _Run:
    """The state of a plan between two looks."""

    def __init__(
        self, source: np.random.Generator, scenario: Scenario, site: np.random.Generator
    ) -> None:
        self.source, self.scenario = source, scenario
        users, self.errors = between(site, scenario.users), between(site, scenario.errors)
        self.outside = np.rint(users * SHARES).astype(np.int64)
        self.inside = np.zeros_like(self.outside)
        self.harm, self.phase = scenario.harm, source.random() * 2 * math.pi
        self.at = self.began = self.index = self.earlier = 0
        self.traffic = self._measure_a_day()
        self.begin_step(0)

    def _measure_a_day(self) -> Traffic:
        from flagstaff.rollouts.status import Traffic  # noqa: PLC0415 (after set-up)

        self.begin_run(0)
        for _ in range(_DAY // _RARELY):
            self.pass_time(_RARELY)
        self.at = 0
        seen, failed = self.sides[0].seen, self.sides[0].failed
        return Traffic(_DAY * 60, seen, {0: failed})

    def is_warned(self) -> bool:
        """Returns whether the page says before the start that the plan will hold."""
        plan = self.scenario.plan
        compared = (step for step in plan.steps if step.percent < ALL)
        return any(self.traffic.inside(step) < plan.required_users for step in compared)

    def begin_step(self, index: int) -> None:
        """Moves users inside, who stay inside."""
        before = self.scenario.plan.steps[index - 1].percent if index else 0
        share = (self.scenario.plan.steps[index].percent - before) / (ALL - before)
        moved = self.source.binomial(self.outside, share)
        self.outside, self.inside = self.outside - moved, self.inside + moved
        self.index = index
        self.earlier = self.failed_inside() if index else 0
        self.begin_run(1)

    def begin_run(self, number: int) -> None:
        """Forgets the evidence."""
        self.number, self.began = number, self.at
        self.sides = [_Side(self.source, users) for users in (self.outside, self.inside)]
        self.estimates = Estimates(self.source)
        self.tenths: dict[int, Tenth] = {}

    def deploy(self, harm: float) -> None:
        """Brings a new build to all workers, which begins a new run of the step."""
        self.harm, self.earlier = harm, self.failed_inside()
        self.begin_run(self.number + 1)

    def failed_inside(self) -> int:
        return self.earlier + self.sides[1].failed

    def pass_time(self, minutes: int) -> None:
        before = [side.failed for side in self.sides]
        hours = swing(self.phase, self.at) * self.scenario.activity * minutes / 60
        for side, harm in zip(self.sides, (1.0, self.harm), strict=True):
            side.pass_time(hours, self.errors * harm)
        outside, inside = (
            side.failed - number for side, number in zip(self.sides, before, strict=True)
        )
        over = 60 * (self.at - self.began) / self.scenario.plan.steps[self.index].seconds
        tenth = int(10 * over)
        self.tenths[tenth] = self.tenths.get(tenth, Tenth()) + Tenth(users=(outside, inside))
        self.at += minutes

    def look(self) -> StepVerdict:
        outside, inside = self.estimates.of([side.seen for side in self.sides])
        failed = GuardCounts(self.sides[1].failed, self.sides[0].failed, tenths=self.tenths)
        counts = {0: failed}
        # Requests matter only if there are none.
        requests = self.sides[0].seen, self.sides[1].seen
        evidence = StepEvidence(inside, outside, share_error(inside, outside), counts, requests)
        plan, guards = self.scenario.plan, [_GUARD]
        return judge(plan.steps, self.index, guards, evidence, plan.required_users, self.number)


def run_plan(scenario: Scenario, name: str, plan: int) -> Outcome:
    """Returns what a plan did. The same name and number give the same result."""
    site, source = generator("site", plan), generator(name, plan)
    run, steps = _Run(source, scenario, site), scenario.plan.steps
    dwell = sum(step.seconds // 60 for step in steps if step.percent < ALL)
    compared = sum(step.percent < ALL for step in steps)
    chosen, entered = int(source.integers(compared)), 0
    times = [source.uniform(deploy.earliest, deploy.latest) for deploy in scenario.deploys]
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


def run(scale: float) -> tuple[str, list[str]]:
    """Runs all scenarios. Returns their figures as text, and what is wrong with them."""
    results = {}
    for name, scenario in SCENARIOS.items():
        plans = round((_PLANS if name == NO_HARM else _OTHERS) * scale)
        outcomes = run_all(run_plan, [(scenario, name, plan) for plan in range(plans)])
        # With deploys, those that have met all of them.
        results[name] = [
            outcome for outcome in outcomes if outcome.deploys == len(scenario.deploys)
        ]
    heads = ("plans", "tripped", "done", "holds", "in time", "warned", "in vain", "surprised")
    lines = [f"{'':<40}{''.join(f'{head:>10}' for head in heads)}  users failed"]
    lines += [_row(name, outcomes) for name, outcomes in results.items()]
    return "\n".join(lines), broken_bounds(results)


def broken_bounds(results: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Returns what is wrong with the outcomes."""
    problems = []
    for name, outcomes in results.items():
        scenario, ends = SCENARIOS[name], Counter(outcome.end for outcome in outcomes)
        tripped, done = (share_bound(ends[end], len(outcomes)) for end in ("tripped", "done"))
        in_time = sum(outcome.in_time for outcome in outcomes)
        in_vain = sum(outcome.was_warned and outcome.in_time for outcome in outcomes)
        if name == NO_HARM and tripped > _MOST_FALSE_TRIPS:
            problems.append(f"{name}: bound of trips {tripped:.1%}")
        if name == BAD_BUILD and done > _MOST_BAD_BUILDS:
            problems.append(f"{name}: bound of plans that are done {done:.1%}")
        is_harmless = scenario.harm == 1 and not scenario.deploys
        if is_harmless and in_vain > _MOST_FALSE_WARNINGS * in_time:
            problems.append(f"{name}: {in_vain} of {in_time} warned in vain")
    return problems


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    ends = Counter(outcome.end for outcome in outcomes)
    failed = [outcome.failed_inside for outcome in outcomes if outcome.end == "tripped"]
    figures = (
        len(outcomes),
        *(ends[end] for end in ("tripped", "done", "holds")),
        sum(outcome.in_time for outcome in outcomes),
        sum(outcome.was_warned for outcome in outcomes),
        sum(outcome.was_warned and outcome.in_time for outcome in outcomes),
        # Neither done in time nor tripped nor warned.
        sum(
            not (outcome.in_time or outcome.was_warned or outcome.end == "tripped")
            for outcome in outcomes
        ),
    )
    users = f"{statistics.median(failed):,.0f} · {max(failed):,}" if failed else "-"
    return f"{name:<40}{''.join(f'{figure:>10,}' for figure in figures)}  {users}"
