"""What the evidence of a step means: trip, pass or hold. Pure, and nothing here blocks or queries.

The formulas are in `statistics`. Callable guards are not judged here: the driver calls them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from flagstaff._words.text import Text
from flagstaff.rollouts import statistics
from flagstaff.rollouts.alpha import BRAKE_PERCENT, PLAN_ALPHA, RunAlpha, brake_alpha, guard_alpha
from flagstaff.rollouts.guards import ERROR_NUMBER, Guard, guard_name, numbered
from flagstaff.rollouts.results import (
    BRAKE,
    Action,
    GuardCounts,
    GuardResult,
    StepEvidence,
    StepVerdict,
)
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.verdict_text import (
    brake_text,
    hold_text,
    missing_data,
    pass_text,
    trip_text,
)

__all__ = ["BRAKE", "Action", "GuardCounts", "GuardResult", "StepEvidence", "StepVerdict", "judge"]

_ALL = 100
# The standard errors by which theta is moved to the safe side.
_STANDARD_ERRORS = 2
# No run is given less, but SQL may have written it.
_LEAST_ALPHA = 1e-300


def judge(  # noqa: PLR0913, PLR0917 (the plan, its step and what was counted)
    steps: Sequence[Step],
    step_index: int,
    guards: Sequence[Guard],
    evidence: StepEvidence,
    required_users: int,
    alpha: RunAlpha | None = None,
) -> StepVerdict:
    """Returns the verdict on a step. Correct at any time, and however often it is called.

    All runs and guards of the plan share 5 % of false trips. `alpha` is the part of the run;
    without it, that of a step that begins once. A guard trips at an e-value of 1/alpha. It passes
    if the 95 % upper bound of the ratio is below its limit, or at `required_users` users inside if
    its e-value is below 20. Theta, the share of users inside, is raised by two standard errors for
    trips and lowered by two for the bound. Where networks are known, a guard trips only if it does
    so without two of the failing users inside. At 100 % no user is outside, and the step passes.
    Raises IndexError for an unknown step, and ValueError for negative counts.

        >>> evidence = StepEvidence(200, 19_800, 0.02, {0: GuardCounts(41, 210)}, (60_000, 600))
        >>> judge([Step(1, 3600)], 0, [Guard("errors")], evidence, 1000).why
        'errors: 41 of 200 users with the flag failed, 210 of 19,800 without it; 19 times as often'
    """
    step = steps[step_index]
    if step.percent >= _ALL:
        return StepVerdict(
            None, None, passed=True, why=Text("at 100 % only function guards watch the step")
        )
    theta = _theta(evidence)
    per_guard, of_brake = guard_alpha(steps, guards), brake_alpha(steps)
    if alpha is not None:
        per_guard, of_brake = alpha.guards / max(len(numbered(guards)), 1), alpha.brake
    threshold = 1 / max(per_guard, _LEAST_ALPHA)
    results = tuple(
        _result(guard, number, evidence, theta, threshold) for number, guard in numbered(guards)
    )
    if evidence.users_inside >= required_users:
        results = tuple(_with_enough_users(result, theta) for result in results)
    brake = None
    if step.percent <= BRAKE_PERCENT and of_brake:
        brake = statistics.brake_threshold(theta.high, of_brake)
        brake = None if brake is None else brake + evidence.spare
    trip = _brake_trip(evidence, brake) or _guard_trip(guards, results, evidence)
    verdict = trip or _no_trip(results, evidence, required_users)
    return replace(verdict, guards=results, brake=brake)


class _Theta(NamedTuple):
    """The share of users inside: as measured, lowered and raised."""

    share: float
    low: float
    high: float


def _theta(evidence: StepEvidence) -> _Theta:
    if evidence.users_inside <= 0 or evidence.users_outside <= 0:
        # No evidence of anything.
        return _Theta(0.0, 0.0, 1.0)
    share = evidence.users_inside / (evidence.users_inside + evidence.users_outside)
    margin = _STANDARD_ERRORS * evidence.theta_error
    return _Theta(share, max(share * (1 - margin), 0.0), min(share * (1 + margin), 1.0))


def _result(
    guard: Guard, number: int, evidence: StepEvidence, theta: _Theta, threshold: float
) -> GuardResult:
    """Returns the figures of a guard. It passes by its bound; by users, see below."""
    failed = evidence.failed.get(number, GuardCounts())
    inside = max(failed.inside - evidence.spare, 0)
    e_value = statistics.e_value(inside, failed.outside, theta.high, guard.tolerated)
    upper = statistics.upper_bound(failed.inside, failed.outside, theta.low, PLAN_ALPHA)
    return GuardResult(
        number=number,
        name=guard_name(guard),
        failed=failed,
        ratio=statistics.ratio(failed.inside, failed.outside, theta.share),
        e_value=e_value,
        threshold=threshold,
        upper=upper,
        limit=guard.limit,
        tripped=e_value >= threshold,
        passed=e_value < threshold and upper < guard.limit,
        tolerated=guard.tolerated,
    )


def _with_enough_users(result: GuardResult, theta: _Theta) -> GuardResult:
    if result.tripped or result.passed:
        return result
    # What a single look would call harm must not pass as fine, also if it could be two networks.
    failed = result.failed
    e_value = statistics.e_value(failed.inside, failed.outside, theta.high, result.tolerated)
    if e_value >= 1 / PLAN_ALPHA:
        return result
    harm = statistics.smallest_ratio(
        result.failed.outside, theta.high, result.threshold, result.tolerated
    )
    return replace(result, passed=True, smallest_harm=harm)


def _brake_trip(evidence: StepEvidence, brake: int | None) -> StepVerdict | None:
    errors = evidence.failed.get(ERROR_NUMBER, GuardCounts())
    if brake is None or errors.outside or errors.inside < brake:
        return None
    return StepVerdict(BRAKE, "rollback", passed=False, why=brake_text(errors, evidence))


def _guard_trip(
    guards: Sequence[Guard], results: Sequence[GuardResult], evidence: StepEvidence
) -> StepVerdict | None:
    pairs = zip([guard for _, guard in numbered(guards)], results, strict=True)
    tripped = [(guard, result) for guard, result in pairs if result.tripped]
    if not tripped:
        return None
    # A rollback before a hold.
    guard, result = min(tripped, key=lambda pair: pair[0].action != "rollback")
    why = trip_text(guard, result, evidence)
    return StepVerdict(result.name, cast("Action", guard.action), passed=False, why=why)


def _no_trip(
    results: Sequence[GuardResult], evidence: StepEvidence, required_users: int
) -> StepVerdict:
    if missing := missing_data(evidence):
        return StepVerdict(None, None, passed=False, why=missing)
    if not all(result.passed for result in results):
        return StepVerdict(
            None, None, passed=False, why=hold_text(results, evidence, required_users)
        )
    harms = [result.smallest_harm for result in results if result.upper >= result.limit]
    known = [one for one in harms if one is not None]
    harm = max(known) if known and len(known) == len(harms) else None
    return StepVerdict(
        None, None, passed=True, why=pass_text(results, evidence), smallest_harm=harm
    )
