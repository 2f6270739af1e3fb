"""Which flags are stale: reads what is known about them, with few queries for all."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from flagstaff._engine import forced_off
from flagstaff._engine.usage import NOT_USED, KeyUsage
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import Text
from flagstaff._words.times import aware, local_time
from flagstaff.conf import MAX_STALE_DAYS, conf
from flagstaff.stale.entries import Past, history_problem, read_past
from flagstaff.stale.flag_rows import AssessedFlag, read_flags
from flagstaff.stale.signals import Assessment, Facts, assess
from flagstaff.stale.usage import evaluations_of

ALL_FLAGS = Q()


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are silent until their review.

    Each has `facts`, such as its `key`, `owner`, `tags` and `kind`; `findings`, the signals that
    hold, each with `signal`, `since`, `days`, `result` and `is_exact`; and `unknown`, the signals
    that could not be decided, each with `signal` and `why`.

    `days` replaces STALE_DAYS, and is a whole number from 1 to 3,650. Makes about eight queries,
    however many flags there are. Raises ValueError for another number.
    """
    return [flag for flag in assess_flags(days) if flag.is_stale]


def assess_flags(days: int | None = None, condition: Q = ALL_FLAGS) -> list[Assessment]:
    """Returns the signals of all flags, or of those that match.

    Raises ValueError for days that are no whole number from 1 to 3,650.
    """
    days = conf.stale_days if days is None else days
    if type(days) is not int or not 1 <= days <= MAX_STALE_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_STALE_DAYS:,}, not {days!r}")
    now = aware(timezone.now())
    today = local_time(now).date()
    facts_by_key = facts_of_flags(now, days, condition)
    return [assess(facts, now=now, today=today, days=days) for facts in facts_by_key]


def facts_of_flags(now: datetime, days: int, condition: Q) -> Iterator[Facts]:
    """Yields what is known about the flags that match, by key."""
    flags, since = read_flags(condition), now - timedelta(days=days)
    evaluations = evaluations_of([flag.key for flag in flags], since=since, now=now)
    last = evaluations.last
    # If evaluations may be missing, it is not known which flags are unused.
    counted = () if evaluations.problem else flags
    unused = {flag.pk for flag in counted if _is_unused(last.get(flag.key, NOT_USED), since)}
    problem, today = history_problem(), local_time(now).date()
    past = {} if problem else read_past(flags, unused, since=since, today=today)
    for flag in flags:
        fields, flag_past = flag.fields, past.get(flag.pk, Past())
        begin = [flag_past.key_since, aware(fields.created_at)]
        yield Facts(
            pk=flag.pk,
            key=flag.key,
            kind=fields.kind,
            owner=fields.owner,
            tags=tuple(usable_tags(fields.tags)),
            review_on=fields.review_on,
            constant=None if flag.is_forced_off else flag_past.constant,
            constant_problem=_constant_problem(flag, problem),
            last_use=last.get(flag.key, NOT_USED),
            counted_since=evaluations.counted_since,
            usage_problem=evaluations.problem,
            key_since=max((time for time in begin if time), default=None),
            review_change=flag_past.review_change,
        )


def _is_unused(last: KeyUsage, since: datetime) -> bool:
    return last.in_use_at is None or last.in_use_at <= since


def _constant_problem(flag: AssessedFlag, history_problem: str) -> str:
    if flag.result is None:
        return ""
    if flag.is_forced_off:
        return Text(
            "the flag is forced off in this process by {variable}", variable=forced_off.VARIABLE
        )
    return history_problem
