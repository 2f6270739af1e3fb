"""The 5 % of false trips that a plan may have, and the part that each run is given. Pure.

The guards share 4 % and the brake has 1 %, in equal parts over the steps in which they compare.
Run n of a step is given 1/(n(n + 1)) of its part: 1/2, 1/6, 1/12, …, whose sum is 1. Without harm a
run trips with the probability that it is given at most, however often it is looked at (Ville's
inequality). That holds whenever the run begins, also because of what the runs before have shown,
since n depends on the past only. All together are given at most 5 %, so a plan without harm ever
trips with a probability of at most 5 % (Boole's inequality), whatever its runs have in common.

The e-values of two runs are not multiplied: a user who fails in both would count twice. Parts that
decrease as 1/n² keep a step useful that lost workers have started again a hundred times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flagstaff.rollouts.guards import Guard, numbered
from flagstaff.rollouts.steps import ALL, Step

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
