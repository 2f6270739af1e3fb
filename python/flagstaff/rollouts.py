"""What may be the rollout of a flag."""

from __future__ import annotations

from flagstaff.exceptions import InvalidChangeError

__all__ = ["EVERYONE", "is_percent", "require_percent"]

EVERYONE = 100


def is_percent(number: object) -> bool:
    """Whether this is a whole number from 0 to 100; True and False are none."""
    return type(number) is int and 0 <= number <= EVERYONE


def require_percent(number: object) -> None:
    """Raise InvalidChangeError where this is no whole number from 0 to 100."""
    if not is_percent(number):
        raise InvalidChangeError(
            f"a rollout percent is a whole number from 0 to {EVERYONE}, not {number!r}"
        )
