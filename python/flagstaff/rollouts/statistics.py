"""The formulas of guarded rollouts. Pure, and nothing here blocks or queries.

A plan compares the users inside a rollout with those outside, at the same time. Each user counts
once, at the first failure. Without harm a failing user is inside with probability `theta`, the
share of all users who are inside; with r times as many failures inside, by Bayes' rule with
probability q = theta·r / (theta·r + 1 - theta).

The tests are e-values: the mean of likelihood ratios against fixed alternatives. Without harm such
a mean is a martingale of expectation 1, so by Ville's inequality it ever exceeds 1/alpha with
probability alpha at most, however often it is computed (Ville 1939; Robbins 1970, "Statistical
methods related to the law of the iterated logarithm"; Ramdas and others 2023, arXiv 2210.01948).

A plan may have 5 % of false trips: the guards share 4 % and the brake has 1 %, in equal parts over
the steps in which they compare. Run n of a step is given 1/(n(n + 1)) of its part: 1/2, 1/6, 1/12,
…, whose sum is 1. Without harm a run trips with the probability that it is given at most (Ville's
inequality). That holds whenever the run begins, also because of what the runs before have shown,
since n depends on the past only. All together are given at most 5 %, so a plan without harm ever
trips with a probability of at most 5 % (Boole's inequality), whatever its runs have in common.

The e-values of two runs are not multiplied: a user who fails in both would count twice. Parts that
decrease as 1/n² keep a step useful that lost workers have started again a hundred times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from flagstaff._core import REGISTERS
from flagstaff.rollouts.steps_and_guards import ALL, Guard, Step, numbered

#: The alternatives: users inside fail this many times as often as those outside.
RATIOS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)

_LOG_RATIOS = tuple(math.log(candidate) for candidate in RATIOS)
_RECIPROCALS_LESS_ONE = tuple(1 / candidate - 1 for candidate in RATIOS)
# The relative precision of a bound, and the largest ratio that is looked for.
_PRECISION = 1e-3
_LARGEST = 1e9
# Exceeded by a standard normal variable with probability 0.2.
_ONE_IN_FIVE = 0.8416
# The tenths of the dwell time after the first one.
_TENTHS = 9


def ratio(inside: float, outside: float, theta: float) -> float | None:
    """Returns how many times as often users inside fail: the odds ratio to `theta`.

    `inside` and `outside` are numbers of failing users. inf if none failed outside; None if none
    failed at all, or without users inside or outside.

        >>> ratio(10, 95, 0.05)
        2.0
    """
    if not inside + outside or theta in {0, 1}:
        return None
    return inside * (1 - theta) / (outside * theta) if outside else math.inf


def log_e_value(inside: float, outside: float, theta: float) -> float:
    """Returns the natural logarithm of `e_value`, which has no overflow.

    With R = theta·r + 1 - theta, an alternative r contributes
    inside·ln(r) - (inside + outside)·ln(R). Without anybody inside or outside there is nothing to
    compare, and the result is 0.
    """
    if not 0 < theta < 1:
        return 0.0
    total = inside + outside
    return _log_mean_exp(
        [
            inside * log_alternative - total * math.log1p(theta * (alternative - 1))
            for alternative, log_alternative in zip(RATIOS, _LOG_RATIOS, strict=True)
        ]
    )


def e_value(inside: float, outside: float, theta: float) -> float:
    """Returns the evidence that users inside fail more often than those outside.

    The mean over the alternatives r in RATIOS of the likelihood ratio
    (q_r / theta)^inside · ((1 - q_r) / (1 - theta))^outside. A plan trips at 1/alpha. Also valid if
    the true ratio is below 1, because each likelihood ratio only gets smaller. inf if the number is
    too large.

        >>> e_value(0, 0, 0.05)
        1.0
        >>> round(e_value(14, 60, 0.05), 1)
        1883.8
    """
    return _exp(log_e_value(inside, outside, theta))


def mixture(logs: Sequence[float]) -> float:
    """Returns the evidence of harm from any tenth of the dwell time on: a weighted mean.

    `logs` has the logarithms of the e-values of what failed first from tenth 0, 1, 2, … on. Each is
    1 until its tenth begins, so each is a martingale and so is their mean (mixtures of e-processes
    over the time of a change: Shin, Ramdas and Rinaldo 2022, "E-detectors", arXiv 2203.03532). The
    whole run weighs 1/2, each of tenths 1 to 9 weighs 0.4/9, and tenth 9 + k of a step that holds
    0.1/(k(k + 1)); what is left belongs to tenths that have not begun.

        >>> round(mixture([math.log(100)]), 2), round(mixture([0.0, math.log(900)]), 2)
        (50.5, 40.96)
    """
    weights = [weight_of(tenth) for tenth in range(len(logs))]
    terms = [weight * _exp(log) for weight, log in zip(weights, logs, strict=True)]
    return sum(terms) + 1 - sum(weights)


def weight_of(tenth: int) -> float:
    """Returns the weight of a tenth in `mixture`."""
    if not tenth:
        return 0.5
    return 0.4 / 9 if tenth <= _TENTHS else 0.1 / ((tenth - _TENTHS) * (tenth - _TENTHS + 1))


def visible_ratio(share: float, ratio: float) -> float:
    """Returns how many times as many users fail if failures are `ratio` times as frequent.

    Where a share F of the users outside has failed, (1 - F)^ratio of those inside would not have,
    so it is (1 - (1 - F)^ratio) / F, at most 1/F.

        >>> round(visible_ratio(0.31, 2), 2)
        1.69
    """
    return float((1 - (1 - share) ** ratio) / share)


def explained_ratio(requests: float, limit: float) -> float:
    """Returns how many times as often users inside may fail because they make more requests.

    `requests` is how many times as many they make. So many times as many of them fail although
    nothing is wrong with the flag, but it is no excuse for more than `limit` allows: the two
    multiplied stay below it. The result is 1 where they make no more requests, or `limit` times as
    many.

        >>> explained_ratio(1.2, 2), explained_ratio(1.6, 2), explained_ratio(2.5, 2)
        (1.2, 1.25, 1.0)
    """
    return max(min(requests, limit / requests), 1.0)


def share_at(theta: float, ratio: float) -> float:
    """Returns the probability that a failing user is inside if those inside fail `ratio` as often.

    With this share as theta, `e_value` is evidence that the true ratio is above `ratio`. Each
    likelihood ratio has an expectation of 1 at that ratio, and less below it, so by Ville's
    inequality the evidence of any smaller ratio ever reaches 20 with a probability of 5 % at most.

        >>> round(share_at(0.05, 2), 4)
        0.0952
    """
    return theta * ratio / (theta * ratio + 1 - theta)


def upper_bound(inside: float, outside: float, theta: float, alpha: float) -> float:
    """Returns the always-valid upper bound of the ratio: the true one exceeds it with `alpha`.

    The largest ratio whose e-value against smaller ratios is below 1/alpha. Those are the ratio
    divided by each of RATIOS, so that e-value grows with the ratio. Too large by 0.1 % at most.
    inf without enough failures, or without users inside or outside.

        >>> upper_bound(3, 0, 0.5, 0.05)
        inf
        >>> round(upper_bound(50, 950, 0.05, 0.05), 1)
        1.5
    """
    limit = -math.log(alpha)
    # The value for a ratio without end.
    if not 0 < theta < 1 or _log_mean_exp([outside * log for log in _LOG_RATIOS]) < limit:
        return math.inf
    total, odds = inside + outside, (1 - theta) / theta
    fixed = [-inside * log for log in _LOG_RATIOS]

    def exceeds(bound: float) -> bool:
        share = share_at(theta, bound)
        return (
            _log_mean_exp(
                [
                    own - total * math.log1p(share * less)
                    for own, less in zip(fixed, _RECIPROCALS_LESS_ONE, strict=True)
                ]
            )
            >= limit
        )

    return _smallest(exceeds, start=max(1.0, inside * odds / max(outside, 1)))


def smallest_ratio(outside: float, theta: float, threshold: float) -> float | None:
    """Returns the smallest ratio that trips in 4 of 5 cases, with `outside` failing users outside.

    A ratio r makes m = r·outside·theta / (1 - theta) users fail inside on average. In 4 of 5 cases
    there are more than (√m - 0.42)², because the root of a Poisson count has a standard deviation
    of 1/2 (Bartlett 1936). The result is the smallest r whose e-value of that count is at least
    `threshold`. None without failures or a comparison.

        >>> round(smallest_ratio(950, 0.05, 100), 1)
        1.7
    """
    if not outside or not 0 < theta < 1:
        return None
    limit, usual = math.log(threshold), outside * theta / (1 - theta)

    def trips(true_ratio: float) -> bool:
        root = max(math.sqrt(true_ratio * usual) - _ONE_IN_FIVE / 2, 0.0)
        return log_e_value(root * root, outside, theta) >= limit

    smallest = _smallest(trips, start=1.0)
    return smallest if math.isfinite(smallest) else None


def brake_threshold(theta: float, alpha: float) -> int | None:
    """Returns the k of the brake: it trips at k failing users inside while none failed outside.

    By chance the first k failing users are all inside with probability theta^k, so k is
    ⌈ln alpha / ln theta⌉. None without users inside or outside.

        >>> brake_threshold(0.05, 0.0025), brake_threshold(0.25, 0.0025)
        (2, 5)
    """
    if not 0 < theta < 1:
        return None
    # Rounding must not add one where theta^k is alpha.
    return max(math.ceil(math.log(alpha) / math.log(theta) - 1e-9), 1)


def _smallest(holds: Callable[[float], bool], start: float) -> float:
    """Returns the smallest number that holds, rounded up. It must hold for all larger ones."""
    low, high = start / 2, start
    while not holds(high):
        low, high = high, 2 * high
        if high > _LARGEST:
            return math.inf
    while high == start and low > 1 / _LARGEST and holds(low):
        low, high, start = low / 2, low, low
    while high > low * (1 + _PRECISION):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _log_mean_exp(terms: list[float]) -> float:
    """Returns the logarithm of the mean of the numbers with these logarithms."""
    largest = max(terms)
    return largest + math.log(sum([math.exp(term - largest) for term in terms]) / len(terms))


def _exp(log: float) -> float:
    try:
        return math.exp(log)
    except OverflowError:
        return math.inf


# How many different users were seen, estimated from a HyperLogLog.
#
# Its registers are those of a sketch with 64-bit hashes and a precision of 12: the first 12 bits of
# a hash select a register, which keeps the largest rank, the position of the first 1 in the others.

#: The relative standard error of `cardinality`.
CARDINALITY_ERROR = 1.04 / math.sqrt(REGISTERS)

# A hash has 64 bits, of which 12 select the register.
_RANK_BITS = 52


def cardinality(ranks: Mapping[int, int]) -> float:
    """Returns how many different users a HyperLogLog of 4,096 registers has seen.

    `ranks` has the number of registers of each rank, 0 to 53. Registers that are left out have
    rank 0. The improved estimator of Ertl 2017 ("New cardinality estimation algorithms for
    HyperLogLog sketches", arXiv 1702.01284, algorithm 6), which has no ranges and no tables of
    corrections. Its relative standard error is CARDINALITY_ERROR, 1.6 %.

        >>> cardinality({})
        0.0
        >>> round(cardinality({1: 5, 2: 3, 4: 2}))
        10
    """
    counts = [ranks.get(rank, 0) for rank in range(_RANK_BITS + 2)]
    counts[0] = REGISTERS - sum(counts[1:])
    if counts[0] == REGISTERS:
        return 0.0
    total = REGISTERS * _tau(1 - counts[-1] / REGISTERS)
    for count in reversed(counts[1:-1]):
        total = (total + count) / 2
    total += REGISTERS * _sigma(counts[0] / REGISTERS)
    return REGISTERS * REGISTERS / (2 * math.log(2) * total) if total else math.inf


def share_error(users_inside: float, users_outside: float) -> float:
    """Returns the relative standard error of theta if both numbers come from `cardinality`.

    theta = a / (a + b), and the errors of a and b are independent, so by the delta method it is
    (1 - theta)·√2 times the error of one. 0 without users inside or outside.

        >>> round(share_error(50, 950), 4)
        0.0218
    """
    if not users_inside or not users_outside:
        return 0.0
    return CARDINALITY_ERROR * math.sqrt(2) * users_outside / (users_inside + users_outside)


def _sigma(x: float) -> float:
    """Returns x + Σ x^(2^k)·2^(k-1) for k from 1, the part of the empty registers."""
    weight, total, previous = 1.0, x, -1.0
    while total != previous:
        x *= x
        previous, total, weight = total, total + x * weight, 2 * weight
    return total


def _tau(x: float) -> float:
    """Returns (1 - x - Σ (1 - x^(2^-k))²·2^-k) / 3 for k from 1, the part of the full registers."""
    if x in {0, 1}:
        return 0.0
    weight, total, previous = 1.0, 1 - x, -1.0
    while total != previous:
        x, weight = math.sqrt(x), weight / 2
        previous, total = total, total - (1 - x) ** 2 * weight
    return total / 3


# What each run is given of the 5 %.

#: The probability that a harmless plan trips, and its parts: all guards, and the brake.
PLAN_ALPHA = 0.05
GUARDS_ALPHA, BRAKE_ALPHA = 0.04, 0.01
#: Above this percentage the brake is off: many first failures are all inside by chance.
BRAKE_PERCENT = 50


class RunAlpha(NamedTuple):
    """The probability of a false trip in a run: of each guard, and of the brake; 0 if it is off."""

    guard: float
    brake: float


def alpha_of_run(
    steps: Sequence[Step], index: int, guards: Sequence[Guard], number: int
) -> RunAlpha:
    """Returns the part of a run of the step with this index; `number` counts its runs from 1.

    >>> steps = [Step(5, 3600), Step(25, 3600), Step(60, 3600), Step(100, 0)]
    >>> alpha_of_run(steps, 0, [Guard("errors"), Guard("latency", seconds=1)], 1)
    RunAlpha(guard=0.0033333333333333335, brake=0.0025)
    >>> alpha_of_run(steps, 2, [Guard("errors")], 2)
    RunAlpha(guard=0.0022222222222222222, brake=0.0)
    """
    share = 1 / (number * (number + 1))
    percents = [step.percent for step in steps]
    compared = sum(percent < ALL for percent in percents)
    braked = sum(percent <= BRAKE_PERCENT for percent in percents)
    watching = len(numbered(guards))
    is_compared = watching and percents[index] < ALL
    return RunAlpha(
        GUARDS_ALPHA / (compared * watching) * share if is_compared else 0.0,
        BRAKE_ALPHA / braked * share if percents[index] <= BRAKE_PERCENT else 0.0,
    )
