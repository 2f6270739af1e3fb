"""Reads the changes of flags that decide since when their results are constant. Few queries."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import connections
from django.utils.dateparse import parse_date

from flagstaff._tables.names import own_names, query
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import NoHistoryError
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import require_history, require_triggers
from flagstaff.models import Change
from flagstaff.stale.constant import AllowedUsersChange, Configuration, RowChange
from flagstaff.stale.signals import ReviewChange

PastChange = RowChange | AllowedUsersChange

_FLAG = Kind.FLAG.row_relation


@dataclass(frozen=True)
class WantedPast:
    """A flag, by the text of its primary key, and what is wanted of its history."""

    pk: str
    #: Whether the changes that may have changed its result are wanted.
    is_constant: bool
    #: Whether they include those of its allowed users: they do not matter while it is on for all.
    is_off: bool
    #: Whether it matters since when it has its key.
    is_unused: bool = False


@dataclass(frozen=True)
class Past:
    """What the history says about flags, by their primary keys."""

    #: The changes that may have changed the result, newest first.
    changes: Mapping[str, Sequence[PastChange]]
    #: When flags were created or got their keys, if that was since a time.
    keys_since: Mapping[str, datetime]


class _Entry(NamedTuple):
    """A line of `decisive_entries_v1` without its flag."""

    part: str
    id: int
    relation: str
    action: str
    at: datetime
    old_enabled: str | None
    new_enabled: str | None
    old_percent: str | None
    new_percent: str | None
    old_rules: str | None
    new_rules: str | None
    old_users: int
    new_users: int


def configuration_of(flag: Any) -> Configuration:
    """Returns the present configuration of a flag."""
    return Configuration(flag.enabled, flag.rollout_percent, _or_none(flag.rules))


def history_problem(*, is_readable: bool = False) -> str:
    """Returns why the history does not have all changes of flags, or an empty text.

    `is_readable`: the table of the history is known to be readable.
    """
    try:
        if not is_readable:
            require_history()
        require_triggers(Kind.FLAG)
    except NoHistoryError as error:
        return error.message
    return ""


def history_since() -> datetime | None:
    """Returns the time of the oldest entry about a flag; None without an entry. One query."""
    times = Change.objects.filter(relation=_FLAG).order_by("id").values_list("at", flat=True)
    first = times.first()
    return first and aware(first)


def read_past(wanted: Collection[WantedPast], since: datetime, *, newest: int | None) -> Past:
    """Returns what the history says about flags. One query.

    `since` is that of `Past.keys_since`. With `newest`, this number of changes of a flag is read;
    without it, its oldest change of all is the last one. Flags without one are left out.
    """
    entries: dict[str, list[_Entry]] = defaultdict(list)
    keys_since = {}
    for pk, *values in _query(wanted, since, newest):
        entry = _Entry(*values)
        if entry.part == "named":
            keys_since[pk] = aware(entry.at)
        else:
            entries[pk].append(entry)
    changes = {
        pk: [_change(entry) for entry in sorted(found, key=_place)] for pk, found in entries.items()
    }
    return Past(changes, keys_since)


def _query(
    wanted: Collection[WantedPast], since: datetime, newest: int | None
) -> list[tuple[Any, ...]]:
    connection, model = connections[conf.database], conf.flag_model
    parameters: dict[str, Any] = {
        "pks": [one.pk for one in wanted],
        "with_state": [one.is_constant for one in wanted],
        "with_users": [one.is_off for one in wanted],
        "with_key": [one.is_unused for one in wanted],
        "table": connection.ops.quote_name(model._meta.db_table),
        "since": since,
        "newest": newest,
    }
    return query(connection, "decisive_entries_v1", own_names(connection), parameters)


def review_changes(dates: Mapping[str, date]) -> dict[str, ReviewChange]:
    """Returns when flags got their present review dates, by primary keys. One query.

    Flags are left out whose history has no such entry.
    """
    connection, model = connections[conf.database], conf.flag_model
    table = connection.ops.quote_name(model._meta.db_table)
    given = {"pks": list(dates), "table": table}
    rows = query(connection, "review_changes_v1", own_names(connection), given)
    return {
        pk: ReviewChange(aware(at), parse_date(before or ""), is_creation)
        for pk, at, before, after, is_creation in rows
        if after == dates[pk].isoformat()
    }


def _place(entry: _Entry) -> tuple[int, int]:
    return entry.part == "oldest", -entry.id


def _change(entry: _Entry) -> PastChange:
    at = aware(entry.at)
    if entry.relation == ALLOWED_USERS:
        return AllowedUsersChange(at, added=entry.new_users, removed=entry.old_users)
    after = _recorded(entry.new_enabled, entry.new_percent, entry.new_rules)
    before = _recorded(entry.old_enabled, entry.old_percent, entry.old_rules)
    return RowChange(at, before, after, is_creation=entry.action == Change.Action.INSERT)


def _recorded(enabled: str | None, percent: str | None, rules: str | None) -> Configuration | None:
    """Returns a configuration of an entry; None if it lacks a column, or has no row."""
    if enabled is None or percent is None or not percent.isdigit():
        return None
    # Entries that are older than the column have no rules either.
    read = None if rules is None or rules == "[]" else json.loads(rules)
    return Configuration(enabled == "true", int(percent), read)


def _or_none(rules: object) -> object:
    """Returns None for no rules."""
    return None if rules == [] else rules
