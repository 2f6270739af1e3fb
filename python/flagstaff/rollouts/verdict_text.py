"""The messages of a verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flagstaff._words.message import Message
from flagstaff.rollouts import messages
from flagstaff.rollouts.guards import LATENCY, Guard
from flagstaff.rollouts.results import GuardCounts, GuardResult, StepEvidence

_EXACT = 10
_ALL = 100


def trip_text(guard: Guard, result: GuardResult, evidence: StepEvidence) -> Message:
    """Returns what a tripped guard has counted: users, and the ratio of both sides."""
    plain, with_ratio = (
        (messages.SLOWER, messages.SLOWER_TIMES)
        if guard.kind == LATENCY
        else (messages.FAILED, messages.FAILED_TIMES)
    )
    counts = _counts(result, evidence)
    if result.ratio is not None and math.isfinite(result.ratio):
        message = with_ratio(**counts, ratio=times(result.ratio))
    else:
        message = plain(**counts)
    return _with_new_visitors(message, result.failed)


def brake_text(errors: GuardCounts, evidence: StepEvidence) -> Message:
    """Returns what the brake has counted."""
    message = messages.BRAKE(
        inside=errors.inside,
        users_inside=round(evidence.users_inside),
        users=round(evidence.users_outside),
    )
    return _with_new_visitors(message, errors)


def _with_new_visitors(message: Message, failed: GuardCounts) -> Message:
    """Adds how many of the failing visitors inside got their cookie within the step."""
    if not failed.visitors:
        return message
    return messages.NEW_VISITORS(what=message, new=failed.new_visitors, visitors=failed.visitors)


def missing_data(evidence: StepEvidence) -> Message | None:
    """Returns which data a step waits for; None if all is there."""
    missing = _missing_counts(evidence) or _left_out(evidence)
    return None if missing is None else messages.WAITS_FOR_DATA(what=missing)


def _missing_counts(evidence: StepEvidence) -> Message | None:
    outside, inside = evidence.requests
    lost, dropped = evidence.lost_workers, evidence.dropped
    for is_missing, message in (
        (evidence.users_inside <= 0, messages.NO_USER_INSIDE()),
        (evidence.users_outside <= 0, messages.NO_USER_OUTSIDE()),
        (inside <= 0, messages.NO_REQUEST_INSIDE()),
        (outside <= 0, messages.NO_REQUEST_OUTSIDE()),
        (lost == 1, messages.WORKER_LOST()),
        (lost > 0, messages.WORKERS_LOST(count=lost)),
        (dropped == 1, messages.FAILURE_DROPPED()),
        (dropped > 0, messages.FAILURES_DROPPED(count=dropped)),
    ):
        if is_missing:
            return message
    return None


def _left_out(evidence: StepEvidence) -> Message | None:
    """Returns that more than half of the users were left out; None if not."""
    counted = evidence.users_inside + evidence.users_outside
    numbers = [(messages.USERS_LEFT_OUT, evidence.left_out, counted)]
    numbers += [
        (messages.FAILING_USERS_LEFT_OUT, failed.left_out, failed.inside + failed.outside)
        for failed in evidence.failed.values()
    ]
    for template, left_out, counts in numbers:
        if left_out > counts:
            return template(left_out=round(left_out), users=round(left_out + counts))
    return None


def hold_text(
    results: Sequence[GuardResult], evidence: StepEvidence, required_users: int
) -> Message:
    """Returns which guard does not pass yet, and why: too few users, or signs of harm."""
    worst = max((result for result in results if not result.passed), key=_upper)
    if evidence.users_inside >= required_users:
        return messages.SIGNS_OF_HARM(**_counts(worst, evidence))
    seen = round(evidence.users_inside)
    if math.isinf(worst.upper):
        return messages.WAITS_FOR_FAILURES(seen=seen, required=required_users, guard=worst.name)
    return messages.WAITS_FOR_USERS(
        seen=seen, required=required_users, guard=worst.name, ratio=times(worst.upper)
    )


def pass_text(results: Sequence[GuardResult], evidence: StepEvidence) -> Message:
    """Returns why all guards pass, and the harm that could not have been seen."""
    users = round(evidence.users_inside)
    if not results:
        return messages.FINE_WITHOUT_GUARDS(users=users)
    vague = [result for result in results if result.upper >= result.limit]
    if not vague:
        worst = max(results, key=_upper)
        return messages.FINE(users=users, guard=worst.name, ratio=times(worst.upper))
    unseen = next((result for result in vague if result.smallest_harm is None), None)
    if unseen:
        return messages.FINE_WITHOUT_FAILURES(users=users, guard=unseen.name)
    worst = max(vague, key=lambda result: result.smallest_harm or 0.0)
    harm = times(worst.smallest_harm or 0.0)
    return messages.FINE_BY_USERS(users=users, guard=worst.name, ratio=harm)


def times(ratio: float) -> float:
    """Returns a ratio as messages show it: with two significant digits.

    >>> times(3.74), times(41.2), times(412), times(0.154)
    (3.7, 41, 410, 0.15)
    """
    if not ratio or math.isinf(ratio):
        return ratio or 0
    rounded = round(ratio, 1 - math.floor(math.log10(abs(ratio))))
    return int(rounded) if rounded >= _EXACT else rounded


def percent(part: float, whole: float) -> float:
    """Returns a share in percent with two significant digits: 0 and 100 only if it is exactly so.

    Of a share near 100 %, the digits are those of the rest. `whole` is above 0.

    >>> percent(599, 1000), percent(1, 3000), percent(2999, 3000), percent(3, 3)
    (60, 0.033, 99.967, 100)
    """
    share = min(_ALL * part / whole, _ALL)
    rounded = times(share)
    if rounded < _ALL or share == _ALL:
        return rounded
    return round(_ALL - times(_ALL - share), 10)


def _counts(result: GuardResult, evidence: StepEvidence) -> dict[str, str | int]:
    return {
        "guard": result.name,
        "inside": result.failed.inside,
        "users_inside": round(evidence.users_inside),
        "outside": result.failed.outside,
        "users_outside": round(evidence.users_outside),
    }


def _upper(result: GuardResult) -> float:
    return result.upper
