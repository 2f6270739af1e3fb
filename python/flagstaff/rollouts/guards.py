"""The guards of a rollout plan: errors, latency, and functions of the project.

A plan stores them as texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.utils.module_loading import import_string

from flagstaff._text import say
from flagstaff._text.times import SECONDS
from flagstaff.exceptions import InvalidPlanError

ERRORS, LATENCY, FUNCTION = "errors", "latency", "function"
#: The number of the guard of errors, whose failures are always counted.
ERROR_NUMBER = 0
_ACTIONS = ("rollback", "hold")
_MAX_LIMIT, _MAX_SECONDS = 1000, 3600


@dataclass(frozen=True)
class Guard:
    """A condition that a plan watches: "errors", "latency" or "function"."""

    kind: str
    #: The step passes if users inside fail less than this many times as often as those outside.
    limit: float = 2.0
    #: What a trip does: "rollback" or "hold".
    action: str = "rollback"
    #: A slower request counts as a failure of a latency guard.
    seconds: float | None = None
    #: The dotted path of a function guard.
    path: str | None = None

    def __str__(self) -> str:
        """The guard as it is written and stored, such as "errors,limit=2,action=rollback"."""
        if self.kind == FUNCTION:
            return f"{FUNCTION}={self.path},action={self.action}"
        target = f"={_plain(self.seconds or 0)}" if self.kind == LATENCY else ""
        return f"{self.kind}{target},limit={_plain(self.limit)},action={self.action}"


def parse_guard(text: str) -> Guard:
    """Parses a guard such as "errors", "latency=0.5,limit=1.5" or "function=shop.guards.orders".

    The options after the first comma are limit and action. Raises InvalidPlanError.
    """
    first, *options = (part.strip() for part in text.split(","))
    kind, _, value = (part.strip() for part in first.partition("="))
    if kind not in {ERRORS, LATENCY, FUNCTION} or (kind == ERRORS) == bool(value):
        raise InvalidPlanError(
            '{text} is not a guard; write "errors", "latency=0.5" (in seconds) or '
            '"function=shop.guards.orders"',
            text=repr(text),
        )
    guard = Guard(kind, path=value if kind == FUNCTION else None)
    if kind == LATENCY:
        guard = replace(guard, seconds=_number(value, text, 0, _MAX_SECONDS))
    for option in options:
        name, _, value = (part.strip() for part in option.partition("="))
        if name == "limit":
            guard = replace(guard, limit=_number(value, text, 1, _MAX_LIMIT))
        elif name == "action" and value in _ACTIONS:
            guard = replace(guard, action=value)
        else:
            raise InvalidPlanError(
                "{option} of {text} is not an option of a guard; write limit=2, action=rollback or "
                "action=hold",
                option=repr(option),
                text=repr(text),
            )
    return guard


def parse_guards(texts: Iterable[str]) -> tuple[Guard, ...]:
    """Parses the guards of a plan. Raises InvalidPlanError if one is not valid or given twice."""
    guards = tuple(map(parse_guard, texts))
    targets = [(guard.kind, guard.seconds, guard.path) for guard in guards]
    for target, guard in zip(targets, guards, strict=True):
        if targets.count(target) > 1:
            raise InvalidPlanError(
                'the guard "{guard}" is given twice; remove one', guard=str(guard)
            )
    return guards


def require_functions(guards: Iterable[Guard]) -> None:
    """Imports the functions of function guards. Raises InvalidPlanError if that fails."""
    for guard in guards:
        if guard.kind != FUNCTION:
            continue
        path = repr(guard.path)
        try:
            function = import_string(guard.path or "")
        except Exception as error:  # the project's own module may raise anything
            text = f"{type(error).__name__}: {error}"
            problem = say(
                "the guard {guard} cannot be imported: {text}; correct its path",
                guard=path,
                text=text,
            )
            raise InvalidPlanError(problem) from error
        if not callable(function):
            raise InvalidPlanError(
                "the guard {guard} is not a function; correct its path", guard=path
            )


def latency_limits(guards: Sequence[Guard]) -> dict[str, float]:
    """Returns the limits of latency guards in seconds, by the number of the guard."""
    return {
        str(number): guard.seconds
        for number, guard in numbered(guards)
        if guard.seconds is not None
    }


def numbered(guards: Sequence[Guard]) -> list[tuple[int, Guard]]:
    """Returns the statistical guards with the numbers that their failures are counted under.

    >>> [number for number, _ in numbered([Guard("function"), Guard("latency", seconds=1)])]
    [2]
    """
    return [
        (ERROR_NUMBER if guard.kind == ERRORS else place, guard)
        for place, guard in enumerate(guards, 1)
        if guard.kind != FUNCTION
    ]


def guard_name(guard: Guard) -> str:
    """Returns the name of a guard in messages: "errors", "latency over 0.5 s", or its path.

    >>> guard_name(Guard("latency", seconds=0.5))
    'latency over 0.5 s'
    """
    if guard.kind == LATENCY:
        seconds = say(SECONDS, count=_plain(guard.seconds or 0))
        return say("latency over {seconds}", seconds=seconds)
    return say("errors") if guard.kind == ERRORS else guard.path or guard.kind


def _number(value: str, text: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = low
    # A comparison with NaN is false.
    if low < number <= high:
        return number
    raise InvalidPlanError(
        "{value} of {text} is not valid; write a number above {low} and up to {high}",
        value=repr(value),
        text=repr(text),
        low=low,
        high=high,
    )


def _plain(number: float) -> float:
    """Returns a number that is shown without decimals if it has none."""
    return int(number) if number == int(number) else number
