"""The system check of the function that limits requests."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage

from flagstaff.checks.check import Check, Problem
from flagstaff.checks.settings import path_problems
from flagstaff.conf import conf
from flagstaff.contrib.ofrep.settings import OFREP


def _missing_limit() -> Iterator[Problem]:
    for problem, hint in path_problems(OFREP.current().limit, "a number of seconds, or None"):
        yield Problem(f'FLAGSTAFF["OFREP"] names {problem}', hint=hint)


def check_limit() -> list[CheckMessage]:
    """Names a function in LIMIT that does not exist: no request would be limited."""
    return [] if conf.problems() else [*Check("flagstaff.E053", _missing_limit).messages()]
