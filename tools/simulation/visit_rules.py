"""What plans of visits are like, and the rules of `flagstaff.rollouts.verdict` for them.

The rules are computed at all looks of a run, with arrays. `require_judged` compares them with the
judge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from flagstaff.rollouts.statistics import (
    CARDINALITY_ERROR,
    RATIOS,
    alpha_of_run,
    share_error,
    weight_of,
)
from flagstaff.rollouts.steps_and_guards import (
    Guard,
    GuardCounts,
    Step,
    StepEvidence,
    Tenth,
    defaults_for,
)
from flagstaff.rollouts.verdict import REQUESTS, USERS, judge

__all__ = [
    "LOOKS_A_DAY",
    "Bools",
    "Bounds",
    "Counts",
    "Floats",
    "Ints",
    "Rule",
    "Scenario",
    "decide",
    "require_judged",
    "sprt_trip",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

LOOKS_A_DAY = 144
_GUARD = Guard("errors")
_LIMIT = _GUARD.limit
_SIGNS = math.log(20)
_RATIOS = np.array(RATIOS)
_MANY_FAILED = 0.2
# The bounds of the judge are too large by 0.1 % at most.
_PRECISION = 0.002
# Divides by nothing.
_TINY = 1e-9
_LARGEST_LOG = 600


class Bounds(NamedTuple):
    """The shares of plans that a scenario must keep."""

    most_trips: float = 1.0
    least_done: float = 0.0
    most_done: float = 1.0
    #: Those that were not done in their time.
    most_late: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """Plans of one kind."""

    users_a_day: int
    #: The share of the requests that fail.
    errors: float
    bounds: Bounds
    plans: int = 200
    #: How many times as many of those inside fail, from a part of the time of a step on.
    harm: float = 1.0
    harm_step: int = 0
    harm_from: float = 0.0
    #: The requests of a visit, and how many times as many users inside make.
    requests: int = 10
    more_requests: float = 1.0
    compare: str = ""
    #: Defaults to those of the number of users.
    steps: tuple[Step, ...] = ()
    #: A share of users whose requests fail so many times as often.
    broken: tuple[float, float] = (0.0, 1.0)
    #: Robots inside, each of which makes as many requests as count.
    robots: int = 0

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps of its plans."""
        return self.steps or defaults_for(self.users_a_day).steps


class Counts(NamedTuple):
    """What was counted until each look, or between two of them: outside and inside."""

    users: Floats
    failed: Floats
    at_risk: Floats
    failed_at_risk: Floats


class Rule(NamedTuple):
    """Whether a run trips, and passes, at each look."""

    trips: Bools
    passes: Bools


class _Compared(NamedTuple):
    """The logarithms of the e-values by tenth, and whether the comparison passes."""

    logs: list[Floats]
    passes: Bools


def decide(scenario: Scenario, index: int, counts: Counts, sketch: Floats) -> Rule:
    """Returns whether a run trips, and passes, at each look.

    `sketch` is what the estimated numbers of users are multiplied by, outside and inside.
    """
    alpha = alpha_of_run(scenario.all_steps, index, [_GUARD], 1)
    users, starts = counts.users * sketch, _starts(scenario, index, len(counts.users))
    theta, at_risk = _inside(users), _inside(counts.at_risk)
    margin = 2 * CARDINALITY_ERROR * math.sqrt(2) * (1 - theta)
    low, high = theta * (1 - margin), np.minimum(theta * (1 + margin), 1)
    has_enough = users[:, 1] >= defaults_for(scenario.users_a_day).required_users
    share = counts.failed[:, 0] / np.maximum(users[:, 0], _TINY)
    is_vague = share > _MANY_FAILED
    visible = (1 - (1 - np.minimum(share, 1)) ** _LIMIT) / np.maximum(share, _TINY)
    more = np.maximum(_odds(at_risk) / np.maximum(_odds(theta), _TINY), _TINY)
    explained = np.maximum(np.minimum(more, _LIMIT / more), 1)
    if scenario.compare:
        explained[:] = 1
    odds = high * explained
    by_users = _Compared(
        [_log_e(_since(counts.failed, start), high) for start in starts],
        _is_below(counts.failed, low, np.where(is_vague, visible, _LIMIT))
        | (has_enough & ~is_vague & (_log_e(counts.failed, odds / (odds + 1 - high)) < _SIGNS)),
    )
    by_requests = _by_requests(counts, starts, at_risk, has_enough)
    deciding = {
        "": [(~is_vague, by_users), (np.ones_like(is_vague), by_requests)],
        USERS: [(np.ones_like(is_vague), by_users)],
        REQUESTS: [(np.ones_like(is_vague), by_requests)],
    }[scenario.compare]
    ratio = _odds(_inside(counts.failed)) / np.maximum(_odds(theta), _TINY)
    is_contradicted = is_vague & (ratio < (1 + visible) / 2) & (not scenario.compare)
    evidence = np.min(
        [np.where(decides, _mixture(compared.logs), np.inf) for decides, compared in deciding],
        axis=0,
    )
    trips = (evidence >= 1 / alpha.guard) & ~is_contradicted
    if alpha.brake:
        trips |= _brake(counts, np.maximum(high, at_risk), alpha.brake)
    signs = np.min(
        [np.where(decides, compared.logs, np.inf) for decides, compared in deciding], axis=0
    ).max(axis=0)
    passes = (signs < _SIGNS) & (counts.users > 0).all(axis=1) & ~trips
    for decides, compared in deciding:
        passes &= compared.passes | ~decides
    return Rule(trips, passes)


