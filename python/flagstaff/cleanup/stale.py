"""Which flags are stale. Everything else in this folder reads, judges or shows it."""

from __future__ import annotations

from collections.abc import Collection

from django.utils import timezone

from flagstaff._text.times import aware, local_time
from flagstaff.cleanup.facts import facts_of_flags
from flagstaff.cleanup.signals import Assessment, assess
from flagstaff.conf import conf

__all__ = ["assess_flags", "stale_flags"]


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are snoozed.

    `days` replaces STALE_DAYS. Makes about fifteen queries, however many flags there are.
    """
    return [one for one in assess_flags(days) if one.is_stale]


def assess_flags(
    days: int | None = None, pks: Collection[object] | None = None
) -> list[Assessment]:
    """Returns the signals of all flags, or of those with these primary keys, by key."""
    days = conf.stale_days if days is None else days
    now = aware(timezone.now())
    today = local_time(now).date()
    return [
        assess(facts, now=now, today=today, days=days) for facts in facts_of_flags(now, days, pks)
    ]
