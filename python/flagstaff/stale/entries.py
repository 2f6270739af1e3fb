"""Reads since when signals hold: the newest entry of the history about each part of a flag."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from django.utils.dateparse import parse_date

from flagstaff._tables.database import db
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.extensions import PLANNED_FLAGS
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_history, require_triggers
from flagstaff.models import Change
from flagstaff.stale.constant import Configuration, Constant, constant_result
from flagstaff.stale.flag_rows import AssessedFlag
from flagstaff.stale.signals import ReviewChange


@dataclass(frozen=True)
class Past:
    """What the history says about a flag."""

    #: None if the result differs between users, a plan changes it, or the history lacks a change.
    constant: Constant | None = None
    #: When an unused flag was created or got its key, if that was since a time.
    key_since: datetime | None = None
    #: None if there is no review date in the future, or no entry about it.
    review_change: ReviewChange | None = None


class _Entry(NamedTuple):
    """A line of `stale_entries_v1` without its flag and its part."""

    id: int
    at: datetime
    is_creation: bool
    old_enabled: str | None
    old_percent: str | None
    old_rules: str | None
    new_enabled: str | None
    new_percent: str | None
    new_rules: str | None
    old_review: str | None
    new_review: str | None

    @property
    def before(self) -> Configuration | None:
        """The configuration before; None if the entry lacks a column, or created the flag."""
        return _recorded(self.old_enabled, self.old_percent, self.old_rules)

    @property
    def after(self) -> Configuration | None:
        """The configuration afterwards; None if the entry lacks a column."""
        return _recorded(self.new_enabled, self.new_percent, self.new_rules)


def history_problem() -> str:
    """Returns why the history does not have all changes of flags, or an empty text."""
    try:
        require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError as error:
        return error.message
    return ""


def read_past(
    flags: Sequence[AssessedFlag], unused: Collection[str], *, since: datetime, today: date
) -> Mapping[str, Past]:
    """Returns what the history says about flags, by their primary keys.

    `unused` are the primary keys of flags that were not evaluated since a time. Makes up to two
    queries, and one of each app that changes flags.
    """
    wanted = [flag for flag in flags if flag.result is not None or flag.pk in unused]
    if not wanted:
        return {}
    entries: dict[str, dict[str, _Entry]] = defaultdict(dict)
    for pk, part, *values in _query(wanted, unused, since, today):
        entries[pk][part] = _Entry(*values)
    constant = [flag for flag in wanted if flag.result is not None]
    # Looked up only if a flag has no entry.
    needs_bound = any("row" not in entries[flag.pk] for flag in constant)
    bound = _history_since() if needs_bound else None
    periods = {flag.pk: _period(flag, entries[flag.pk], bound) for flag in constant}
    planned = {pk for read in PLANNED_FLAGS for pk in read()} if any(periods.values()) else set()
    return {
        flag.pk: Past(
            None if flag.pk in planned else periods.get(flag.pk),
            aware(entries[flag.pk]["key"].at) if "key" in entries[flag.pk] else None,
            _review_change(flag, entries[flag.pk].get("review")),
        )
        for flag in wanted
    }


def _query(
    flags: Sequence[AssessedFlag], unused: Collection[str], since: datetime, today: date
) -> list[tuple[Any, ...]]:
    reviews = [flag.fields.review_on for flag in flags]
    parameters: dict[str, Any] = {
        "pks": [flag.pk for flag in flags],
        "with_row": [flag.result is not None for flag in flags],
        # They do not matter while the flag is on or off for all users anyway.
        "with_users": [flag.result is False and flag.configuration.enabled for flag in flags],
        "with_key": [flag.pk in unused for flag in flags],
        "with_review": [day is not None and day > today for day in reviews],
        "table": db.table(conf.flag_model),
        "since": since,
    }
    return db.query("stale_entries_v1", parameters)


def _period(
    flag: AssessedFlag, entries: Mapping[str, _Entry], bound: datetime | None
) -> Constant | None:
    """Returns since when a flag has its constant result: since the newest change that matters.

    It may have had the same result before that change. A flag without such a change has not changed
    since the history began; `bound` is None without a history.
    """
    row, users, result = entries.get("row"), entries.get("users"), bool(flag.result)
    if row is None and users is None:
        since = bound and max(bound, aware(flag.fields.created_at))
        return None if since is None else Constant(result, since, is_exact=False)
    if row is not None and not _is_continued(row.after, flag.configuration):
        return None
    if row is None or (users is not None and users.id > row.id):
        # The last allowed user was removed.
        return users and Constant(result, aware(users.at), is_exact=True)
    before = row.before
    is_exact = row.is_creation or (
        before is not None and constant_result(before, has_allowed_users=False) is not result
    )
    return Constant(result, aware(row.at), is_exact=is_exact)


def _is_continued(after: Configuration | None, present: Configuration) -> bool:
    """Whether the history lacks no change: those of a disabled flag are left out."""
    stayed_disabled = after is not None and not after.enabled and not present.enabled
    return after == present or stayed_disabled


def _review_change(flag: AssessedFlag, entry: _Entry | None) -> ReviewChange | None:
    if entry is None or entry.new_review != flag.fields.review_on.isoformat():
        return None
    return ReviewChange(aware(entry.at), parse_date(entry.old_review or ""), entry.is_creation)


def _history_since() -> datetime | None:
    """Returns the time of the oldest entry about a flag; None without an entry. One query."""
    of_flags = Change.objects.filter(relation=Kind.FLAG.row_relation).order_by("id")
    first = of_flags.values_list("at", flat=True).first()
    return first and aware(first)


def _recorded(enabled: str | None, percent: str | None, rules: str | None) -> Configuration | None:
    """Returns a configuration of an entry; None if it lacks a column, or has no row."""
    if enabled is None or percent is None or not percent.isdigit():
        return None
    # Entries that are older than the column have no rules either.
    read = None if rules is None or rules == "[]" else json.loads(rules)
    return Configuration(enabled == "true", int(percent), read)
