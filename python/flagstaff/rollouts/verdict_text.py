"""The messages of a verdict. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flagstaff._words.text import Text, marked
from flagstaff.rollouts.guards import LATENCY, Guard
from flagstaff.rollouts.results import GuardCounts, GuardResult, StepEvidence

_FAILED = marked(
    "{guard}: {inside} of {users_inside} users with the flag failed, {outside} of {users_outside} "
    "without it"
)
_FAILED_TIMES = marked(
    "{guard}: {inside} of {users_inside} users with the flag failed, {outside} of {users_outside} "
    "without it; {ratio} times as often"
)
_SLOWER = marked(
    "{guard}: {inside} of {users_inside} users with the flag were slower, {outside} of "
    "{users_outside} without it"
)
_SLOWER_TIMES = marked(
    "{guard}: {inside} of {users_inside} users with the flag were slower, {outside} of "
    "{users_outside} without it; {ratio} times as often"
)
_USERS_LEFT_OUT = marked(
    "{left_out} of {users} users were left out, because others of their networks came first; "
    "check CLIENT_ADDRESS, or set the rollout by hand"
)
_FAILING_USERS_LEFT_OUT = marked(
    "{left_out} of {users} failing users were left out, because others of their networks came "
    "first; check CLIENT_ADDRESS, or set the rollout by hand"
)

_EXACT = 10
_ALL = 100


def trip_text(guard: Guard, result: GuardResult, evidence: StepEvidence) -> Text:
    """Returns what a tripped guard has counted: users, and the ratio of both sides."""
    plain, with_ratio = (
        (_SLOWER, _SLOWER_TIMES) if guard.kind == LATENCY else (_FAILED, _FAILED_TIMES)
    )
    counts = _counts(result, evidence)
    if result.ratio is not None and math.isfinite(result.ratio):
        message = Text(with_ratio, **counts, ratio=times(result.ratio))
    else:
        message = Text(plain, **counts)
    return _with_new_visitors(message, result.failed)


def brake_text(errors: GuardCounts, evidence: StepEvidence) -> Text:
    """Returns what the brake has counted."""
    message = Text(
        "{inside} of {users_inside} users with the flag failed, none of {users} without it",
        inside=errors.inside,
        users_inside=round(evidence.users_inside),
        users=round(evidence.users_outside),
    )
    return _with_new_visitors(message, errors)


def _with_new_visitors(message: Text, failed: GuardCounts) -> Text:
    """Adds how many of the failing visitors inside got their cookie within the step."""
    if not failed.visitors:
        return message
    return Text(
        "{what}; {new} of {visitors} failing visitors with the flag have a cookie that is younger "
        "than the step",
        what=message,
        new=failed.new_visitors,
        visitors=failed.visitors,
    )


def missing_data(evidence: StepEvidence) -> Text | None:
    """Returns which data a step waits for; None if all is there."""
    missing = _missing_counts(evidence) or _left_out(evidence)
    return None if missing is None else Text("waits for data: {what}", what=missing)


def _missing_counts(evidence: StepEvidence) -> Text | None:
    outside, inside = evidence.requests
    lost, dropped = evidence.lost_workers, evidence.dropped
    for is_missing, message in (
        (evidence.users_inside <= 0, Text("no user with the flag has been seen yet")),
        (evidence.users_outside <= 0, Text("no user without the flag has been seen yet")),
        (inside <= 0, Text("no request or task of a user with the flag has ended yet")),
        (outside <= 0, Text("no request or task of a user without the flag has ended yet")),
        (
            lost == 1,
            Text(
                "a worker stopped without its last report; after ten minutes the step starts again"
            ),
        ),
        (
            lost > 0,
            Text(
                "{count} workers stopped without their last reports; after ten minutes the step "
                "starts again",
                count=lost,
            ),
        ),
        (
            dropped == 1,
            Text(
                "workers had no memory left for a failure; the step starts again when its dwell "
                "time has ended"
            ),
        ),
        (
            dropped > 0,
            Text(
                "workers had no memory left for {count} failures; the step starts again when its "
                "dwell time has ended",
                count=dropped,
            ),
        ),
    ):
        if is_missing:
            return message
    return None


def _left_out(evidence: StepEvidence) -> Text | None:
    """Returns that more than half of the users were left out; None if not."""
    counted = evidence.users_inside + evidence.users_outside
    numbers = [(_USERS_LEFT_OUT, evidence.left_out, counted)]
    numbers += [
        (_FAILING_USERS_LEFT_OUT, failed.left_out, failed.inside + failed.outside)
        for failed in evidence.failed.values()
    ]
    for template, left_out, counts in numbers:
        if left_out > counts:
            return Text(template, left_out=round(left_out), users=round(left_out + counts))
    return None


def hold_text(results: Sequence[GuardResult], evidence: StepEvidence, required_users: int) -> Text:
    """Returns which guard does not pass yet, and why: too few users, or signs of harm."""
    worst = max((result for result in results if not result.passed), key=_upper)
    if evidence.users_inside >= required_users:
        return Text(
            "signs of harm, not certain yet: {guard}, {inside} of {users_inside} users with the "
            "flag, {outside} of {users_outside} without it; find the cause, or set the "
            "rollout by hand",
            **_counts(worst, evidence),
        )
    seen = round(evidence.users_inside)
    if math.isinf(worst.upper):
        return Text(
            "waits for users: {seen} of {required} users with the flag seen, too few failures to "
            "compare {guard}",
            seen=seen,
            required=required_users,
            guard=worst.name,
        )
    return Text(
        "waits for users: {seen} of {required} users with the flag seen, {guard} may be up to "
        "{ratio} times as often",
        seen=seen,
        required=required_users,
        guard=worst.name,
        ratio=times(worst.upper),
    )


def pass_text(results: Sequence[GuardResult], evidence: StepEvidence) -> Text:
    """Returns why all guards pass, and the harm that could not have been seen."""
    users = round(evidence.users_inside)
    if not results:
        return Text("fine after {users} users with the flag: no guard compares errors", users=users)
    vague = [result for result in results if result.upper >= result.limit]
    if not vague:
        worst = max(results, key=_upper)
        return Text(
            "fine after {users} users with the flag: {guard} at most {ratio} times as often",
            users=users,
            guard=worst.name,
            ratio=times(worst.upper),
        )
    unseen = next((result for result in vague if result.smallest_harm is None), None)
    if unseen:
        return Text(
            "fine after {users} users with the flag: {guard} with too few failures to compare",
            users=users,
            guard=unseen.name,
        )
    worst = max(vague, key=lambda result: result.smallest_harm or 0.0)
    harm = times(worst.smallest_harm or 0.0)
    return Text(
        "fine after {users} users with the flag: {guard} would have tripped at {ratio} times as "
        "often",
        users=users,
        guard=worst.name,
        ratio=harm,
    )


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
