"""One simulated rollout plan, looked at every minute by the judge of `flagstaff.rollouts`."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flagstaff.rollouts.statistics import CARDINALITY_ERROR, share_error
from flagstaff.rollouts.steps_and_guards import Guard, GuardCounts, Step, StepEvidence, StepVerdict
from flagstaff.rollouts.verdict import judge
from tools.simulation.sampling import generator
from tools.simulation.users import ERROR, Site, Users
from tools.simulation.workers import Stored

__all__ = ["PERCENTS", "Course", "Estimates", "Result", "run_plan"]

#: The steps that are compared; at 100 % nobody is outside.
PERCENTS = (1, 5, 25, 50)

_GUARDS = (Guard("errors"), Guard("latency", seconds=0.5), Guard("latency", seconds=2.0))
_NUMBERS = (0, 2, 3)
_REQUIRED_USERS = 1000
# Below this part of them an estimate hardly ever reaches them.
_ROUGHLY = 0.92
# After so many minutes a person pauses and resumes the plan.
_MINUTES_TO_RESUME = 20
# Estimates of so few users are whole numbers.
_FEW = 200


@dataclass(frozen=True)
class Course:
    """What a plan meets: the site, the harm, and how long its steps take."""

    site: Site
    harm: float = 1.0
    dwell_minutes: int = 60
    #: So many minutes after which a person takes the next step; None for never.
    forced_after: int | None = 90
    #: A plan without an end is stopped here.
    minutes: int = 24 * 60
    #: The index of the first step.
    first: int = 0
    #: A worker is lost all the time.
    lost_workers: int = 0
    #: How often a person resumes each step, which starts it again; 20 minutes apart.
    restarts: int = 0


@dataclass
class Result:
    """What one plan did."""

    #: The guard that tripped.
    guard: str | None = None
    #: All users who failed inside until the trip or the end.
    failed_inside: int = 0
    looks: int = 0
    #: Steps that passed, those of them without data, and those that a person left.
    passes: int = 0
    blind_passes: int = 0
    forced: int = 0
    #: The percentage at the trip or the end.
    percent: int = 0


class Estimates:
    """Estimated numbers of users, as from a HyperLogLog whose registers change as it grows."""

    def __init__(self, source: np.random.Generator) -> None:
        self._source = source
        self._errors = [source.normal(), source.normal()]
        self._numbers = [0, 0]

    def of(self, numbers: list[int]) -> list[float]:
        """Returns the estimates outside and inside, with a relative error of 1.6 %."""
        return [self._estimate(side, number) for side, number in enumerate(numbers)]

    def _estimate(self, side: int, number: int) -> float:
        if not number:
            return 0.0
        # The part of the estimate that comes from earlier users keeps its error.
        kept = math.sqrt(self._numbers[side] / number)
        fresh = math.sqrt(max(1 - kept * kept, 0))
        self._errors[side] = kept * self._errors[side] + fresh * self._source.normal()
        self._numbers[side] = number
        estimate = number * (1 + CARDINALITY_ERROR * self._errors[side])
        return float(round(estimate)) if number < _FEW else estimate


class _Run:
    """The state of a plan between two looks."""

    def __init__(self, source: np.random.Generator, course: Course) -> None:
        self.source, self.course, self.result = source, course, Result()
        self.steps = [Step(percent, course.dwell_minutes * 60) for percent in (*PERCENTS, 100)]
        self.users = Users(source, course.site, course.harm)
        # Users who failed inside in steps before this one.
        self.earlier = 0
        self.began = self.index = self.restarts = self.number = 0
        self.begin(course.first, 0)

    def begin(self, index: int, at: int) -> None:
        """Starts a step, with new evidence."""
        self.index, self.began, self.restarts = index, at, self.course.restarts
        self.number = 0
        self._measure()

    def resume(self, at: int) -> None:
        """Starts the present step again."""
        self.began, self.restarts = at, self.restarts - 1
        self._measure()

    def _measure(self) -> None:
        self.number += 1
        self.earlier = self.result.failed_inside
        self.users.begin_step(PERCENTS[self.index])
        self.stored, self.estimates = Stored(self.source), Estimates(self.source)
        self.failed: set[int] = set()

    def look(self, at: int) -> StepVerdict:
        """Simulates a minute and judges."""
        minute = self.users.minute(at)
        self.stored.add(at, minute)
        self.failed |= {
            failure.user for failure in minute.failures if failure.inside and failure.kind & ERROR
        }
        self.result.failed_inside = self.earlier + len(self.failed)
        self.result.looks += 1
        evidence, users = self._evidence(), _REQUIRED_USERS
        verdict = judge(self.steps, self.index, _GUARDS, evidence, users, self.number)
        self.result.guard = verdict.trip
        return verdict

    def goes_on(self, at: int, verdict: StepVerdict) -> bool:
        """Returns whether the next step is due, and counts why."""
        minutes = at + 1 - self.began
        if minutes < self.course.dwell_minutes:
            return False
        if verdict.passed:
            self.result.passes += 1
            self.result.blind_passes += self._is_blind()
            return True
        forced = self.course.forced_after is not None and minutes >= self.course.forced_after
        self.result.forced += forced
        return forced

    def _is_blind(self) -> bool:
        """Returns whether there is too little to pass, by what is stored and not by estimates."""
        stored = self.stored
        compared = stored.users[1] > _REQUIRED_USERS * _ROUGHLY or all(
            outside or inside for outside, inside in stored.failed
        )
        complete = all((*stored.users, *stored.requests)) and not self.course.lost_workers
        return not (compared and complete)

    def _evidence(self) -> StepEvidence:
        outside, inside = self.estimates.of(self.stored.users)
        counts = {
            number: GuardCounts(len(failed[1]), len(failed[0]))
            for number, failed in zip(_NUMBERS, self.stored.failed, strict=True)
        }
        requests = (self.stored.requests[0], self.stored.requests[1])
        error = share_error(inside, outside)
        return StepEvidence(inside, outside, error, counts, requests, self.course.lost_workers)


def run_plan(name: str, number: int, course: Course) -> Result:
    """Returns what a plan did. The same name and number give the same result."""
    run = _Run(generator(name, number), course)
    for at in range(course.minutes):
        verdict = run.look(at)
        if verdict.trip is not None:
            break
        if run.restarts and at + 1 - run.began == _MINUTES_TO_RESUME:
            run.resume(at + 1)
        elif run.goes_on(at, verdict):
            if run.index + 1 == len(PERCENTS):
                break
            run.begin(run.index + 1, at + 1)
    run.result.percent = PERCENTS[run.index]
    return run.result
