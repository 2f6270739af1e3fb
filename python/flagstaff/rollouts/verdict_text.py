"""The sentences of a verdict, for an operator in a hurry. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.results import Evidence, GuardCounts, GuardResult

_EXACT = 10
_AT_ITS_END = "the step begins anew at the end of its time"


def trip_text(guard: Guard, result: GuardResult, evidence: Evidence) -> str:
    """Returns what a tripped guard has counted: users, and the ratio of both sides."""
    failed = "were slower" if guard.kind == "latency" else "failed"
    text = (
        f"{result.name}: {result.failed.inside:,} of {evidence.users_inside:,.0f} users inside "
        f"{failed}, {result.failed.outside:,} of {evidence.users_outside:,.0f} outside"
    )
    if result.ratio is not None and math.isfinite(result.ratio):
        text = f"{text}; {times(result.ratio)} times as often"
    return text + _new_visitors(result.failed)


def brake_text(errors: GuardCounts, evidence: Evidence) -> str:
    """Returns what the brake has counted."""
    text = (
        f"brake: {errors.inside:,} of {evidence.users_inside:,.0f} users inside failed, "
        f"none of {evidence.users_outside:,.0f} outside"
    )
    return text + _new_visitors(errors)


def _new_visitors(failed: GuardCounts) -> str:
    """Returns how many of the failing visitors inside got their cookie within the step."""
    if not failed.visitors:
        return ""
    return (
        f"; {failed.new_visitors:,} of {failed.visitors:,} failing visitors inside have a cookie "
        "that is younger than the step"
    )


def missing_data(evidence: Evidence) -> str:
    """Returns which data a step waits for; an empty text if all is there."""
    outside, inside = evidence.requests
    lost, dropped = _workers(evidence.lost_workers), _counts(evidence.dropped)
    for missing, text in (
        (evidence.users_inside <= 0, "no user inside has been seen yet"),
        (evidence.users_outside <= 0, "no user outside has been seen yet"),
        (inside <= 0, "no request or task of a user inside has ended yet"),
        (outside <= 0, "no request or task of a user outside has ended yet"),
        (evidence.lost_workers > 0, f"{lost}; after ten minutes the step begins anew"),
        (evidence.dropped > 0, f"workers had no memory left for {dropped}; {_AT_ITS_END}"),
    ):
        if missing:
            return f"waits for data: {text}"
    return _left_out(evidence)


def _left_out(evidence: Evidence) -> str:
    """Returns that more than half of the users were left out; an empty text if not."""
    counted = evidence.users_inside + evidence.users_outside
    numbers = [("users", evidence.left_out, counted)]
    numbers += [
        ("failing users", failed.left_out, failed.inside + failed.outside)
        for failed in evidence.failed.values()
    ]
    for name, left_out, counts in numbers:
        if left_out > counts:
            return (
                f"waits for data: {left_out:,.0f} of {left_out + counts:,.0f} {name} were left "
                "out, because others of their networks came first; check CLIENT_ADDRESS, or jump "
                "to the next step"
            )
    return ""


def hold_text(results: Sequence[GuardResult], evidence: Evidence, required_users: int) -> str:
    """Returns which guard does not pass yet, and why: too few users, or signs of harm."""
    worst = max((one for one in results if not one.passed), key=lambda one: one.upper)
    if evidence.users_inside >= required_users:
        return (
            f"signs of harm, too few for a trip: {worst.name}, {worst.failed.inside:,} of "
            f"{evidence.users_inside:,.0f} users inside, {worst.failed.outside:,} of "
            f"{evidence.users_outside:,.0f} outside; find the cause, or jump to the next step"
        )
    users = f"{evidence.users_inside:,.0f} of {required_users:,} users inside seen"
    if math.isinf(worst.upper):
        return f"waits for users: {users}, too few failures to compare {worst.name}"
    return (
        f"waits for users: {users}, {worst.name} may be up to {times(worst.upper)} times as often"
    )


def pass_text(results: Sequence[GuardResult], evidence: Evidence) -> str:
    """Returns why all guards pass, and the harm that could not have been seen."""
    users = f"{evidence.users_inside:,.0f} users inside"
    if not results:
        return f"fine after {users}: only the brake compares errors"
    vague = [one for one in results if one.upper >= one.limit]
    if not vague:
        worst = max(results, key=lambda one: one.upper)
        return f"fine after {users}: {worst.name} at most {times(worst.upper)} times as often"
    unseen = next((one for one in vague if one.smallest_harm is None), None)
    if unseen:
        return f"fine after {users}: {unseen.name} with too few failures to compare"
    worst = max(vague, key=lambda one: one.smallest_harm or 0.0)
    harm = times(worst.smallest_harm or 0.0)
    return f"fine after {users}: {worst.name} would have tripped at {harm} times as often"


def times(ratio: float) -> str:
    """Returns a ratio as text: two digits, or whole from 10 on.

    >>> times(3.74), times(41.2)
    ('3.7', '41')
    """
    return f"{ratio:,.1f}" if ratio < _EXACT else f"{ratio:,.0f}"


def _workers(number: int) -> str:
    if number == 1:
        return "a worker stopped without its last report"
    return f"{number:,} workers stopped without their last reports"


def _counts(number: int) -> str:
    return "a failure" if number == 1 else f"{number:,} failures"
