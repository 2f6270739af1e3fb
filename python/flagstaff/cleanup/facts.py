"""Reads what is known about flags, with few queries for all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from flagstaff._engine import forced_off
from flagstaff._extensions import optional_apps
from flagstaff._tables.rows import all_rows, uncached
from flagstaff.cleanup import past
from flagstaff.cleanup.columns import OptionalColumns, optional_columns
from flagstaff.cleanup.constant import Constant, constant_since
from flagstaff.cleanup.models import Snooze
from flagstaff.cleanup.results import Configuration, constant_result
from flagstaff.cleanup.signals import Facts
from flagstaff.cleanup.usage import Evaluations, evaluations_of
from flagstaff.conf import conf

__all__ = ["facts_of_flags"]

# The annotation's name must not clash with a field of the project's model.
_ALLOWED = "flagstaff_allowed"
# Of most flags, the newest change began the period.
_NEWEST = 10
_ALL_FLAGS = Q()


@dataclass(frozen=True)
class _Flag:
    pk: str
    key: str
    columns: OptionalColumns
    configuration: Configuration
    allowed: int

    @property
    def is_forced_off(self) -> bool:
        """Whether this process evaluates a flag as off that is on for all users."""
        return self.result is True and self.key in forced_off.keys

    @property
    def result(self) -> bool | None:
        return constant_result(self.configuration, has_allowed_users=self.allowed != 0)


def facts_of_flags(
    now: datetime, days: int, condition: Q = _ALL_FLAGS, pks: Collection[object] | None = None
) -> Iterator[Facts]:
    """Yields what is known about the flags that match, by key, or those with these primary keys."""
    flags = _flags(condition, pks)
    problem = past.history_problem()
    constant = {} if problem else _constant_periods(_without_plan(flags))
    since = now - timedelta(days=days)
    evaluations = evaluations_of([flag.key for flag in flags], since=since, now=now)
    keys_since = {} if problem else _keys_since(flags, evaluations, since)
    snoozes = _snoozes(flags)
    for flag in flags:
        columns, snooze = flag.columns, snoozes.get(flag.pk)
        begin = [keys_since.get(flag.pk), columns.created_at]
        is_counted = not columns.client_side
        yield Facts(
            pk=flag.pk,
            key=flag.key,
            kind=columns.kind,
            owner=columns.owner,
            tags=columns.tags,
            review_on=columns.review_on,
            constant=None if flag.is_forced_off else constant.get(flag.pk),
            constant_problem=_constant_problem(flag, problem),
            last_evaluated_at=evaluations.last.get(flag.key),
            counted_since=evaluations.counted_since if is_counted else None,
            usage_problem=evaluations.problem if is_counted else _browsers_problem(),
            key_since=max((one for one in begin if one), default=None),
            snoozed_until=snooze.until if snooze else None,
            snooze_reason=snooze.reason if snooze else "",
            snooze_actor=snooze.actor if snooze else "",
        )


def _constant_problem(flag: _Flag, history_problem: str) -> str:
    if flag.result is None:
        return ""
    if flag.is_forced_off:
        text = _("the flag is forced off in this process by %(variable)s")
        return text % {"variable": forced_off.VARIABLE}
    return history_problem


def _browsers_problem() -> str:
    # The view for browsers evaluates all flags at once, which is not counted.
    return _("evaluations for browsers are not counted")


def _without_plan(flags: Sequence[_Flag]) -> list[_Flag]:
    """Returns the flags that no app is about to change."""
    planned = {pk for app in optional_apps() for pk in app.planned_flags()}
    return [flag for flag in flags if flag.pk not in planned]


def _flags(condition: Q, pks: Collection[object] | None) -> list[_Flag]:
    # Evaluations cannot use a row without a key, which a project's own table may have.
    rows = all_rows(conf.flag_model).filter(condition).exclude(key=None).order_by("key")
    rows = rows if pks is None else rows.filter(pk__in=pks)
    return [_flag(row) for row in rows.annotate(**{_ALLOWED: Count("allowed_users")})]


def _flag(row: Any) -> _Flag:
    return _Flag(
        pk=str(row.pk),
        key=row.key,
        columns=optional_columns(row),
        configuration=past.configuration_of(row),
        allowed=getattr(row, _ALLOWED),
    )


def _constant_periods(flags: Sequence[_Flag], newest: int | None = _NEWEST) -> dict[str, Constant]:
    """Returns the periods by primary key. Makes up to three queries.

    Reads only the `newest` entries of each flag first, and all if they are too few.
    """
    constant = [flag for flag in flags if flag.result is not None]
    off = [flag.pk for flag in constant if flag.result is False]
    entries = past.changes_of([flag.pk for flag in constant], off, newest=newest)
    # Looked up only if a flag has no entry.
    has_bound = all(flag.pk in entries for flag in constant)
    bound = None if has_bound else past.history_since()
    found, longer = {}, []
    for flag in constant:
        of_flag = entries.get(flag.pk, ())
        period = constant_since(
            flag.configuration,
            flag.allowed,
            past.read_changes(of_flag),
            unchanged_since=_unchanged_since(flag.columns, bound),
        )
        if period is not None:
            found[flag.pk] = period
            if newest is not None and not period.is_exact and len(of_flag) >= newest:
                longer.append(flag)
    return found | (_constant_periods(longer, newest=None) if longer else {})


def _unchanged_since(columns: OptionalColumns, history: datetime | None) -> datetime | None:
    """Since when a flag without an entry has not changed: its changes would have left one."""
    if history is None:
        return None
    times = (history, columns.created_at, columns.changed_at)
    return max(one for one in times if one is not None)


def _keys_since(
    flags: Sequence[_Flag], evaluations: Evaluations, since: datetime
) -> Mapping[str, datetime]:
    """Returns when flags that were not evaluated got their keys, if that was since a time."""
    last = evaluations.last
    pks = [flag.pk for flag in flags if flag.key not in last or last[flag.key] <= since]
    return past.keys_since(pks, since) if pks else {}


def _snoozes(flags: Sequence[_Flag]) -> dict[str, Snooze]:
    rows = uncached(Snooze.objects.using(conf.database))
    return {row.flag_pk: row for row in rows.filter(flag_pk__in=[flag.pk for flag in flags])}
