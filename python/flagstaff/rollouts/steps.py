"""The steps of a rollout plan: percentages with dwell times. A plan stores them as texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from flagstaff._text import say
from flagstaff._text.times import duration
from flagstaff.exceptions import InvalidPlanError

#: The percentage at which no user is outside.
ALL = 100
_MAX_SECONDS = 365 * 86_400
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
    if seconds > _MAX_SECONDS:
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
