"""What a rollout plan is made of, parsed from the texts that it stores.

Steps are percentages with dwell times. Guards watch them: errors, latency, and functions of the
project.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal, cast

from django.utils.module_loading import import_string

from flagstaff._text import say
from flagstaff._text.times import SECONDS, duration
from flagstaff.exceptions import InvalidPlanError

#: The percentage at which no user is outside.
ALL = 100
_MAX_DWELL_SECONDS = 365 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEP = re.compile(r"(100|[1-9]\d?)\s*%?(?:\s*:\s*((?:\d{1,9}\s*[smhdw]\s*)+))?", re.ASCII)
_PART = re.compile(r"(\d+)\s*([smhdw])", re.ASCII)


@dataclass(frozen=True)
class Step:
    """One rollout percentage, and how long it stays at least."""

    percent: int
    seconds: float

    def __str__(self) -> str:
        """The step as it is written and stored, such as "5:1h"."""
        seconds, time = int(self.seconds), ""
        for unit, length in reversed(_UNITS.items()):
            count, seconds = divmod(seconds, length)
            time += f"{count}{unit}" if count else ""
        return f"{self.percent}:{time}" if time else f"{self.percent}"

    @property
    def text(self) -> str:
        """The step as a message, such as "5 % for 1 h"."""
        if not self.seconds:
            return say("{percent} %", percent=self.percent)
        return say("{percent} % for {time}", percent=self.percent, time=duration(self.seconds))


def parse_step(text: str) -> Step:
    """Parses a step such as "5:1h", "25:1d12h" or, for the last one, "100".

    Raises InvalidPlanError.
    """
    match = _STEP.fullmatch(text.strip())
    if match is None:
        raise InvalidPlanError(
            "{text} is not a step; write a percentage from 1 to 100 and a time in s, m, h, d or w, "
            "such as {step}",
            text=repr(text),
            step='"5:1h"',
        )
    percent, time = match.groups()
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(time or ""))
    if seconds > _MAX_DWELL_SECONDS:
        raise InvalidPlanError(
            "the time of step {percent} % must be at most 365 d", percent=percent
        )
    return Step(int(percent), seconds)


def parse_steps(texts: Iterable[str]) -> tuple[Step, ...]:
    """Parses the steps of a plan. Raises InvalidPlanError if they are not valid together."""
    steps = tuple(map(parse_step, texts))
    if not steps:
        raise InvalidPlanError('the plan has no steps; add one such as "5:1h"')
    for step in steps:
        # Only the last step may end at once: nothing can be measured in no time.
        if not step.seconds and step.percent < ALL:
            raise InvalidPlanError(
                "step {percent} % has no time; write for example {step}",
                percent=step.percent,
                step=f'"{step.percent}:1h"',
            )
    for before, after in pairwise(steps):
        if after.percent <= before.percent:
            raise InvalidPlanError(
                "step {percent} % follows {before} %; each step must be higher than the one before",
                percent=after.percent,
                before=before.percent,
            )
    return steps


@dataclass(frozen=True)
class Defaults:
    """The steps and the required users of a plan that names none, from so many users a day on."""

    users_a_day: int
    steps: tuple[Step, ...]
    required_users: int


#: Simulated: without harm nearly all of these plans end in their time. With five times as many
#: failures, where 1 % of the requests fail, none reached 100 %.
DEFAULTS = (
    Defaults(30_000, parse_steps(("1:1d", "5:1d", "25:1d", "50:1d", "100")), 100),
    Defaults(2_000, parse_steps(("5:1d", "25:1d", "50:1d", "100")), 100),
    Defaults(400, parse_steps(("25:1d", "50:2d", "100")), 100),
    Defaults(0, parse_steps(("25:1d", "50:2d", "100")), 50),
)
#: Those of a flag whose users were never counted.
USUAL = DEFAULTS[1]
#: With fewer users a day, a comparison finds little.
FEWEST_USERS = 200


def defaults_for(users_a_day: float | None) -> Defaults:
    """Returns the defaults for a number of users a day; None if it is not known."""
    if users_a_day is None:
        return USUAL
    return next(defaults for defaults in DEFAULTS if users_a_day >= defaults.users_a_day)


# Guards.

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


# What a step is judged by, and what follows from it, also as JSON. Pure.


Action = Literal["rollback", "hold"]

#: The name of the brake in `StepVerdict.trip`.
BRAKE = "brake"

#: Where networks are known, a trip needs this many more failing users inside than without: a person
#: at home has one network of IPv4 and one of IPv6.
SPARE_NETWORKS = 2


#: Outside, inside.
Sides = tuple[int, int]


@dataclass
class Tenth:
    """What was written of a guard in a tenth of the dwell time, outside and inside."""

    #: The users who failed first in it.
    users: Sides = (0, 0)
    #: The requests at risk, and those of them that failed.
    at_risk: Sides = (0, 0)
    failed: Sides = (0, 0)

    def __add__(self, other: Tenth) -> Tenth:
        return Tenth(
            _sum(self.users, other.users),
            _sum(self.at_risk, other.at_risk),
            _sum(self.failed, other.failed),
        )


def _sum(first: Sides, second: Sides) -> Sides:
    return first[0] + second[0], first[1] + second[1]


@dataclass(frozen=True)
class GuardCounts:
    """The numbers of users who failed a guard in this step, each counted once."""

    inside: int = 0
    outside: int = 0
    #: Those who do not count, because another user of their network failed first.
    left_out: int = 0
    #: Visitors inside who failed, and those of them whose cookie is younger than the run.
    visitors: int = 0
    new_visitors: int = 0
    #: By the number of the tenth, from 0. 10 and more are those after the dwell time.
    tenths: Mapping[int, Tenth] = field(default_factory=dict)


@dataclass(frozen=True)
class StepEvidence:
    """What the workers have counted in one stretch of measuring."""

    #: The users seen, estimated by `statistics.cardinality`.
    users_inside: float
    users_outside: float
    #: The relative standard error of the share of users inside, see `statistics.share_error`.
    theta_error: float
    #: By number of the guard; 0 is errors.
    failed: Mapping[int, GuardCounts]
    #: Requests and tasks outside and inside.
    requests: tuple[int, int]
    lost_workers: int = 0
    #: Whether a worker that counts for plans lives.
    has_workers: bool = True
    #: Counts that a worker has dropped because its memory for them was full.
    dropped: int = 0
    #: Users who were seen and do not count, because others of their networks came first.
    left_out: float = 0.0
    #: The number of failing users inside that a trip must not depend on.
    spare: int = 0
    #: When the run began.
    began_at: datetime | None = None


@dataclass(frozen=True)
class Comparison:
    """What the failing users, or the failing requests at risk, say about one guard."""

    #: "users" or "requests".
    by: str
    #: Those who failed. A user whose requests failed in several workers counts once, so the numbers
    #: of requests have fractions.
    inside: float
    outside: float
    #: The share inside of all users, or of all requests at risk.
    share: float
    #: How many times as often those inside fail; None without failures.
    ratio: float | None
    #: The evidence of harm, and logarithms of its parts by the tenth from which on failures count.
    e_value: float
    log_e_values: tuple[float, ...]
    #: The always-valid upper bound of the ratio; inf without enough failures.
    upper: float
    #: The ratio that more requests explain, up to which the number of users passes.
    explained: float
    passed: bool


@dataclass(frozen=True)
class GuardResult:
    """What the evidence says about one guard: by the comparisons that decide."""

    number: int
    name: str
    failed: GuardCounts
    #: The requests at risk outside and inside, and those of them that failed.
    at_risk: Sides
    failed_at_risk: Sides
    #: All comparisons that are possible, and the names of those that decide.
    comparisons: tuple[Comparison, ...]
    decides: tuple[str, ...]
    #: That of the first of these.
    ratio: float | None
    #: The smallest of these. It trips at the threshold.
    e_value: float
    threshold: float
    #: The largest of these.
    upper: float
    #: The step passes if the upper bound is below.
    limit: float
    tripped: bool
    passed: bool
    #: Where the number of users passes: the smallest ratio that would have tripped in 4 of 5 cases.
    #: None without failures.
    smallest_harm: float | None = None
    #: The share of the users outside who have failed, if it is so high that users show little.
    failed_share: float | None = None
    #: The tenth since which there are signs of harm.
    harm_since: int | None = None


@dataclass(frozen=True)
class StepVerdict:
    """Whether a step trips, passes or holds, and why."""

    evidence: StepEvidence
    #: The name of the guard that tripped, or "brake".
    trip: str | None
    trip_action: Action | None
    #: Whether the next step may follow once the dwell time has ended.
    passed: bool
    #: A message for people.
    why: str
    guards: tuple[GuardResult, ...] = ()
    #: The number of failing users inside that trips the brake if none fails outside; None if off.
    brake: int | None = None

    def figures(self) -> dict[str, Any]:
        """Returns the counts and the verdict as a dict for JSON, which has no infinity: None."""
        evidence, members = self.evidence, asdict(self)
        del members["evidence"], members["why"]
        outside, inside = evidence.requests
        figures = {
            "users_inside": round(evidence.users_inside),
            "users_outside": round(evidence.users_outside),
            "requests_inside": inside,
            "requests_outside": outside,
            "lost_workers": evidence.lost_workers,
            "has_workers": evidence.has_workers,
            "dropped": evidence.dropped,
            "left_out": round(evidence.left_out),
            **members,
        }
        return cast("dict[str, Any]", _finite(figures))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(member) for member in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
