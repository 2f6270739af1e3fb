"""Functions that the tests of usage run in a worker, by the command "call"."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

import flagstaff
from flagstaff._engine.usage import usage
from flagstaff.admin.user_flags.evaluated import evaluated_flags

_held: list[Any] = []


def report() -> Any:
    """The result of `flagstaff.usage()`, as JSON."""
    found = json.loads(json.dumps(usage().as_dict(), default=str))
    connection.close()
    return found


def evaluate_each(keys: list[str]) -> int:
    """Evaluates each key once, and returns the number of True results."""
    return sum(flagstaff.flag_enabled(key) for key in keys)


def hold() -> None:
    """Holds the current snapshot."""
    _held.append(flagstaff.snapshot())


def evaluate_held(key: str, times: int) -> int:
    """Evaluates from the held snapshot, and returns the number of True results."""
    return sum(_held[0].flag_enabled(key) for _ in range(times))


def read_in_every_other_way(key: str) -> None:
    """Calls every function that reads a flag without counting as an evaluation."""
    flagstaff.explain(key, 1)
    flagstaff.all_flags(1)
    flagstaff.snapshot().all_flags(1)
    flagstaff.snapshot().explain(key, 1)
    evaluated_flags([key], 1, {})
    flagstaff.get_value("gateway")
    flagstaff.status()


def usage_problem() -> str | None:
    """Why usage is not collected."""
    return flagstaff.status().usage_problem
