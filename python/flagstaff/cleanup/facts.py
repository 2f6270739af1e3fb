"""Reads what is known about flags, with few queries for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import connections
from django.utils.translation import gettext as _

from flagstaff._engine import forced_off
from flagstaff._tables.catalog import why_unavailable
from flagstaff._tables.names import own_names
from flagstaff._tables.rows import uncached
from flagstaff._text.times import aware
from flagstaff.cleanup import past
from flagstaff.cleanup.flag_rows import FlagRow, Selection, read_flags
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.periods import Periods, periods_of
from flagstaff.cleanup.signals import Facts
from flagstaff.cleanup.usage import evaluations_of
from flagstaff.conf import conf

__all__ = ["facts_of_flags"]

_TABLES = ("change_table", "usage_table", "worker_table")


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
    unused = {flag.pk for flag in counted if flag.key not in last or last[flag.key] <= since}
    problem = past.history_problem(is_readable=is_readable)
    periods = Periods() if problem else periods_of(flags, unused, since, selection.planned)
    snoozes = _snoozes(flags)
    for flag in flags:
        columns, snooze = flag.columns, snoozes.get(flag.pk)
        begin = [periods.keys_since.get(flag.pk), columns.created_at]
        is_counted = not columns.client_side
        yield Facts(
            pk=flag.pk,
            key=flag.key,
            kind=columns.kind,
            owner=columns.owner,
            tags=columns.tags,
            review_on=columns.review_on,
            constant=None if flag.is_forced_off else periods.constant.get(flag.pk),
            constant_problem=_constant_problem(flag, problem),
            last_evaluated_at=last.get(flag.key),
            counted_since=evaluations.counted_since if is_counted else None,
            usage_problem=evaluations.problem if is_counted else _browsers_problem(),
            key_since=max((one for one in begin if one), default=None),
            snoozed_until=snooze.until if snooze else None,
            snooze_reason=snooze.reason if snooze else "",
            snooze_actor=snooze.actor if snooze else "",
        )


def _are_readable() -> bool:
    """Whether all tables of the evidence can be read. Otherwise, each part says what is wrong."""
    connection = connections[conf.database]
    names = own_names(connection)
    return why_unavailable(connection, *(names[table] for table in _TABLES)) is None


def _constant_problem(flag: FlagRow, history_problem: str) -> str:
    if flag.result is None:
        return ""
    if flag.is_forced_off:
        text = _("the flag is forced off in this process by %(variable)s")
        return text % {"variable": forced_off.VARIABLE}
    return history_problem


def _browsers_problem() -> str:
    # The view for browsers evaluates all flags at once, which is not counted.
    return _("evaluations for browsers are not counted")


def _snoozes(flags: Sequence[FlagRow]) -> dict[str, Snooze]:
    rows = uncached(Snooze.objects.using(conf.database))
    created = {flag.pk: flag.columns.created_at for flag in flags}
    found = rows.filter(flag_pk__in=list(created))
    return {row.flag_pk: row for row in found if not _is_older(row, created[row.flag_pk])}


def _is_older(snooze: Snooze, created_at: datetime | None) -> bool:
    """Whether the snooze is that of a deleted flag, whose primary key this flag has got again."""
    return created_at is not None and aware(snooze.at) < created_at
