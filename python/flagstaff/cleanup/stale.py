"""Which flags are stale. Everything else in this folder reads, judges or shows it."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import Q
from django.utils import timezone

from flagstaff._text.times import aware, local_time
from flagstaff.cleanup.facts import facts_of_flags
from flagstaff.cleanup.signals import Assessment, assess
from flagstaff.conf import conf

__all__ = ["MAX_DAYS", "assess_flags", "stale_flags"]

#: A century: PostgreSQL and Python have limits far beyond.
MAX_DAYS = 36_500
_ALL_FLAGS = Q()


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are snoozed.

    `days` replaces STALE_DAYS, and is a whole number from 1 to 36,500. Makes about ten queries,
    however many flags there are.
    """
    return [one for one in assess_flags(days) if one.is_stale]


def assess_flags(
    days: int | None = None,
    condition: Q = _ALL_FLAGS,
    *,
    pks: Collection[object] | None = None,
) -> list[Assessment]:
    """Returns the signals of the flags that match, by key, or of those with these primary keys.

    Raises ValueError for days that are no whole number from 1 to 36,500.
    """
    days = conf.stale_days if days is None else days
    if type(days) is not int or not 1 <= days <= MAX_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_DAYS:,}, not {days!r}")
    now = aware(timezone.now())
    today = local_time(now).date()
    return [
        assess(facts, now=now, today=today, days=days)
        for facts in facts_of_flags(now, days, condition, pks)
    ]
