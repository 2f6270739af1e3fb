"""The steps of a rollout plan: percentages with dwell times."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from flagstaff._words.text import Text
from flagstaff._words.times import duration
from flagstaff.exceptions import InvalidPlanError

#: The percentage at which no user is outside.
ALL = 100
_MAX_SECONDS = 365 * 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_STEP = re.compile(r"(\d{1,3})\s*%?(?:\s*:\s*((?:\d{1,9}\s*[smhdw]\s*)+))?", re.ASCII)
_PART = re.compile(r"(\d+)\s*([smhdw])", re.ASCII)


@dataclass(frozen=True)
class Step:
    """One rollout percentage, and how long it stays at least."""

    percent: int
    seconds: float

    def __str__(self) -> str:
        """The step as it is written, such as "5:1h"."""
        seconds, time = int(self.seconds), ""
        for unit, length in reversed(_UNITS.items()):
            count, seconds = divmod(seconds, length)
            time += f"{count}{unit}" if count else ""
        return f"{self.percent}:{time}" if time else f"{self.percent}"

    @property
    def text(self) -> str:
        """The step as a message, such as "5 % for 1 h"."""
        if not self.seconds:
            return Text("{percent} %", percent=self.percent)
        return Text("{percent} % for {time}", percent=self.percent, time=duration(self.seconds))


#: The steps of a plan that names none. Those up to the present rollout are left out.
DEFAULT_STEPS = (
    Step(1, 3600),
    Step(5, 21_600),
    Step(25, 86_400),
    Step(50, 86_400),
    Step(100, 86_400),
)


def parse_step(text: str) -> Step:
    """Parses a step such as "5:1h", "25:1d12h" or, for the last one, "100".

    Raises InvalidPlanError.
    """
    match = _STEP.fullmatch(text.strip())
    if match is None:
        raise InvalidPlanError(
            "{text} is not a step; write a percentage and a time in s, m, h, d or w, such as "
            "{step}",
            text=repr(text),
            step='"5:1h"',
        )
    percent, time = match.groups()
    seconds = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(time or ""))
    return Step(int(percent), seconds)


def valid_steps(given: Iterable[Step | str]) -> tuple[Step, ...]:
    """Returns the steps of a plan. Raises InvalidPlanError if they are not valid together."""
    steps = tuple(parse_step(one) if isinstance(one, str) else one for one in given)
    if not steps:
        raise InvalidPlanError('the plan has no steps; add one such as "5:1h"')
    for step in steps:
        _require_valid(step, is_last=step is steps[-1])
    for before, after in pairwise(steps):
        if after.percent <= before.percent:
            raise InvalidPlanError(
                "step {percent} % follows {before} %; each step must be higher than the one before",
                percent=after.percent,
                before=before.percent,
            )
    return steps


def steps_as_json(steps: Iterable[Step]) -> list[dict[str, float]]:
    """Returns the steps as the plan stores them."""
    return [{"percent": step.percent, "seconds": step.seconds} for step in steps]


def steps_from_json(stored: Any) -> tuple[Step, ...]:
    """Returns the steps that a plan has stored. Raises InvalidPlanError if they are not valid."""
    try:
        return valid_steps([Step(one["percent"], one["seconds"]) for one in stored])
    except (TypeError, LookupError) as error:
        raise InvalidPlanError(
            "the steps that the plan has stored cannot be read; create the plan again"
        ) from error


def _require_valid(step: Step, *, is_last: bool) -> None:
    percent, seconds = step.percent, step.seconds
    if type(percent) is not int or not 1 <= percent <= ALL:
        raise InvalidPlanError(
            "the percentage {value} is not a whole number from 1 to 100", value=repr(percent)
        )
    if not 0 <= seconds <= _MAX_SECONDS:
        raise InvalidPlanError(
            "the time of step {percent} % must be at most 365 d", percent=percent
        )
    # Only the last step may end at once: nothing can be measured in no time.
    if not seconds and not (is_last and percent == ALL):
        example = f'"{percent}:1h"'
        raise InvalidPlanError(
            "step {percent} % has no time; write for example {step}", percent=percent, step=example
        )
