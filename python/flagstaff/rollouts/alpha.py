"""How the 5 % of false trips of a whole plan are divided. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flagstaff.rollouts.guards import Guard, numbered
from flagstaff.rollouts.steps import Step

__all__ = [
    "BRAKE_ALPHA",
    "BRAKE_PERCENT",
    "GUARDS_ALPHA",
    "PLAN_ALPHA",
    "brake_alpha",
    "guard_alpha",
]

#: The probability that a harmless plan trips, and the parts of the brake and of all guards.
PLAN_ALPHA = 0.05
BRAKE_ALPHA = 0.01
GUARDS_ALPHA = 0.04
#: Above this percentage the brake is off: many first failures are all inside by chance.
BRAKE_PERCENT = 50

_ALL = 100


def brake_alpha(steps: Sequence[Step]) -> float:
    """Returns the brake's probability of a false trip in each step up to 50 %.

    1 % divided by the number of those steps, so by Boole's inequality 1 % for the plan.

        >>> brake_alpha([Step(5, 3600), Step(50, 3600), Step(100, 3600)])
        0.005
    """
    return BRAKE_ALPHA / max(sum(step.percent <= BRAKE_PERCENT for step in steps), 1)


def guard_alpha(steps: Sequence[Step], guards: Sequence[Guard]) -> float:
    """Returns a guard's probability of a false trip in each step below 100 %.

    4 % divided by the number of statistical guards and of those steps (Boole's inequality).

        >>> guard_alpha([Step(5, 3600), Step(100, 3600)], [Guard("errors")])
        0.04
    """
    compared = sum(step.percent < _ALL for step in steps)
    return GUARDS_ALPHA / max(len(numbered(guards)) * compared, 1)
