"""What every check but those of the settings takes for granted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.checks import CheckMessage

from flagstaff.conf import conf

__all__ = ["Check", "with_usable_settings"]

Check = Callable[..., list[CheckMessage]]


def with_usable_settings(check: Check) -> Check:
    """Let a check rest while a setting is wrong: E001 and E002 tell of that."""

    @wraps(check)
    def guarded(**kwargs: Any) -> list[CheckMessage]:
        return [] if conf.problems() else check(**kwargs)

    return guarded
