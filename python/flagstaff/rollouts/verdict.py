"""What the evidence of a step means: trip, pass or hold. Pure, and nothing here blocks or queries.

The formulas are in `statistics`. Callable guards are not judged here: the driver calls them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from typing import NamedTuple, cast

from flagstaff._text import Sentence, say
from flagstaff._text.times import TimeValue
from flagstaff.rollouts import statistics
from flagstaff.rollouts.statistics import PLAN_ALPHA, alpha_of_run, explained_ratio, visible_ratio
from flagstaff.rollouts.steps_and_guards import (
    ALL,
    BRAKE,
    ERROR_NUMBER,
    Action,
    Comparison,
    Guard,
    GuardCounts,
    GuardResult,
    Step,
    StepEvidence,
    StepVerdict,
    Tenth,
    guard_name,
    numbered,
)

# The standard errors by which theta is moved to the safe side.
_STANDARD_ERRORS = 2
# The ratios that are shown without decimals.
_EXACT = 10
#: What a plan compares: users who failed, requests at risk, or both.
USERS, REQUESTS = "users", "requests"
COMPARISONS = (USERS, REQUESTS)
# Where more of the users outside have failed, users show little of what more failures do.
_MANY_FAILED = 0.2
_SIGNS = math.log(1 / PLAN_ALPHA)


def judge(  # noqa: PLR0913, PLR0917 (the plan, its step and what was counted)
    steps: Sequence[Step],
    step_index: int,
    guards: Sequence[Guard],
    evidence: StepEvidence,
    required_users: int,
    number: int = 1,
    compare: str = "",
) -> StepVerdict:
    """Returns the verdict on a step. Correct at any time, and however often it is called.

    All runs and guards of the plan share 5 % of false trips; `number` is that of the run in its
    step, from 1. A guard compares users who failed, and requests at risk, which are those of users
    who had not failed before: a change that makes users ask more often does not make them fail
    more often. It trips if both e-values reach 1/alpha, where alpha is its part. It passes if by
    both the 95 % upper bound of the ratio is below its limit, or the e-value of the whole run is
    below 20 at `required_users` users inside; and no tenth has begun since which both are 20 or
    more. That e-value of users is against what more requests explain, see
    `statistics.explained_ratio`: without it, 1.5 times the requests would hold until thousands of
    failures bound the ratio. `compare` names the one comparison that decides. If more than a fifth
    of the users outside have failed, requests decide, unless the ratio of users is less than half
    as far above 1 as `limit` would make it.

    Theta, the share of users inside, is raised by two standard errors for trips and lowered by two
    for the bound. Where networks are known, a guard trips only if it does so without two of the
    failing users inside. At 100 % no user is outside, and the step passes.

        >>> evidence = StepEvidence(200, 19_800, 0.02, {0: GuardCounts(41, 210)}, (60_000, 600))
        >>> judge([Step(1, 3600)], 0, [Guard("errors")], evidence, 1000).why
        'errors: 41 of 200 users with the flag failed, 210 of 19,800 without it; 19 times as often'
    """
    if steps[step_index].percent >= ALL:
        why = say("at 100 % only function guards watch the step")
        return StepVerdict(evidence, None, None, passed=True, why=why)
    theta = _theta(evidence)
    alpha = alpha_of_run(steps, step_index, guards, number)
    has_enough = evidence.users_inside >= required_users
    results = tuple(
        _result(guard, place, evidence, theta, alpha.guard, compare, has_enough=has_enough)
        for place, guard in numbered(guards)
    )
    brake = _brake(evidence, theta, alpha.brake, compare) if alpha.brake else None
    trip = _brake_trip(evidence, brake) or _guard_trip(guards, results, evidence)
    verdict = trip or _no_trip(results, evidence, required_users, steps[step_index])
    return replace(verdict, guards=results, brake=brake)


class _Share(NamedTuple):
    """The share of users, or of requests at risk, inside: as measured, lowered and raised."""

    share: float
    low: float
    high: float


class _Window(NamedTuple):
    """What failed inside and outside from a tenth on, and the share inside."""

    inside: float
    outside: float
    share: _Share


def _theta(evidence: StepEvidence) -> _Share:
    if evidence.users_inside <= 0 or evidence.users_outside <= 0:
        # No evidence of anything.
        return _Share(0.0, 0.0, 1.0)
    share = evidence.users_inside / (evidence.users_inside + evidence.users_outside)
    margin = _STANDARD_ERRORS * evidence.theta_error
    return _Share(share, max(share * (1 - margin), 0.0), min(share * (1 + margin), 1.0))


def _result(  # noqa: PLR0913, PLR0917 (the guard, what was counted, and what it needs)
    guard: Guard,
    number: int,
    evidence: StepEvidence,
    theta: _Share,
    alpha: float,
    compare: str,
    *,
    has_enough: bool,
) -> GuardResult:
    """Returns the figures of a guard, and whether it trips or passes by what decides."""
    failed = evidence.failed.get(number, GuardCounts())
    share = failed.outside / evidence.users_outside if evidence.users_outside else 0.0
    is_vague = share > _MANY_FAILED
    tenths = _from_tenths(failed)
    requests = _requests_windows(failed, tenths) if all(tenths[0].at_risk) else []
    explained = 1.0
    if requests and theta.share and not compare:
        factor = _requests_factor(requests[0].share.share, theta.share)
        explained = explained_ratio(factor, guard.limit)
    by_users = _compare(
        USERS,
        _users_windows(failed, tenths, theta),
        evidence.spare,
        limit=visible_ratio(min(share, 1), guard.limit) if is_vague else guard.limit,
        has_enough=has_enough and not is_vague,
        explained=explained,
    )
    comparisons = [by_users]
    if requests:
        by_requests = _compare(
            REQUESTS, requests, evidence.spare, limit=guard.limit, has_enough=has_enough
        )
        comparisons.append(by_requests)
    names = [comparison.by for comparison in comparisons]
    wanted = {compare} if compare else {REQUESTS} if is_vague else set(COMPARISONS)
    decides = tuple(name for name in names if name in wanted) or (USERS,)
    deciding = [comparison for comparison in comparisons if comparison.by in decides]
    e_value, threshold = min(comparison.e_value for comparison in deciding), 1 / alpha
    signs = [
        min(values)
        for values in zip(*(comparison.log_e_values for comparison in deciding), strict=False)
    ]
    since = next((tenth for tenth, sign in enumerate(signs) if sign >= _SIGNS), None)
    # Where the same users always fail, fewer requests inside look like harm by requests alone.
    is_contradicted = (
        is_vague
        and not compare
        and decides == (REQUESTS,)
        and (by_users.ratio or 0) < (1 + visible_ratio(min(share, 1), guard.limit)) / 2
    )
    tripped = e_value >= threshold and not is_contradicted
    passed = not tripped and since is None and all(comparison.passed for comparison in deciding)
    bounded = all(comparison.upper < guard.limit for comparison in deciding)
    harm = None
    if passed and not bounded:
        # The whole run has half of the weight, and all comparisons must trip.
        harms = [
            statistics.smallest_ratio(
                comparison.outside,
                theta.high if comparison.by == USERS else comparison.share,
                2 * threshold,
            )
            for comparison in deciding
        ]
        harm = None if None in harms else max(filter(None, harms))
    return GuardResult(
        number=number,
        name=guard_name(guard),
        failed=failed,
        at_risk=tenths[0].at_risk,
        failed_at_risk=tenths[0].failed,
        comparisons=tuple(comparisons),
        decides=decides,
        ratio=deciding[0].ratio,
        e_value=e_value,
        threshold=threshold,
        upper=max(comparison.upper for comparison in deciding),
        limit=guard.limit,
        tripped=tripped,
        passed=passed,
        smallest_harm=harm,
        failed_share=share if is_vague else None,
        harm_since=since,
    )


def _from_tenths(failed: GuardCounts) -> list[Tenth]:
    """Returns what was written from each tenth on, until the end."""
    last = max(failed.tenths, default=0)
    sums = accumulate(failed.tenths.get(tenth, Tenth()) for tenth in range(last, -1, -1))
    return [*sums][::-1]


def _users_windows(failed: GuardCounts, tenths: Sequence[Tenth], theta: _Share) -> list[_Window]:
    later = (tenth.users[::-1] for tenth in tenths[1:])
    return [_Window(*sides, theta) for sides in ((failed.inside, failed.outside), *later)]


def _requests_windows(failed: GuardCounts, tenths: Sequence[Tenth]) -> list[_Window]:
    """Returns the requests that failed, as so many users as have failed.

    Each worker counts until the first failure that it knows, so a user may fail in several. These
    failures are not independent: in the mean over all users they count as one.
    """
    users = failed.inside + failed.outside
    each = max(sum(tenths[0].failed) / users, 1) if users else 1
    windows = []
    for tenth in tenths:
        outside, inside = tenth.failed
        share = tenth.at_risk[1] / sum(tenth.at_risk) if any(tenth.at_risk) else 0.0
        windows.append(_Window(inside / each, outside / each, _Share(share, share, share)))
    return windows


def _compare(  # noqa: PLR0913 (what was counted, and what it needs)
    by: str,
    windows: Sequence[_Window],
    spare: int,
    *,
    limit: float,
    has_enough: bool,
    explained: float = 1.0,
) -> Comparison:
    """Returns the figures of a comparison, and whether it passes, by its bound or its users.

    By its users, if there is no sign that they fail more often than is `explained`.
    """
    whole = windows[0]
    logs = [
        statistics.log_e_value(window.inside, window.outside, window.share.high)
        for window in windows
    ]
    spared = logs
    if spare:
        spared = [
            statistics.log_e_value(max(window.inside - spare, 0), window.outside, window.share.high)
            for window in windows
        ]
    upper = statistics.upper_bound(whole.inside, whole.outside, whole.share.low, PLAN_ALPHA)
    unexplained = statistics.log_e_value(
        whole.inside, whole.outside, statistics.share_at(whole.share.high, explained)
    )
    return Comparison(
        by=by,
        inside=whole.inside,
        outside=whole.outside,
        share=whole.share.share,
        ratio=statistics.ratio(whole.inside, whole.outside, whole.share.share),
        e_value=statistics.mixture(spared),
        log_e_values=tuple(logs),
        upper=upper,
        explained=explained,
        # What a single look would call harm must not pass, also if it could be two networks.
        passed=upper < limit or (has_enough and unexplained < _SIGNS),
    )


def _brake(evidence: StepEvidence, theta: _Share, alpha: float, compare: str) -> int | None:
    """Returns the number of failing users inside that trips the brake, if none fails outside."""
    shares = [theta.high]
    at_risk = _from_tenths(evidence.failed.get(ERROR_NUMBER, GuardCounts()))[0].at_risk
    if all(at_risk) and compare != USERS:
        # The first ones to fail may be those who ask more often.
        shares.append(at_risk[1] / sum(at_risk))
    brake = statistics.brake_threshold(max(shares), alpha)
    return None if brake is None else brake + evidence.spare


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
    results: Sequence[GuardResult], evidence: StepEvidence, required_users: int, step: Step
) -> StepVerdict:
    if missing := _missing_data(evidence):
        return StepVerdict(evidence, None, None, passed=False, why=missing)
    if not all(result.passed for result in results):
        why = _hold_text(results, evidence, required_users, step)
        return StepVerdict(evidence, None, None, passed=False, why=why)
    why = _pass_text(results, evidence)
    return StepVerdict(evidence, None, None, passed=True, why=why)


def _counts_text(
    result: GuardResult | None, failed: GuardCounts, evidence: StepEvidence
) -> Sentence:
    """Returns what a guard has counted: users, the ratio of both sides, new visitors."""
    message = say(
        "{guard}: {inside} of {users_inside} users with the flag failed, {outside} of "
        "{users_outside} without it",
        guard=say("errors") if result is None else result.name,
        inside=failed.inside,
        users_inside=round(evidence.users_inside),
        outside=failed.outside,
        users_outside=round(evidence.users_outside),
    )
    if result is not None and result.ratio is not None and math.isfinite(result.ratio):
        ratio = times(result.ratio)
        message = say("{what}; {ratio} times as often", what=message, ratio=ratio)
    if result is not None:
        message = _with_comparison(message, result)
    if failed.visitors:
        # Somebody who draws new cookies can fail as many visitors.
        message = say(
            "{what}; {new} of {visitors} failing visitors with the flag have a cookie that is "
            "younger than the step",
            what=message,
            new=failed.new_visitors,
            visitors=failed.visitors,
        )
    return message


def _with_comparison(message: Sentence, result: GuardResult) -> Sentence:
    """Adds that requests decide, because too many users have failed."""
    if result.failed_share is None or result.decides != (REQUESTS,):
        return message
    return say(
        "{what}; {percent} % of the users without the flag have failed already: compared by "
        "requests",
        what=message,
        percent=round(100 * result.failed_share),
    )


def _missing_data(evidence: StepEvidence) -> Sentence | None:
    """Returns which data a step waits for; None if all is there."""
    requests_outside, requests_inside = evidence.requests
    if evidence.users_inside <= 0 or requests_inside <= 0:
        return say("waits for data: no request or task of a user with the flag has ended yet")
    if evidence.users_outside <= 0 or requests_outside <= 0:
        return say("waits for data: no request or task of a user without the flag has ended yet")
    if evidence.lost_workers:
        return say(
            "waits for data: workers that stopped without their last report: {count}; after ten "
            "minutes the step starts again",
            count=evidence.lost_workers,
        )
    if not evidence.has_workers:
        return say("waits for the workers' report: no worker that counts for the plan is running")
    if evidence.dropped:
        return say(
            "waits for data: failures that workers had no memory for: {count}; the step starts "
            "again when its dwell time has ended",
            count=evidence.dropped,
        )
    return _left_out(evidence)


def _left_out(evidence: StepEvidence) -> Sentence | None:
    """Returns that more than half of the users, or of the failing ones, were left out."""
    numbers = [(evidence.left_out, evidence.users_inside + evidence.users_outside)]
    numbers += [
        (failing.left_out, failing.inside + failing.outside) for failing in evidence.failed.values()
    ]
    for left_out, counted in numbers:
        if left_out > counted:
            return say(
                "waits for data: {left_out} of {users} users were left out, because others of "
                "their networks came first; check CLIENT_ADDRESS, or set the rollout by hand",
                left_out=round(left_out),
                users=round(left_out + counted),
            )
    return None


def _hold_text(
    results: Sequence[GuardResult], evidence: StepEvidence, required_users: int, step: Step
) -> Sentence:
    """Returns which guard does not pass yet, and why: too few users, or signs of harm."""
    worst = max(
        (result for result in results if not result.passed), key=lambda result: result.upper
    )
    if evidence.users_inside >= required_users:
        return _signs_text(worst, evidence, step)
    waits = say(
        "waits for users: {seen} of {required} users with the flag seen",
        seen=round(evidence.users_inside),
        required=required_users,
    )
    if math.isinf(worst.upper):
        return say("{waits}, too few failures to compare {guard}", waits=waits, guard=worst.name)
    return say(
        "{waits}, {guard} may be up to {ratio} times as often",
        waits=waits,
        guard=worst.name,
        ratio=times(worst.upper),
    )


def _signs_text(result: GuardResult, evidence: StepEvidence, step: Step) -> Sentence:
    """Returns why a guard does not pass although there are enough users."""
    counts = _counts_text(result, result.failed, evidence)
    if result.harm_since is None and result.failed_share is not None and USERS in result.decides:
        return say(
            "{percent} % of the users without the flag have failed already, so users show little: "
            "{what}; create the plan again with --compare requests",
            percent=round(100 * result.failed_share),
            what=counts,
        )
    if (
        result.harm_since is None
        and len({comparison.passed for comparison in result.comparisons}) > 1
    ):
        users, requests = result.comparisons
        return say(
            "users with the flag make {factor} times the requests: by users, {guard} {users} times "
            "as often; by requests, {requests} times; wait, or create the plan again with "
            "--compare requests or --compare users",
            factor=times(_requests_factor(requests.share, users.share)),
            guard=result.name,
            users=times(users.ratio or 0),
            requests=times(requests.ratio or 0),
        )
    if result.harm_since and evidence.began_at is not None:
        since = evidence.began_at + timedelta(seconds=step.seconds / 10) * result.harm_since
        return say(
            "signs of harm since {time}, not certain yet: {what}; find the cause, or set the "
            "rollout by hand",
            time=TimeValue(since),
            what=counts,
        )
    return say(
        "signs of harm, not certain yet: {what}; find the cause, or set the rollout by hand",
        what=counts,
    )


def _requests_factor(requests: float, users: float) -> float:
    """Returns how many times the requests users inside make, by the shares of both inside."""
    return requests / (1 - requests) / (users / (1 - users))


def _pass_text(results: Sequence[GuardResult], evidence: StepEvidence) -> Sentence:
    """Returns why all guards pass, and the harm that could not have been seen."""
    fine = say("fine after {users} users with the flag", users=round(evidence.users_inside))
    if not results:
        return say("{fine}: no guard compares errors", fine=fine)
    vague = [result for result in results if result.upper >= result.limit]
    if not vague:
        worst = max(results, key=lambda result: result.upper)
        template, ratio = say("{fine}: {guard} at most {ratio} times as often"), worst.upper
    elif unseen := next((result for result in vague if result.smallest_harm is None), None):
        return say("{fine}; too few failures to compare {guard}", fine=fine, guard=unseen.name)
    else:
        worst = max(vague, key=lambda result: result.smallest_harm or 0.0)
        template = say("{fine}: {guard} would have tripped at {ratio} times as often")
        ratio = worst.smallest_harm or 0.0
    message = say(template, fine=fine, guard=worst.name, ratio=times(ratio))
    return _with_comparison(message, worst)


def times(ratio: float) -> float:
    """Returns a ratio as messages show it: with two significant digits.

    >>> times(3.74), times(41.2), times(412), times(0.154)
    (3.7, 41, 410, 0.15)
    """
    if not ratio or math.isinf(ratio):
        return ratio or 0
    rounded = round(ratio, 1 - math.floor(math.log10(abs(ratio))))
    return int(rounded) if rounded >= _EXACT else rounded
