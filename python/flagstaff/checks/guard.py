"""The condition of all checks except those of the settings themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.core.checks import CheckMessage

from flagstaff.conf import conf

__all__ = ["Check", "with_valid_settings"]

Check = Callable[..., list[CheckMessage]]


def with_valid_settings(check: Check) -> Check:
    """Skips a check while the settings are invalid, which E001 and E002 report."""

    @wraps(check)
    def checked(**kwargs: object) -> list[CheckMessage]:
        return [] if conf.problems() else check(**kwargs)

    return checked
