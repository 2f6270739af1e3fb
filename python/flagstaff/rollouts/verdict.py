"""What the evidence of a step means: trip, pass or hold. Pure, and nothing here blocks or queries.

The formulas are in `statistics`. Callable guards are not judged here: the driver calls them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, cast

from flagstaff._words.text import Text, marked
from flagstaff.rollouts import statistics
from flagstaff.rollouts.alpha import PLAN_ALPHA, alpha_of_run
from flagstaff.rollouts.guards import ERROR_NUMBER, Guard, guard_name, numbered
from flagstaff.rollouts.results import (
    BRAKE,
    Action,
    GuardCounts,
    GuardResult,
    StepEvidence,
    StepVerdict,
)
from flagstaff.rollouts.steps import ALL, Step

# The standard errors by which theta is moved to the safe side.
_STANDARD_ERRORS = 2
# The ratios that are shown without decimals.
_EXACT = 10


def judge(  # noqa: PLR0913, PLR0917 (the plan, its step and what was counted)
    steps: Sequence[Step],
    step_index: int,
    guards: Sequence[Guard],
    evidence: StepEvidence,
    required_users: int,
    number: int = 1,
) -> StepVerdict:
    """Returns the verdict on a step. Correct at any time, and however often it is called.

    All runs and guards of the plan share 5 % of false trips; `number` is that of the run in its
    step, from 1. A guard trips at an e-value of 1/alpha, where alpha is its part. It passes if the
    95 % upper bound of the ratio is below its limit, or at `required_users` users inside if its
    e-value is below 20. Theta, the share of users inside, is raised by two standard errors for
    trips and lowered by two for the bound. Where networks are known, a guard trips only if it does
    so without two of the failing users inside. At 100 % no user is outside, and the step passes.

        >>> evidence = StepEvidence(200, 19_800, 0.02, {0: GuardCounts(41, 210)}, (60_000, 600))
        >>> judge([Step(1, 3600)], 0, [Guard("errors")], evidence, 1000).why
        'errors: 41 of 200 users with the flag failed, 210 of 19,800 without it; 19 times as often'
    """
    if steps[step_index].percent >= ALL:
        why = Text("at 100 % only function guards watch the step")
        return StepVerdict(evidence, None, None, passed=True, why=why)
    theta = _theta(evidence)
    alpha = alpha_of_run(steps, step_index, guards, number)
    results = tuple(
        _result(guard, place, evidence, theta, 1 / alpha.guard) for place, guard in numbered(guards)
    )
    if evidence.users_inside >= required_users:
        results = tuple(_with_enough_users(result, theta) for result in results)
    brake = None
    if alpha.brake:
        brake = statistics.brake_threshold(theta.high, alpha.brake)
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
    e_value = statistics.e_value(inside, failed.outside, theta.high)
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
    )


def _with_enough_users(result: GuardResult, theta: _Theta) -> GuardResult:
    if result.tripped or result.passed:
        return result
    # What a single look would call harm must not pass as fine, also if it could be two networks.
    failed = result.failed
    e_value = statistics.e_value(failed.inside, failed.outside, theta.high)
    if e_value >= 1 / PLAN_ALPHA:
        return result
    harm = statistics.smallest_ratio(failed.outside, theta.high, result.threshold)
    return replace(result, passed=True, smallest_harm=harm)


def _brake_trip(evidence: StepEvidence, brake: int | None) -> StepVerdict | None:
    errors = evidence.failed.get(ERROR_NUMBER, GuardCounts())
    if brake is None or errors.outside or errors.inside < brake:
        return None
    why = _counts_text(None, errors, evidence)
    return StepVerdict(evidence, BRAKE, "rollback", passed=False, why=why)


def _guard_trip(
    guards: Sequence[Guard], results: Sequence[GuardResult], evidence: StepEvidence
) -> StepVerdict | None:
    pairs = zip([guard for _, guard in numbered(guards)], results, strict=True)
    tripped = [(guard, result) for guard, result in pairs if result.tripped]
    if not tripped:
        return None
    # A rollback before a hold.
    guard, result = min(tripped, key=lambda pair: pair[0].action != "rollback")
    why = _counts_text(result, result.failed, evidence)
    action = cast("Action", guard.action)
    return StepVerdict(evidence, result.name, action, passed=False, why=why)


def _no_trip(
    results: Sequence[GuardResult], evidence: StepEvidence, required_users: int
) -> StepVerdict:
    if missing := _missing_data(evidence):
        return StepVerdict(evidence, None, None, passed=False, why=missing)
    if not all(result.passed for result in results):
        why = _hold_text(results, evidence, required_users)
        return StepVerdict(evidence, None, None, passed=False, why=why)
    why = _pass_text(results, evidence)
    return StepVerdict(evidence, None, None, passed=True, why=why)


def _counts_text(result: GuardResult | None, failed: GuardCounts, evidence: StepEvidence) -> Text:
    """Returns what a tripped guard has counted: users, the ratio of both sides, new visitors."""
    message = Text(
        "{guard}: {inside} of {users_inside} users with the flag failed, {outside} of "
        "{users_outside} without it",
        guard=Text("errors") if result is None else result.name,
        inside=failed.inside,
        users_inside=round(evidence.users_inside),
        outside=failed.outside,
        users_outside=round(evidence.users_outside),
    )
    if result is not None and result.ratio is not None and math.isfinite(result.ratio):
        ratio = times(result.ratio)
        message = Text("{what}; {ratio} times as often", what=message, ratio=ratio)
    if failed.visitors:
        # Somebody who draws new cookies can fail as many visitors.
        message = Text(
            "{what}; {new} of {visitors} failing visitors with the flag have a cookie that is "
            "younger than the step",
            what=message,
            new=failed.new_visitors,
            visitors=failed.visitors,
        )
    return message


def _missing_data(evidence: StepEvidence) -> Text | None:
    """Returns which data a step waits for; None if all is there."""
    requests_outside, requests_inside = evidence.requests
    if evidence.users_inside <= 0 or requests_inside <= 0:
        return Text("waits for data: no request or task of a user with the flag has ended yet")
    if evidence.users_outside <= 0 or requests_outside <= 0:
        return Text("waits for data: no request or task of a user without the flag has ended yet")
    if evidence.lost_workers:
        return Text(
            "waits for data: workers that stopped without their last report: {count}; after ten "
            "minutes the step starts again",
            count=evidence.lost_workers,
        )
    if not evidence.has_workers:
        return Text("waits for the workers' report: no worker that counts for the plan is running")
    if evidence.dropped:
        return Text(
            "waits for data: failures that workers had no memory for: {count}; the step starts "
            "again when its dwell time has ended",
            count=evidence.dropped,
        )
    return _left_out(evidence)


def _left_out(evidence: StepEvidence) -> Text | None:
    """Returns that more than half of the users, or of the failing ones, were left out."""
    numbers = [(evidence.left_out, evidence.users_inside + evidence.users_outside)]
    numbers += [
        (failing.left_out, failing.inside + failing.outside) for failing in evidence.failed.values()
    ]
    for left_out, counted in numbers:
        if left_out > counted:
            return Text(
                "waits for data: {left_out} of {users} users were left out, because others of "
                "their networks came first; check CLIENT_ADDRESS, or set the rollout by hand",
                left_out=round(left_out),
                users=round(left_out + counted),
            )
    return None


def _hold_text(results: Sequence[GuardResult], evidence: StepEvidence, required_users: int) -> Text:
    """Returns which guard does not pass yet, and why: too few users, or signs of harm."""
    worst = max(
        (result for result in results if not result.passed), key=lambda result: result.upper
    )
    if evidence.users_inside >= required_users:
        return Text(
            "signs of harm, not certain yet: {what}; find the cause, or set the rollout by hand",
            what=_counts_text(worst, worst.failed, evidence),
        )
    waits = Text(
        "waits for users: {seen} of {required} users with the flag seen",
        seen=round(evidence.users_inside),
        required=required_users,
    )
    if math.isinf(worst.upper):
        return Text("{waits}, too few failures to compare {guard}", waits=waits, guard=worst.name)
    return Text(
        "{waits}, {guard} may be up to {ratio} times as often",
        waits=waits,
        guard=worst.name,
        ratio=times(worst.upper),
    )


def _pass_text(results: Sequence[GuardResult], evidence: StepEvidence) -> Text:
    """Returns why all guards pass, and the harm that could not have been seen."""
    fine = Text("fine after {users} users with the flag", users=round(evidence.users_inside))
    if not results:
        return Text("{fine}: no guard compares errors", fine=fine)
    vague = [result for result in results if result.upper >= result.limit]
    if not vague:
        worst = max(results, key=lambda result: result.upper)
        template, ratio = marked("{fine}: {guard} at most {ratio} times as often"), worst.upper
    elif unseen := next((result for result in vague if result.smallest_harm is None), None):
        return Text(
            "{fine}: {guard} with too few failures to compare", fine=fine, guard=unseen.name
        )
    else:
        worst = max(vague, key=lambda result: result.smallest_harm or 0.0)
        template = marked("{fine}: {guard} would have tripped at {ratio} times as often")
        ratio = worst.smallest_harm or 0.0
    return Text(template, fine=fine, guard=worst.name, ratio=times(ratio))


def times(ratio: float) -> float:
    """Returns a ratio as messages show it: with two significant digits.

    >>> times(3.74), times(41.2), times(412), times(0.154)
    (3.7, 41, 410, 0.15)
    """
    if not ratio or math.isinf(ratio):
        return ratio or 0
    rounded = round(ratio, 1 - math.floor(math.log10(abs(ratio))))
    return int(rounded) if rounded >= _EXACT else rounded
