"""The 5 % of false trips that a plan may have, and the part that each run is given. Pure.

A run is given its part when it begins, for new evidence only. Without harm it then trips with this
probability at most, however often and by whom it is looked at (Ville's inequality). The parts of
all runs together are at most 5 %, so by Boole's inequality a plan without harm ever trips with a
probability of at most 5 %. It does not matter how often its steps start again, nor whether the
evidence of two runs is about the same users.

The e-values of two runs are not multiplied: a user who fails in both would count twice. So what
a run did not use is lost. What keeps every run useful is a reserve of 0.2 %. If its steps have
nothing left, a run takes half of the unused share of the reserve, times what is unused. These parts
decrease as 1/n², not as 2⁻ⁿ, so after a hundred restarts a trip still needs only 3.5 times as many
failures as at the start.

Boole's inequality needs parts that do not depend on what was seen: steps and guards of a plan do
not change, so a part depends only on how many runs were before.

After a trip by these guards a plan has all 5 % again: a plan without harm that has tripped is one
of the 5 % already.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flagstaff.rollouts.guards import Guard, numbered
from flagstaff.rollouts.steps import Step

__all__ = [
    "BRAKE_ALPHA",
    "BRAKE_PERCENT",
    "GUARDS_ALPHA",
    "PLAN_ALPHA",
    "RESERVE_ALPHA",
    "RunAlpha",
    "alpha_of_next_run",
    "brake_alpha",
    "guard_alpha",
]

#: The probability that a harmless plan trips, and its parts: the brake, all guards, the reserve.
PLAN_ALPHA = 0.05
BRAKE_ALPHA = 0.008
GUARDS_ALPHA = 0.04
RESERVE_ALPHA = 0.002
#: Above this percentage the brake is off: many first failures are all inside by chance.
BRAKE_PERCENT = 50

_ALL = 100
# The part of the reserve that is for the guards; the brake has the rest.
_OF_GUARDS = 0.8


class RunAlpha(NamedTuple):
    """The probability of a false trip that a run is given: all guards together, and the brake."""

    guards: float
    brake: float


def alpha_of_next_run(
    steps: Sequence[Step],
    index: int,
    guards: Sequence[Guard],
    given: RunAlpha,
) -> RunAlpha:
    """Returns what a run of the step with this index is given; `given` is the sum of those before.

    What remains is divided by the number of steps from this one to the last, so a plan whose steps
    begin once gives each step the same part.

        >>> steps = [Step(5, 3600), Step(25, 3600), Step(50, 3600), Step(100, 0)]
        >>> alpha_of_next_run(steps, 1, [Guard("errors")], RunAlpha(0.02, 0.004))
        RunAlpha(guards=0.01, brake=0.002)
        >>> round(alpha_of_next_run(steps, 2, [Guard("errors")], RunAlpha(0.04, 0.008)).guards, 6)
        0.0008
    """
    ahead = steps[index:]
    compared, braked = _compared(ahead), _braked(ahead)
    watched = len(numbered(guards)) if steps[index].percent < _ALL else 0
    brakes = steps[index].percent <= BRAKE_PERCENT
    reserve = RESERVE_ALPHA * _OF_GUARDS
    return RunAlpha(
        _part(GUARDS_ALPHA - given.guards, compared, reserve) if watched else 0.0,
        _part(BRAKE_ALPHA - given.brake, braked, RESERVE_ALPHA - reserve) if brakes else 0.0,
    )


def brake_alpha(steps: Sequence[Step]) -> float:
    """Returns the brake's probability of a false trip in each step up to 50 % that begins once.

    0.8 % divided by the number of those steps.

        >>> brake_alpha([Step(5, 3600), Step(50, 3600), Step(100, 3600)])
        0.004
    """
    return BRAKE_ALPHA / max(_braked(steps), 1)


def guard_alpha(steps: Sequence[Step], guards: Sequence[Guard]) -> float:
    """Returns a guard's probability of a false trip in each step below 100 % that begins once.

    4 % divided by the number of statistical guards and of those steps.

        >>> guard_alpha([Step(5, 3600), Step(100, 3600)], [Guard("errors")])
        0.04
    """
    return GUARDS_ALPHA / max(len(numbered(guards)) * _compared(steps), 1)


def _part(left: float, steps: int, reserve: float) -> float:
    """Returns a part of what is left, or of the reserve if that is more.

    `left` is negative once a part of the reserve was given. The result is never more than `left`
    and the reserve together, and never 0 unless SQL has written more than both.
    """
    unused = min(max(left + reserve, 0.0), reserve)
    return max(left / steps, unused / 2 * unused / reserve)


def _compared(steps: Sequence[Step]) -> int:
    return sum(step.percent < _ALL for step in steps)


def _braked(steps: Sequence[Step]) -> int:
    return sum(step.percent <= BRAKE_PERCENT for step in steps)
