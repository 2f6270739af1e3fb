"""The system check of the function that limits requests."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error

from flagstaff.checks.settings import path_problems
from flagstaff.conf import conf
from flagstaff.contrib.ofrep.settings import OFREP


def check_limit() -> list[CheckMessage]:
    """Names a function in LIMIT that does not exist: no request would be limited."""
    if conf.problems():
        return []
    problems = path_problems(OFREP.current().limit, "a number of seconds, or None")
    return [
        Error(f'FLAGSTAFF["OFREP"] names {problem}', hint=hint, id="flagstaff.E053")
        for problem, hint in problems
    ]
