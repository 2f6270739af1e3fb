"""How the 5 % of false trips of a whole plan are divided. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from flagstaff.rollouts.guards import Guard
from flagstaff.rollouts.steps import Step

__all__ = [
    "BRAKE_ALPHA",
    "BRAKE_PERCENT",
    "ERRORS",
    "GUARDS_ALPHA",
    "PLAN_ALPHA",
    "brake_alpha",
    "guard_alpha",
    "guard_name",
    "numbered",
]

#: The probability that a harmless plan trips, and the parts of the brake and of all guards.
PLAN_ALPHA = 0.05
BRAKE_ALPHA = 0.01
GUARDS_ALPHA = 0.04
#: Above this percentage the brake is off: many first failures are all inside by chance.
BRAKE_PERCENT = 50
#: The number of the guard of errors, whose failures are always counted.
ERRORS = 0

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


def numbered(guards: Sequence[Guard]) -> list[tuple[int, Guard]]:
    """Returns the statistical guards with the numbers that their failures are counted under.

    >>> [number for number, _ in numbered([Guard("callable"), Guard("latency", seconds=1)])]
    [2]
    """
    return [
        (ERRORS if guard.kind == "errors" else index + 1, guard)
        for index, guard in enumerate(guards)
        if guard.kind != "callable"
    ]


def guard_name(guard: Guard) -> str:
    """Returns the name of a guard in sentences: "errors", "latency over 0.5 s", or its path.

    >>> guard_name(Guard("latency", seconds=0.5))
    'latency over 0.5 s'
    """
    if guard.kind == "latency":
        return f"latency over {guard.seconds:g} s"
    return guard.path or guard.kind
