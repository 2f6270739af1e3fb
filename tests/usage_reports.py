"""What workers of the tests of usage are told to do, by the command "call"."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection

import flagstaff
from flagstaff._engine.usage import usage

__all__ = [
    "ask_each",
    "ask_held",
    "hold",
    "look_in_every_other_way",
    "report",
    "uncollected",
]

_held: list[Any] = []


def report() -> Any:
    """What `flagstaff.usage()` gives, as JSON."""
    found = json.loads(json.dumps(usage().as_dict(), default=str))
    connection.close()
    return found


def ask_each(keys: list[str]) -> int:
    """Ask for each of them once; how many answers were yes."""
    return sum(flagstaff.flag_enabled(key) for key in keys)


def hold() -> None:
    """Keep this moment."""
    _held.append(flagstaff.snapshot())


def ask_held(key: str, times: int) -> int:
    """Ask the moment that is kept; how many answers were yes."""
    return sum(_held[0].flag_enabled(key) for _ in range(times))


def look_in_every_other_way(key: str) -> None:
    """Everything that looks at a flag, and asks no question of a program."""
    flagstaff.explain(key, 1)
    flagstaff.all_flags(1)
    flagstaff.snapshot().all_flags(1)
    flagstaff.snapshot().explain(key, 1)
    flagstaff.get_value("gateway")
    flagstaff.status()


def uncollected() -> str | None:
    """Why it is not written down what is asked."""
    return flagstaff.status().uncollected
