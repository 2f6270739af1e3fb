"""Plans of days in `make sim`, compared by users and by requests at risk.

Users come for visits of several requests, on several workers. The rule of a step is computed with
arrays, for a look every ten minutes (`tools.simulation.visit_rules`), and each decision is compared
with that of the judge. The limit of 64 requests at risk matters for robots only, which are added as
such.

Each row has the plans that tripped, were done or hold, and those that were not done in their time;
with harm, the users with the flag who had failed at the trip, and at that of a sequential
probability ratio test which knows the harm (Wald 1945).
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from flagstaff.rollouts.statistics import CARDINALITY_ERROR
from flagstaff.rollouts.steps_and_guards import ALL, parse_steps
from flagstaff.rollouts.verdict import REQUESTS
from tools.simulation.sampling import generator, is_above, is_below, run_all
from tools.simulation.visit_rules import (
    LOOKS_A_DAY,
    Bools,
    Bounds,
    Counts,
    Floats,
    Ints,
    Rule,
    Scenario,
    decide,
    require_judged,
    sprt_trip,
)

__all__ = ["SCENARIOS", "Outcome", "broken_bounds", "run", "run_plan"]

_WORKERS = 8
# All users, for one who comes on a day. A tenth comes every day, and half of them rarely.
_POOL = 4
_COMES = (1.0, 0.25, 0.25, 0.25, 0.25, 0.1, 0.1, 0.1, 0.1, 0.1)
# Of a visit at most so many requests fail.
_MOST_FAILING = 0.97
# The requests at risk of a client in a worker.
_MOST_REQUESTS = 64
# A step is given up after so many times its time.
_LONGEST = 3

_HARMLESS = Bounds(most_trips=0.012, least_done=0.95, most_late=0.03)
_HARM = Bounds(most_done=0.01)
_DAYS = parse_steps(("5:1d", "25:1d", "50:1d", "100"))


def _asking(users: int, times: float, bounds: Bounds, compare: str = "") -> Scenario:
    """Returns plans in which users inside make more requests, and no more of them fail."""
    return Scenario(users, 0.002, bounds, more_requests=times, compare=compare, steps=_DAYS)


_MORE = Bounds(most_trips=0.05, least_done=0.9)
SCENARIOS = {
    **{
        f"no harm, {users:,} users a day, {errors:.2%}": Scenario(users, errors, _HARMLESS, 1000)
        for users, errors in (
            (500, 0.01),
            (1_000, 0.002),
            (3_000, 0.002),
            (5_000, 0.001),
            (5_000, 0.01),
            (10_000, 0.001),
        )
    },
    "no harm, broken clients": Scenario(5_000, 0.002, _HARMLESS, broken=(0.02, 50.0)),
    "no harm, robots": Scenario(5_000, 0.002, _HARMLESS, robots=20),
    "no harm, 30,000 users a day, 0.20%": Scenario(30_000, 0.002, _HARMLESS),
    **{
        f"{times} times the requests, {users:,}": _asking(users, times, bounds)
        for users in (20_000, 50_000)
        for times, bounds in ((1.2, _MORE), (1.5, _MORE), (2.0, Bounds(0.05, most_done=0.01)))
    },
    "2.0 times the requests, compared": _asking(20_000, 2.0, _MORE, REQUESTS),
    "20 % fail, no harm": Scenario(5_000, 0.2, Bounds(0.012, least_done=0.9)),
    "20 % fail, 2 times": Scenario(5_000, 0.2, _HARM, harm=2.0),
    **{
        f"{harm} times from the last tenth": Scenario(
            50_000, 0.001, bounds, 500, harm, harm_step=2, harm_from=0.9, steps=_DAYS
        )
        for harm, bounds in ((5.0, _HARM), (3.0, Bounds(most_done=0.05)))
    },
    **{
        f"{harm} times, 5,000 users a day": Scenario(5_000, 0.01, bounds, harm=harm)
        for harm, bounds in ((1.5, Bounds()), (2.0, _HARM), (5.0, _HARM))
    },
    "5.0 times, robots": Scenario(5_000, 0.002, _HARM, harm=5.0, robots=20),
}


@dataclass(frozen=True)
class Outcome:
    """How a plan ended: "tripped", "done" or "holds"."""

    end: str
    #: The index of the step in which it ended.
    step: int
    #: Days until the end, and those of all steps.
    days: float
    planned: float
    #: Users inside who had failed in the run of the trip, and in that of the ratio test.
    failed_inside: int = 0
    sprt_failed_inside: int = 0

    @property
    def is_late(self) -> bool:
        """Whether it was not done in its time."""
        return self.end == "holds" or (self.end == "done" and self.days > self.planned + 1e-9)


class _Visits(NamedTuple):
    """The visits of a day in the order of time: the user, the look after it, its requests."""

    user: Ints
    look: Ints
    requests: Ints


class _Site:
    """The users of a plan."""

    def __init__(self, source: np.random.Generator, scenario: Scenario) -> None:
        self.source, self.scenario = source, scenario
        self.users = scenario.users_a_day * _POOL
        #: Those below the percentage are inside.
        self.place = source.random(self.users)
        comes = np.resize(np.array(_COMES), self.users)
        self._comes = comes * scenario.users_a_day / comes.sum()
        share, times = scenario.broken
        self.errors = scenario.errors * np.where(source.random(self.users) < share, times, 1.0)

    def visits(self, inside: Bools) -> _Visits:
        source, scenario = self.source, self.scenario
        users = np.flatnonzero(source.random(self.users) < self._comes)
        looks = source.integers(0, LOOKS_A_DAY, len(users))
        requests = 1 + source.poisson(scenario.requests - 1, len(users))
        more = np.floor(requests * scenario.more_requests + source.random(len(users)))
        requests = np.where(inside[users], more, requests).astype(np.int64)
        order = np.argsort(looks, kind="stable")
        return _Visits(users[order], looks[order], requests[order])


class _Run:
    """The measuring of one step."""

    def __init__(self, site: _Site, index: int) -> None:
        self._site, self._source, self.index = site, site.source, index
        self.step = site.scenario.all_steps[index]
        self._inside = site.place < self.step.percent / 100
        self._seen, self._has_failed = np.zeros((2, site.users), bool)
        # The users who failed, as far as each worker knows.
        self._known = np.zeros((site.users, _WORKERS), bool)
        # The sketch of each side has the same error all the time.
        self.sketch = 1 + CARDINALITY_ERROR * site.source.standard_normal(2)
        self.counts = Counts(*np.zeros((4, 1, 2)))
        self.days = 0

    def pass_day(self) -> Rule:
        """Simulates a day, and returns what follows from all that was counted."""
        visits = self._site.visits(self._inside)
        day = self._count(visits, self._inside[visits.user].astype(np.int64))
        if not self.days:
            day.at_risk[LOOKS_A_DAY // 2, 1] += (
                _MOST_REQUESTS * _WORKERS * self._site.scenario.robots
            )
        sums = (
            np.concatenate([before, before[-1] + np.cumsum(today, axis=0)])
            for before, today in zip(self.counts, day, strict=True)
        )
        self.counts = Counts(*sums)
        self.days += 1
        return decide(self._site.scenario, self.index, self.counts, self.sketch)

    def _count(self, visits: _Visits, side: Ints) -> Counts:
        """Returns what is counted between two looks of a day."""
        errors = self._site.errors[visits.user] * self._harm(visits, side)
        # One row for each request.
        visit = np.repeat(np.arange(len(visits.user)), visits.requests)
        is_failing = self._source.random(len(visit)) < np.minimum(errors, _MOST_FAILING)[visit]
        is_at_risk = self._note_at_risk(visits.user[visit], is_failing)
        is_new = ~self._seen[visits.user]
        self._seen[visits.user] = True
        # A user comes once a day.
        failed = np.unique(visit[is_failing])
        failed = failed[~self._has_failed[visits.user[failed]]]
        self._has_failed[visits.user[failed]] = True
        cell = 2 * visits.look + side
        return Counts(
            _by_look(cell[is_new]),
            _by_look(cell[failed]),
            _by_look(cell[visit[is_at_risk]]),
            _by_look(cell[visit[is_at_risk & is_failing]]),
        )

    def _harm(self, visits: _Visits, side: Ints) -> Floats:
        scenario = self._site.scenario
        begins = scenario.harm_from * self.step.seconds / 86_400 * LOOKS_A_DAY
        is_harmed = self.days * LOOKS_A_DAY + visits.look >= begins
        is_harmed &= self.index == scenario.harm_step
        is_harmed |= self.index > scenario.harm_step
        return np.where((side == 1) & is_harmed, scenario.harm, 1.0)

    def _note_at_risk(self, user: Ints, is_failing: Bools) -> Bools:
        """Returns the requests of users who have not failed, as far as their worker knows."""
        worker = self._source.integers(0, _WORKERS, len(user))
        is_known: Bools = self._known[user, worker]
        pair = user * _WORKERS + worker
        rows = np.flatnonzero(is_failing)
        if not len(rows):
            return ~is_known
        pairs, first = np.unique(pair[rows], return_index=True)
        place = np.minimum(np.searchsorted(pairs, pair), len(pairs) - 1)
        is_after = (pairs[place] == pair) & (np.arange(len(pair)) > rows[first][place])
        self._known[user[rows], worker[rows]] = True
        at_risk: Bools = ~is_known & ~is_after
        return at_risk


def _by_look(cells: Ints) -> Floats:
    counted = np.bincount(cells, minlength=2 * LOOKS_A_DAY)
    return counted.reshape(LOOKS_A_DAY, 2).astype(np.float64)


def run_plan(scenario: Scenario, name: str, plan: int) -> Outcome:
    """Returns what a plan did. The same name and number give the same result.

    Raises RuntimeError if the judge of flagstaff decides otherwise.
    """
    site = _Site(generator(name, plan), scenario)
    steps = [step for step in scenario.all_steps if step.percent < ALL]
    planned, before, sprt = sum(step.seconds for step in steps) / 86_400, 0.0, 0
    for index, step in enumerate(steps):
        due = round(step.seconds / 86_400 * LOOKS_A_DAY)
        run, passed = _Run(site, index), 0
        while not passed:
            if run.days * 86_400 >= _LONGEST * step.seconds:
                return Outcome("holds", index, before + run.days, planned)
            first = run.days * LOOKS_A_DAY + 1
            rule = run.pass_day()
            trip, passed = _next(rule.trips, first), _next(rule.passes, max(first, due))
            for look in {trip, passed, len(rule.trips) - 1} - {0}:
                require_judged(scenario, index, run.counts, run.sketch, rule, look)
            sprt = sprt or sprt_trip(scenario, index, run.counts)
            if trip and (not passed or trip < passed):
                failed, days = int(run.counts.failed[trip, 1]), before + trip / LOOKS_A_DAY
                return Outcome("tripped", index, days, planned, failed, sprt or failed)
        before += passed / LOOKS_A_DAY
    return Outcome("done", len(steps), before, planned)


def _next(decisions: Bools, first: int) -> int:
    """Returns the first look from this one on that decides so, or 0."""
    looks = np.flatnonzero(decisions[first:])
    return first + int(looks[0]) if len(looks) else 0


def run(scale: float) -> tuple[str, list[str]]:
    """Runs all scenarios. Returns their figures as text, and what is wrong with them."""
    results = {}
    for name, scenario in SCENARIOS.items():
        plans = max(round(scenario.plans * scale), 1)
        results[name] = run_all(run_plan, [(scenario, name, plan) for plan in range(plans)])
    heads = ("plans", "tripped", "done", "holds", "late")
    lines = [f"{'':<40}{''.join(f'{head:>9}' for head in heads)}  users failed, SPRT"]
    lines += [_row(name, outcomes) for name, outcomes in results.items()]
    return "\n".join(lines), broken_bounds(results)


def broken_bounds(results: Mapping[str, Sequence[Outcome]]) -> list[str]:
    """Returns what is wrong with the outcomes by more than chance."""
    problems = []
    for name, outcomes in results.items():
        bounds, number = SCENARIOS[name].bounds, len(outcomes)
        tripped, done, late = _counts(outcomes)
        checks = {
            f"{tripped / number:.1%} tripped": is_above(tripped, number, bounds.most_trips),
            f"{done / number:.1%} done": is_below(done, number, bounds.least_done)
            or is_above(done, number, bounds.most_done),
            f"{late / number:.1%} late": is_above(late, number, bounds.most_late),
        }
        problems += [f"{name}: {text}" for text, is_broken in checks.items() if is_broken]
    return problems


def _counts(outcomes: Sequence[Outcome]) -> tuple[int, int, int]:
    """Returns how many tripped, were done, and were not done in their time."""
    ends = [outcome.end for outcome in outcomes]
    late = sum(outcome.is_late for outcome in outcomes)
    return ends.count("tripped"), ends.count("done"), late


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    tripped, done, late = _counts(outcomes)
    number = len(outcomes)
    shares = (tripped, done, number - tripped - done, late)
    trips = [outcome for outcome in outcomes if outcome.end == "tripped"]
    users = "-"
    if trips:
        failed = statistics.median(outcome.failed_inside for outcome in trips)
        sprt = statistics.median(outcome.sprt_failed_inside for outcome in trips)
        users = f"{failed:,.0f}, {sprt:,.0f}"
    return (
        f"{name:<40}{number:>9,}{''.join(f'{count / number:>9.1%}' for count in shares)}  {users}"
    )