def _by_requests(
    counts: Counts, starts: Sequence[int], at_risk: Floats, has_enough: Bools
) -> _Compared:
    users, failed = counts.failed.sum(axis=1), counts.failed_at_risk
    each = np.maximum(failed.sum(axis=1) / np.maximum(users, 1), 1)[:, np.newaxis]
    logs = [
        _log_e(_since(failed, start) / each, _inside(_since(counts.at_risk, start)))
        for start in starts
    ]
    return _Compared(
        logs, _is_below(failed / each, at_risk, _LIMIT) | (has_enough & (logs[0] < _SIGNS))
    )


def _brake(counts: Counts, theta: Floats, alpha: float) -> Bools:
    theta = np.clip(theta, _TINY, 1 - _TINY)
    least = np.maximum(np.ceil(math.log(alpha) / np.log(theta) - 1e-9), 1)
    outside, inside = counts.failed.T
    is_broken: Bools = (outside == 0) & (inside >= least)
    return is_broken


def sprt_trip(scenario: Scenario, index: int, counts: Counts) -> int:
    """Returns the failing users inside where a test trips that knows the harm, or 0."""
    theta = scenario.all_steps[index].percent / 100
    outside, inside = counts.failed.T
    log = inside * math.log(scenario.harm) - (inside + outside) * math.log1p(
        theta * (scenario.harm - 1)
    )
    alpha = alpha_of_run(scenario.all_steps, index, [_GUARD], 1).guard
    trips = np.flatnonzero(log >= -math.log(alpha))
    return int(inside[trips[0]]) if len(trips) else 0


def require_judged(  # noqa: PLR0913, PLR0917 (the plan, what was counted, and what was decided)
    scenario: Scenario, index: int, counts: Counts, sketch: Floats, rule: Rule, look: int
) -> None:
    """Raises RuntimeError if the judge decides otherwise at a look."""
    outside, inside = (counts.users[look] * sketch).tolist()
    evidence = StepEvidence(
        inside,
        outside,
        share_error(inside, outside),
        {0: _guard_counts(scenario, index, counts, look)},
        # Only whether there are any.
        (int(counts.users[look, 0]), int(counts.users[look, 1])),
    )
    required = defaults_for(scenario.users_a_day).required_users
    judgement = judge(
        scenario.all_steps, index, [_GUARD], evidence, required, 1, compare=scenario.compare
    )
    bounds = [comparison.upper for comparison in judgement.guards[0].comparisons]
    is_exact = all(abs(bound / _LIMIT - 1) > _PRECISION for bound in bounds)
    decided = bool(rule.trips[look]), bool(rule.passes[look])
    if is_exact and decided != (judgement.trip is not None, judgement.passed):
        raise RuntimeError(f"step {index}, look {look}: {decided}, but the judge: {judgement}")


def _guard_counts(scenario: Scenario, index: int, counts: Counts, look: int) -> GuardCounts:
    ends = [start for start in _starts(scenario, index, look + 1) if start < look]
    tenths = {
        number: Tenth(
            *(
                (int(outside), int(inside))
                for outside, inside in (counted[end] - counted[start] for counted in counts[1:])
            )
        )
        for number, (start, end) in enumerate(pairwise([*ends, look]))
    }
    outside, inside = counts.failed[look]
    return GuardCounts(int(inside), int(outside), tenths=tenths)


def _starts(scenario: Scenario, index: int, looks: int) -> list[int]:
    """Returns the looks at which the tenths begin that have begun before the last look."""
    tenth = scenario.all_steps[index].seconds / 86_400 * LOOKS_A_DAY / 10
    return [round(tenth * number) for number in range(int((looks - 2) / tenth) + 1)]


def _since(counted: Floats, start: int) -> Floats:
    """Returns what was counted since a look; nothing before it."""
    since: Floats = np.maximum(counted - counted[start], 0)
    return since


def _odds(share: Floats) -> Floats:
    return share / np.maximum(1 - share, _TINY)


def _inside(sides: Floats) -> Floats:
    inside: Floats = sides[:, 1] / np.maximum(sides.sum(axis=1), _TINY)
    return inside


def _log_e(failed: Floats, theta: Floats) -> Floats:
    """Returns `statistics.log_e_value` of each row."""
    (outside, inside), is_known = failed.T, (theta > 0) & (theta < 1)
    growth = np.log1p(np.where(is_known, theta, 0.5)[:, np.newaxis] * (_RATIOS - 1))
    terms = inside[:, np.newaxis] * np.log(_RATIOS) - (inside + outside)[:, np.newaxis] * growth
    return np.where(is_known, _log_mean(terms), 0.0)


def _is_below(failed: Floats, theta: Floats, limit: float | Floats) -> Bools:
    """Returns whether `statistics.upper_bound` of each row is below the limit."""
    (outside, inside), is_known = failed.T, (theta > 0) & (theta < 1)
    theta = np.where(is_known, theta, 0.5)
    scale = limit / (limit + (1 - theta) / theta)
    growth = np.log1p(scale[:, np.newaxis] * (1 / _RATIOS - 1))
    terms = -inside[:, np.newaxis] * np.log(_RATIOS) - (inside + outside)[:, np.newaxis] * growth
    is_below: Bools = is_known & (_log_mean(terms) >= _SIGNS)
    return is_below


def _log_mean(terms: Floats) -> Floats:
    largest = terms.max(axis=1)
    means: Floats = largest + np.log(np.exp(terms - largest[:, np.newaxis]).mean(axis=1))
    return means


def _mixture(logs: Sequence[Floats]) -> Floats:
    weights = [weight_of(tenth) for tenth in range(len(logs))]
    parts = [
        weight * np.exp(np.minimum(log, _LARGEST_LOG))
        for weight, log in zip(weights, logs, strict=True)
    ]
    mixture: Floats = np.sum(parts, axis=0) + 1 - sum(weights)
    return mixture
