"""What a plan will be able to see, from present traffic. Pure, and nothing here blocks or queries.

Users and failing users are assumed to arrive at the measured rates. But a user counts once
in a step, so once the same users come back the rates fall. So a forecast beyond the time of
measuring is a lower bound, and the text says "at least" and "at best": where one hour was measured
and three were forecast, simulated sites with heavy users took about three times as long.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flagstaff._words.times import duration
from flagstaff.rollouts import statistics
from flagstaff.rollouts.alpha import BRAKE_PERCENT, brake_alpha, guard_alpha
from flagstaff.rollouts.guards import ERROR_NUMBER, Guard, guard_name, numbered
from flagstaff.rollouts.results import StepEvidence
from flagstaff.rollouts.steps import Step
from flagstaff.rollouts.verdict_text import times

_MINUTE = 60
_HOUR = 3600.0
_ALL = 100
# The standard errors by which theta is raised, as in a verdict.
_STANDARD_ERRORS = 2
_DOUBLE = 2.0
# Longer times are no forecast: ten years.
_LONGEST = 10 * 365 * 86_400.0
_PRECISION = 1e-3


@dataclass(frozen=True)
class Traffic:
    """Users an hour of the flag, each counted once, and those without harm who fail."""

    users_per_hour: float
    #: Failing users an hour by number of the guard; 0 is errors.
    failing_per_hour: Mapping[int, float]
    #: The time of measuring in seconds.
    measured: float = _HOUR
    #: The number of failing users inside that a trip must not depend on.
    spare: int = 0


@dataclass(frozen=True)
class GuardForecast:
    """What one guard can see in one step."""

    number: int
    name: str
    #: The expected time until twice as many failures inside trip; None if they never do.
    seconds_to_double: float | None
    #: The smallest ratio that trips within the dwell time in 4 of 5 cases; None without failures.
    smallest_ratio: float | None
    #: The same within the time until the required number of users is reached.
    smallest_ratio_of_users: float | None


@dataclass(frozen=True)
class StepForecast:
    """What one step can see."""

    percent: int
    #: Users inside within the dwell time.
    users_inside: float
    #: The time until the required number of users inside; None without traffic.
    seconds_for_users: float | None
    #: The number of failing users inside that trips the brake if none fails outside; None if off.
    brake: int | None
    guards: tuple[GuardForecast, ...]
    #: For people.
    text: str


def traffic_of(evidence: StepEvidence, seconds: float) -> Traffic:
    """Returns the traffic of a stretch of measuring that took `seconds`.

    The share of failing users is taken from outside, where there is no harm, if a user was seen
    there. Raises ValueError if `seconds` is not above 0.

        >>> from flagstaff.rollouts.results import GuardCounts
        >>> counts = {0: GuardCounts(inside=90, outside=190)}
        >>> traffic_of(StepEvidence(1_000, 19_000, 0.02, counts, (60_000, 3_000)), 7200)
        Traffic(users_per_hour=10000.0, failing_per_hour={0: 100.0}, measured=7200, spare=0)
    """
    if not 0 < seconds < math.inf:
        raise ValueError(f"the time of measuring is {seconds:g} s, but must be above 0")
    users, hours = evidence.users_inside + evidence.users_outside, seconds / _HOUR
    without_harm = evidence.users_outside or users
    failing = {
        number: (counts.outside if evidence.users_outside else counts.inside)
        * users
        / (without_harm * hours)
        if users
        else 0.0
        for number, counts in evidence.failed.items()
    }
    return Traffic(users / hours, failing, seconds, evidence.spare)


def forecast(
    steps: Sequence[Step], guards: Sequence[Guard], traffic: Traffic, required_users: int
) -> tuple[StepForecast, ...]:
    """Returns what each step of a plan can see with this traffic, for its page before the start.

    Theta is the step's percentage. Raises ValueError for negative rates.

        >>> plan = [Step(5, 3600), Step(100, 0)]
        >>> busy = Traffic(users_per_hour=20_000, failing_per_hour={0: 200})
        >>> forecast(plan, [Guard("errors")], busy, 1000)[0].text
        '5 %: 1,000 users with the flag in 1 h. Errors: twice as many failures with the flag ...'
    """
    threshold = 1 / guard_alpha(steps, guards)
    return tuple(
        _step_forecast(step, guards, traffic, required_users, (threshold, brake_alpha(steps)))
        for step in steps
    )


def seconds_to_trip(
    failing_per_hour: float, percent: float, threshold: float, ratio: float, tolerated: float = 1.0
) -> float | None:
    """Returns the expected time until a guard trips if `ratio` times as many users fail inside.

    In t hours ratio·theta·f·t users fail inside and (1 - theta)·f·t outside, of f in all without
    harm. The result is the t at which the logarithm of the e-value of these counts is that of the
    threshold. For one alternative r it grows by q·ln(r/r0) - ln(R/R0) with each failing user, with
    q = `statistics.q(theta, ratio)`, and that R and R0; so Wald's identity (1944, "On cumulative
    sums of random variables") gives the expected number of failing users as ln(threshold) divided
    by that growth, but for the overshoot at the end. With the mean over the alternatives the best
    one pays ln 7 more. Simulated means are 0 to 10 % below. None if there are no failures, or if
    the guard never trips. Raises ValueError.

        >>> round(seconds_to_trip(200, 5, 100, ratio=2) / 3600, 1)
        1.9
    """
    limit, theta = math.log(threshold), percent / _ALL
    raised = _raised(theta)

    def trips(seconds: float) -> bool:
        outside = failing_per_hour * (1 - theta) * seconds / _HOUR
        inside = failing_per_hour * theta * ratio * seconds / _HOUR
        return statistics.log_e_value(inside, outside, raised, tolerated) >= limit

    if not trips(_LONGEST):
        return None
    # Once it trips it would trip at any later time.
    low, high = 1e-3, _LONGEST
    while high > low * (1 + _PRECISION):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if trips(middle) else (middle, high)
    return high


def _step_forecast(
    step: Step,
    guards: Sequence[Guard],
    traffic: Traffic,
    required_users: int,
    limits: tuple[float, float],
) -> StepForecast:
    threshold, alpha = limits
    theta = step.percent / _ALL
    per_second = traffic.users_per_hour * theta / _HOUR
    for_users = required_users / per_second if per_second else None
    inside = per_second * step.seconds
    if step.percent >= _ALL:
        text = "100 %: all users have the flag, so only function guards watch this step."
        return StepForecast(step.percent, inside, for_users, None, (), text)
    brake = None
    if step.percent <= BRAKE_PERCENT:
        brake = statistics.brake_threshold(_raised(theta), alpha)
        brake = None if brake is None else brake + traffic.spare
    found = tuple(
        _guard_forecast(guard, number, step, traffic, (threshold, for_users))
        for number, guard in numbered(guards)
    )
    silent = brake is not None and not traffic.failing_per_hour.get(ERROR_NUMBER)
    seen = [one for one in found if traffic.failing_per_hour.get(one.number)]
    unseen = [one.name for one in found if one not in seen and for_users]
    sentences = [
        _users_text(step, inside, for_users, required_users),
        *(_guard_text(one, step, traffic.measured, (required_users, for_users)) for one in seen),
        *([f"{' and '.join(unseen).capitalize()}: no failures to compare with."] if unseen else []),
        *([_brake_text(brake)] if brake is not None and silent else []),
    ]
    text = " ".join(sentences)
    return StepForecast(step.percent, inside, for_users, brake, found, text)


def _guard_forecast(
    guard: Guard,
    number: int,
    step: Step,
    traffic: Traffic,
    limits: tuple[float, float | None],
) -> GuardForecast:
    threshold, for_users = limits
    failing, theta = traffic.failing_per_hour.get(number, 0.0), step.percent / _ALL

    def smallest(seconds: float | None) -> float | None:
        outside = failing * (1 - theta) * (seconds or 0) / _HOUR
        found = statistics.smallest_ratio(outside, _raised(theta), threshold, guard.tolerated)
        # Not more than all users inside can fail.
        return found if found and found * failing <= traffic.users_per_hour else None

    return GuardForecast(
        number,
        guard_name(guard),
        seconds_to_trip(failing, step.percent, threshold, _DOUBLE, guard.tolerated),
        smallest(step.seconds),
        smallest(for_users),
    )


def _raised(theta: float) -> float:
    error = statistics.share_error(theta, 1 - theta)
    return min(theta * (1 + _STANDARD_ERRORS * error), 1.0)


def _users_text(step: Step, inside: float, for_users: float | None, required_users: int) -> str:
    if for_users is None:
        return f"{step.percent} %: no user was counted, so there is no forecast."
    text = f"{step.percent} %: {inside:,.0f} users with the flag in {duration(step.seconds)}"
    if inside >= required_users:
        return f"{text}."
    return f"{text}, {required_users:,} after {_rounded(for_users)}."


def _guard_text(
    guard: GuardForecast, step: Step, measured: float, required: tuple[int, float | None]
) -> str:
    """Returns what a guard can see; `required` are users and the time until they are there."""
    if guard.seconds_to_double is None:
        return f"{guard.name.capitalize()}: twice as many failures with the flag are never found."
    about = "about" if guard.seconds_to_double <= measured else "at least"
    dwell = _seen(guard.smallest_ratio, is_long=step.seconds > measured)
    time = f"{about} {_rounded(guard.seconds_to_double)}"
    parts = [
        f"{guard.name.capitalize()}: twice as many failures with the flag are found after {time}",
        f"{dwell} within {duration(step.seconds)}",
    ]
    users, for_users = required
    if for_users is not None and for_users > step.seconds:
        later = _seen(guard.smallest_ratio_of_users, is_long=for_users > measured)
        parts.append(f"{later} with {users:,} users")
    return f"{', '.join(parts)}."


def _seen(ratio: float | None, *, is_long: bool) -> str:
    if ratio is None:
        return "no harm is found"
    return f"{'at best ' if is_long else ''}{times(ratio):,} times as many"


def rounded_seconds(seconds: float) -> int:
    """Returns a forecast without a precision that it does not have: whole minutes from one on."""
    return round(seconds / _MINUTE) * _MINUTE if seconds >= _MINUTE else math.ceil(seconds)


def _rounded(seconds: float) -> str:
    return duration(rounded_seconds(seconds))


def _brake_text(brake: int) -> str:
    users = "user" if brake == 1 else "users"
    return (
        f"The brake rolls back at {brake} failing {users} with the flag, if none without it fails."
    )
