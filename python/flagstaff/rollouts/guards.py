"""The guards of a rollout plan: errors, latency, and functions of the project."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

from django.utils.module_loading import import_string

from flagstaff._words.text import Text
from flagstaff._words.times import SECONDS
from flagstaff.exceptions import InvalidPlanError

ERRORS, LATENCY, FUNCTION = "errors", "latency", "function"
#: The number of the guard of errors, whose failures are always counted.
ERROR_NUMBER = 0
_ACTIONS = ("rollback", "hold")
# The kind → the field that the text after "=" belongs to.
_FIELDS = {ERRORS: "", LATENCY: "seconds", FUNCTION: "path"}
# The largest ratio that the statistics look for.
_MAX_TOLERATED = 20
_MAX_SECONDS = 3600


@dataclass(frozen=True)
class Guard:
    """A condition that a plan watches: "errors", "latency" or "function"."""

    kind: str
    #: The step passes if users inside fail less than this many times as often as those outside.
    limit: float = 2.0
    #: Up to this ratio of inside to outside, failures are no harm.
    tolerated: float = 1.0
    #: What a trip does: "rollback" or "hold".
    action: str = "rollback"
    #: A slower request counts as a failure of a latency guard.
    seconds: float | None = None
    #: The dotted path of a function guard.
    path: str | None = None

    def __str__(self) -> str:
        target = {LATENCY: f"={self.seconds or 0:g}", FUNCTION: f"={self.path}"}.get(self.kind, "")
        numbers = "" if self.kind == FUNCTION else f",limit={self.limit:g}"
        tolerated = f",tolerated={self.tolerated:g}" if self.tolerated != 1 else ""
        return f"{self.kind}{target}{numbers}{tolerated},action={self.action}"


def parse_guard(text: str) -> Guard:
    """Parses a guard such as "errors", "latency=0.5,limit=1.5" or "function=shop.guards.orders".

    The options after the first comma are limit, tolerated and action. Raises InvalidPlanError.
    """
    first, *options = (part.strip() for part in text.split(","))
    kind, _, value = (part.strip() for part in first.partition("="))
    field = _FIELDS.get(kind)
    if field is None or bool(field) != bool(value):
        raise InvalidPlanError(
            '{text} is not a guard; write "errors", "latency=0.5" (in seconds) or '
            '"function=shop.guards.orders"',
            text=repr(text),
        )
    guard = Guard(kind, seconds=None, path=value if field == "path" else None)
    if field == "seconds":
        guard = replace(guard, seconds=_number(value, text))
    for option in options:
        guard = _with_option(guard, option, text)
    return guard


def valid_guards(given: Iterable[Guard | str]) -> tuple[Guard, ...]:
    """Returns the guards of a plan. Raises InvalidPlanError if one is not valid.

    Imports the functions of function guards.
    """
    guards = tuple(parse_guard(one) if isinstance(one, str) else one for one in given)
    for guard in guards:
        _require_valid(guard)
    targets = [(guard.kind, guard.seconds, guard.path) for guard in guards]
    for target, guard in zip(targets, guards, strict=True):
        if targets.count(target) > 1:
            raise InvalidPlanError(
                'the guard "{guard}" is given twice; remove one', guard=str(guard)
            )
    return guards


def guards_as_json(guards: Iterable[Guard]) -> list[dict[str, Any]]:
    """Returns the guards as the plan stores them, without fields of other kinds."""
    return [
        {name: value for name, value in asdict(guard).items() if value is not None}
        for guard in guards
    ]


def guards_from_json(stored: Any) -> tuple[Guard, ...]:
    """Returns the guards that a plan has stored. Raises InvalidPlanError if they are not valid.

    Does not import the functions of function guards.
    """
    try:
        guards = tuple(Guard(**one) for one in stored)
        for guard in guards:
            _require_valid_fields(guard)
    except TypeError as error:
        raise InvalidPlanError(
            "the guards that the plan has stored cannot be read; create the plan again"
        ) from error
    return guards


def latency_limits(guards: Sequence[Guard]) -> dict[str, float]:
    """Returns the limits of latency guards in seconds, by the number of the guard."""
    return {
        str(number): guard.seconds
        for number, guard in numbered(guards)
        if guard.kind == LATENCY and guard.seconds is not None
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
        return Text("latency over {seconds}", seconds=seconds_text(guard))
    return Text("errors") if guard.kind == ERRORS else guard.path or guard.kind


def seconds_text(guard: Guard) -> str:
    """Returns the time of a latency guard, such as "0.5 s"."""
    return Text(SECONDS, count=_plain(guard.seconds or 0))


def _with_option(guard: Guard, option: str, text: str) -> Guard:
    name, _, value = (part.strip() for part in option.partition("="))
    if name == "action":
        return replace(guard, action=value)
    if name == "limit":
        return replace(guard, limit=_number(value, text))
    if name == "tolerated":
        return replace(guard, tolerated=_number(value, text))
    raise InvalidPlanError(
        "{option} of {text} is not an option of a guard; write limit=2, tolerated=1 or action=hold",
        option=repr(option),
        text=repr(text),
    )


def _number(value: str, text: str) -> float:
    try:
        return float(value)
    except ValueError as error:
        problem = Text(
            "{value} of {text} is not a number; write a number such as 1.5",
            value=repr(value),
            text=repr(text),
        )
        raise InvalidPlanError(problem) from error


def _plain(number: float) -> float:
    """Returns a number that is shown without decimals if it has none."""
    return int(number) if number == int(number) else number


def _require_valid(guard: Guard) -> None:
    _require_valid_fields(guard)
    if guard.kind == FUNCTION:
        _require_function(guard)


def _require_valid_fields(guard: Guard) -> None:
    if guard.action not in _ACTIONS:
        raise InvalidPlanError(
            'the action of the guard "{guard}" is neither "rollback" nor "hold"; choose one',
            guard=str(guard),
        )
    if guard.kind == FUNCTION:
        return
    if guard.kind not in (ERRORS, LATENCY):
        raise InvalidPlanError(
            '{kind} is not a kind of guard; write "errors", "latency=0.5" (in seconds) or '
            '"function=shop.guards.orders"',
            kind=repr(guard.kind),
        )
    # A comparison with NaN is false.
    if not 1 <= guard.tolerated < _MAX_TOLERATED:
        raise InvalidPlanError(
            'the option tolerated of the guard "{guard}" is not valid; write a number of at least '
            "1 and below {limit}",
            guard=str(guard),
            limit=_MAX_TOLERATED,
        )
    if not (guard.limit > guard.tolerated and isfinite(guard.limit)):
        least = _plain(guard.tolerated)
        raise InvalidPlanError(
            'the option limit of the guard "{guard}" is not valid; write a number above '
            "tolerated, which is {least}",
            guard=str(guard),
            least=least,
        )
    if guard.kind == LATENCY and not 0 < (guard.seconds or 0) <= _MAX_SECONDS:
        raise InvalidPlanError(
            'the time of the guard "{guard}" is not valid; write seconds above 0 and up to {limit}',
            guard=str(guard),
            limit=_MAX_SECONDS,
        )


def _require_function(guard: Guard) -> None:
    path = repr(guard.path)
    try:
        function = import_string(guard.path or "")
    except Exception as error:  # the project's own module may raise anything
        text = f"{type(error).__name__}: {error}"
        problem = Text(
            "the guard {guard} cannot be imported: {text}; correct its path", guard=path, text=text
        )
        raise InvalidPlanError(problem) from error
    if not callable(function):
        raise InvalidPlanError("the guard {guard} is not a function; correct its path", guard=path)
