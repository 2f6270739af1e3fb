"""Which flags are stale: reads what is known about them, with few queries for all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.utils import timezone

from flagstaff._engine import forced_off
from flagstaff._engine.usage import NOT_USED, KeyUsage
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import own_names
from flagstaff._tables.tags import usable_tags
from flagstaff._words.text import Text
from flagstaff._words.times import aware, local_time
from flagstaff.conf import MAX_STALE_DAYS, conf
from flagstaff.extensions import PLANNED_FLAGS
from flagstaff.stale import past
from flagstaff.stale.constant import Constant, constant_since
from flagstaff.stale.flag_rows import ALL_FLAGS, AssessedFlag, Selection, read_flags
from flagstaff.stale.past import Past, WantedPast, history_since, read_past, review_changes
from flagstaff.stale.signals import (
    Assessment,
    Facts,
    ReviewChange,
    assess,
)
from flagstaff.stale.usage import evaluations_of


def stale_flags(days: int | None = None) -> list[Assessment]:
    """Returns the flags that are stale, by key, without those that are silent until their review.

    Each has `facts`, such as its `key`, `owner`, `tags` and `kind`; `findings`, the signals that
    hold, each with `signal`, `since`, `days`, `result` and `is_exact`; and `unknown`, the signals
    that could not be decided, each with `signal` and `why`.

    `days` replaces STALE_DAYS, and is a whole number from 1 to 3,650. Makes about eight queries,
    however many flags there are. Raises ValueError for another number.
    """
    return [flag for flag in assess_flags(days) if flag.is_stale]


def assess_flags(days: int | None = None, selection: Selection = ALL_FLAGS) -> list[Assessment]:
    """Returns the signals of all flags, or of the selected ones.

    Raises ValueError for days that are no whole number from 1 to 3,650.
    """
    days = conf.stale_days if days is None else days
    if type(days) is not int or not 1 <= days <= MAX_STALE_DAYS:
        raise ValueError(f"days must be a whole number from 1 to {MAX_STALE_DAYS:,}, not {days!r}")
    now = aware(timezone.now())
    today = local_time(now).date()
    facts_by_key = facts_of_flags(now, days, selection)
    return [assess(facts, now=now, today=today, days=days) for facts in facts_by_key]


# Of most flags, the newest change began the period.
_NEWEST = 1


@dataclass(frozen=True)
class Periods:
    """What the history says about flags, by their primary keys."""

    constant: Mapping[str, Constant] = field(default_factory=dict)
    #: When flags were created or got their keys; only flags of which it was asked.
    keys_since: Mapping[str, datetime] = field(default_factory=dict)


def periods_of(
    flags: Sequence[AssessedFlag],
    unused: Collection[str],
    since: datetime,
) -> Periods:
    """Returns the periods of flags. Makes up to three queries, however long the history is.

    `unused` are the primary keys of flags that were not evaluated since a time: a new key explains
    that.
    """
    # Of most flags that were created since, the row itself says so.
    flags_to_read = [_wanted(flag, is_unused=flag.pk in unused) for flag in flags]
    flags_to_read = [flag for flag in flags_to_read if flag.is_constant or flag.is_unused]
    if not flags_to_read:
        return Periods()
    past = read_past(flags_to_read, since, newest=_NEWEST)
    constant = [flag for flag in flags if flag.result is not None]
    periods, undecided = _periods([flag for flag in constant if flag.pk in past.changes], past)
    undecided += [flag for flag in constant if flag.pk not in past.changes]
    if undecided:
        whole = read_past([_wanted(flag) for flag in undecided], since, newest=None)
        periods |= _periods(undecided, whole)[0]
    return Periods(_without_plans(periods), past.keys_since)


def _wanted(flag: AssessedFlag, *, is_unused: bool = False) -> WantedPast:
    return WantedPast(flag.pk, flag.result is not None, flag.result is False, is_unused)


def _periods(
    flags: Sequence[AssessedFlag], past: Past
) -> tuple[dict[str, Constant], list[AssessedFlag]]:
    """Returns the periods, and the flags whose period may have begun in changes not yet read."""
    # Looked up only if a flag has no entry.
    has_bound = all(flag.pk in past.changes for flag in flags)
    bound = None if has_bound else history_since()
    periods, undecided = {}, []
    for flag in flags:
        period = constant_since(
            flag.configuration,
            flag.allowed,
            past.changes.get(flag.pk, ()),
            unchanged_since=_unchanged_since(flag.fields, bound),
        )
        if period is not None:
            periods[flag.pk] = period
            if not period.is_exact:
                undecided.append(flag)
    return periods, undecided


def _unchanged_since(flag: Any, history: datetime | None) -> datetime | None:
    """Since when a flag without an entry has not changed: its changes would have left one."""
    return history and max(history, aware(flag.created_at), aware(flag.changed_at))


def _without_plans(periods: dict[str, Constant]) -> dict[str, Constant]:
    """Returns the periods of flags that no app is about to change."""
    planned = {pk for read in PLANNED_FLAGS for pk in read()} if periods else set()
    return {pk: period for pk, period in periods.items() if pk not in planned}


_TABLES = ("change_table", "usage_table")


def facts_of_flags(now: datetime, days: int, selection: Selection) -> Iterator[Facts]:
    """Yields what is known about the selected flags, by key."""
    flags = read_flags(selection)
    is_readable = selection.is_readable or _are_readable()
    since = now - timedelta(days=days)
    evaluations = evaluations_of(
        [flag.key for flag in flags], since=since, now=now, is_readable=is_readable
    )
    last = evaluations.last
    # If evaluations may be missing, it is not known which flags are unused.
    counted = () if evaluations.problem else flags
    unused = {flag.pk for flag in counted if _is_unused(last.get(flag.key, NOT_USED), since)}
    problem = past.history_problem(is_readable=is_readable)
    periods = Periods() if problem else periods_of(flags, unused, since)
    changes = {} if problem else _review_changes(flags, unused, periods, now, since)
    for flag in flags:
        fields = flag.fields
        begin = [periods.keys_since.get(flag.pk), aware(fields.created_at)]
        yield Facts(
            pk=flag.pk,
            key=flag.key,
            kind=fields.kind,
            owner=fields.owner,
            tags=tuple(usable_tags(fields.tags)),
            review_on=fields.review_on,
            constant=None if flag.is_forced_off else periods.constant.get(flag.pk),
            constant_problem=_constant_problem(flag, problem),
            last_use=last.get(flag.key, NOT_USED),
            counted_since=evaluations.counted_since,
            usage_problem=evaluations.problem,
            key_since=max((time for time in begin if time), default=None),
            review_change=changes.get(flag.pk),
        )


def _is_unused(last: KeyUsage, since: datetime) -> bool:
    return last.in_use_at is None or last.in_use_at <= since


def _are_readable() -> bool:
    """Whether all tables of the evidence can be read. Otherwise, each part says what is wrong."""
    connection = connections[conf.database]
    names = own_names(connection)
    return why_unavailable(connection, *(names[table] for table in _TABLES)) is None


def _constant_problem(flag: AssessedFlag, history_problem: str) -> str:
    if flag.result is None:
        return ""
    if flag.is_forced_off:
        return Text(
            "the flag is forced off in this process by {variable}", variable=forced_off.VARIABLE
        )
    return history_problem


def _review_changes(
    flags: Sequence[AssessedFlag],
    unused: Collection[str],
    periods: Periods,
    now: datetime,
    since: datetime,
) -> Mapping[str, ReviewChange]:
    """Returns the changes of review dates in the future, of flags that a signal may hold for.

    One query; none without such a flag.
    """
    today = local_time(now).date()
    constant = {pk for pk, period in periods.constant.items() if period.since <= since}
    dates = {
        flag.pk: flag.fields.review_on
        for flag in flags
        if flag.fields.review_on is not None
        and flag.fields.review_on > today
        and (flag.pk in constant or flag.pk in unused)
    }
    return review_changes(dates) if dates else {}
