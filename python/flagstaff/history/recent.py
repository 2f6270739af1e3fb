"""Reads the newest events of flags, values and segments together."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime
from itertools import islice

from django.db import connections
from django.db.models import QuerySet

from flagstaff._tables.catalog import find_tables
from flagstaff.conf import conf
from flagstaff.history.events import Event
from flagstaff.history.grouping import MAX_TRANSACTION_AGE
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.selection import Selection, selected_entries
from flagstaff.history.versions import all_entries, require_history
from flagstaff.models import Change

__all__ = ["read_recent", "recent_events", "unreadable_kinds"]

_MAX_EVENTS = 100
# An event may have several entries. Later batches are larger, in fewer queries.
_MIN_BATCH, _FIRST_BATCH, _MAX_BATCH = 20, 200, 3_200


def recent_events(  # noqa: PLR0913 (the filters of a search)
    *,
    key: str | None = None,
    kinds: Collection[Kind] | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    actor: str | None = None,
    limit: int | None = _MAX_EVENTS,
    before: int | None = None,
    all_users: bool = False,
) -> list[Event]:
    """Returns the events of flags, values and segments together, newest first.

    All conditions must be true. `key` is the present or an earlier key; `since` is included and
    `until` is not, and times without a UTC offset are in TIME_ZONE; `actor` is the stored actor,
    such as "deploy" or a primary key, or the username of a user. `before` returns only events with
    an older version than this one: pass the version of the last event to read the next page. Of
    each event the first 20 users are returned, unless `all_users`. What a value was is left out if
    it was ever secret. Kinds whose table the role may not read are left out: see
    `unreadable_kinds`.

    Returns an empty list for an unknown key or actor. Queries the database. Raises NoHistoryError
    on other databases than PostgreSQL.
    """
    wanted = Selection(tuple(Kind if kinds is None else kinds), key, since, until, actor)
    return read_recent(wanted, limit=limit, before=before, all_users=all_users)


def read_recent(
    selection: Selection,
    *,
    limit: int | None = _MAX_EVENTS,
    before: int | None = None,
    all_users: bool = False,
    shorten: bool = False,
) -> list[Event]:
    """Returns the selected events as `recent_events` does.

    `shorten` reads only the start of long values, as LongJson.
    """
    require_history()
    hidden = unreadable_kinds()
    kinds = tuple(kind for kind in selection.kinds if kind not in hidden)
    found = selected_entries(Selection(**{**vars(selection), "kinds": kinds}))
    batch = _FIRST_BATCH if limit is None else max(min(limit, _FIRST_BATCH), _MIN_BATCH)
    events = _read(found, before, batch, all_users=all_users, shorten=shorten)
    return list(islice(events, limit))


def unreadable_kinds() -> list[Kind]:
    """Returns the kinds whose table the role may not read, such as values. One query."""
    connection = connections[conf.database]
    quoted = {kind: connection.ops.quote_name(kind.model._meta.db_table) for kind in Kind}
    tables = find_tables(connection, *quoted.values())
    return [kind for kind, name in quoted.items() if name in tables and not tables[name].may_read]


def _read(
    found: QuerySet[Change], before: int | None, batch: int, *, all_users: bool, shorten: bool
) -> Iterator[Event]:
    """Yields the events whose newest entry was found, in the order of their versions."""
    newest_first = found.order_by("-id")
    while True:
        older = newest_first if before is None else newest_first.filter(id__lt=before)
        entries = list(older.only("id", "at", "transaction_id", "relation", "object_pk")[:batch])
        versions = {entry.pk for entry in entries}
        events = _events_of(entries, all_users=all_users, shorten=shorten)
        yield from (event for event in events if event.version in versions)
        if len(entries) < batch:
            return
        before, batch = entries[-1].pk, min(batch * 2, _MAX_BATCH)


def _events_of(entries: list[Change], *, all_users: bool, shorten: bool) -> list[Event]:
    """The events that these entries belong to, newest first, and others of their transactions.

    An event is read as a whole: its older entries may be before the time that is asked for.
    """
    events: list[Event] = []
    for kind in Kind:
        some = [entry for entry in entries if entry.relation in kind.relations]
        if some:
            near = all_entries().filter(
                relation__in=kind.relations,
                object_pk__in={entry.object_pk for entry in some},
                transaction_id__in={entry.transaction_id for entry in some},
                at__range=(
                    min(entry.at for entry in some) - MAX_TRANSACTION_AGE,
                    max(entry.at for entry in some) + MAX_TRANSACTION_AGE,
                ),
            )
            events += events_among(kind, near, all_users=all_users, shorten=shorten)
    return sorted(events, key=lambda event: event.version, reverse=True)
