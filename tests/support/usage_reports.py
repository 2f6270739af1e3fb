"""Functions that the tests of usage run in a worker, by the command "call"."""

from collections.abc import Callable

from django.test import RequestFactory

import flagstaff
from flagstaff.views import client_flags


def evaluate_each(keys: list[str]) -> int:
    """Evaluates each key once, and returns the number of True results."""
    return sum(flagstaff.flag_enabled(key) for key in keys)


def read_in_every_other_way(key: str) -> None:
    """Calls every function that reads a flag without counting as an evaluation."""
    flagstaff.explain(key, 1)
    flagstaff.snapshot().explain(key, 1)
    with flagstaff.read_own_writes():
        flagstaff.snapshot().explain(key, 1)
    flagstaff.get_value("gateway")
    flagstaff.status()


def serve(*kinds: str) -> None:
    """Serves flags in bulk, or evaluates one."""
    for kind in kinds:
        _KINDS[kind]()


def values_of(key: str, users: int) -> list[object]:
    """Evaluates a value for the users 1 to `users`, and for none."""
    return [flagstaff.get_value(key, user=user or None) for user in range(users + 1)]


def _own_writes() -> None:
    with flagstaff.read_own_writes():
        flagstaff.all_flags(1)


_KINDS: dict[str, Callable[[], object]] = {
    "single": lambda: flagstaff.flag_enabled("new_checkout", 1),
    "all": lambda: flagstaff.all_flags(1),
    "held": lambda: flagstaff.snapshot().all_flags(1),
    "browsers": lambda: client_flags(RequestFactory().get("/")),
    "own writes": _own_writes,
}
