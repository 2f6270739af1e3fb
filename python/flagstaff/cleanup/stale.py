"""Which flags are stale. Everything else in this folder reads, judges or shows it."""

from __future__ import annotations

from django.utils import timezone

from flagstaff._words.times import aware, local_time
from flagstaff.cleanup.facts import facts_of_flags
from flagstaff.cleanup.flag_rows import ALL_FLAGS, Selection
from flagstaff.cleanup.signals import Assessment, assess
from flagstaff.conf import conf
from flagstaff.conf.defaults import MAX_STALE_DAYS


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are snoozed.

    `days` replaces STALE_DAYS, and is a whole number from 1 to 3,650. Makes about eight queries,
    however many flags there are.
    """
    return [one for one in assess_flags(days) if one.is_stale]


def assess_flags(days: int | None = None, selection: Selection = ALL_FLAGS) -> list[Assessment]:
    """Returns the signals of all flags, or of the selected ones.

    Raises ValueError for days that are no whole number from 1 to 3,650.
    """
    days = conf.stale_days if days is None else days
    if type(days) is not int or not 1 <= days <= MAX_STALE_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_STALE_DAYS:,}, not {days!r}")
    now = aware(timezone.now())
    today = local_time(now).date()
    found = facts_of_flags(now, days, selection)
    return [assess(facts, now=now, today=today, days=days) for facts in found]
