"""Reads the newest events of flags, values and segments together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from itertools import islice

from django.db import connections
from django.db.models import F

from flagstaff._events import Event
from flagstaff._tables.catalog import find_tables
from flagstaff.conf import conf
from flagstaff.history.grouping import MAX_TRANSACTION_AGE
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.selection import Selection, selected_entries, stored_actors
from flagstaff.history.versions import all_entries, require_history
from flagstaff.models import Change

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
    on SQLite.
    """
    require_history()
    hidden = unreadable_kinds()
    selection = Selection(
        kinds=[kind for kind in (Kind if kinds is None else kinds) if kind not in hidden],
        key=key,
        since=since,
        until=until,
        actors=None if actor is None else stored_actors(actor),
    )
    return list(islice(read_recent(selection, limit, before=before, all_users=all_users), limit))


def read_recent(
    selection: Selection,
    limit: int | None = None,
    *,
    before: int | None = None,
    all_users: bool = False,
    shorten: bool = False,
) -> Iterator[Event]:
    """Yields the selected events, newest first, in batches as the caller iterates.

    The caller reads about `limit` events; None reads larger batches. `shorten` reads only the start
    of long values, as LongJson. The database has the history (`require_history`), and the role may
    read the tables of all selected kinds (`unreadable_kinds`).
    """
    # An expression, so that the server finds a short time by its index: in the order of the ids it
    # would read all newer entries first.
    order = (F("id") + 0).desc() if selection.is_short else "-id"
    newest_first = selected_entries(selection).order_by(order)
    batch = _FIRST_BATCH if limit is None else max(min(limit, _FIRST_BATCH), _MIN_BATCH)
    below = before
    while True:
        older = newest_first if below is None else newest_first.filter(id__lt=below)
        entries = list(older.only("id", "at", "transaction_id", "relation", "object_pk")[:batch])
        events = _events_of(entries, all_users=all_users, shorten=shorten)
        for event in _selected(events, entries, selection.action):
            if before is None or event.version < before:
                yield event
        if len(entries) < batch:
            return
        below, batch = entries[-1].pk, min(batch * 2, _MAX_BATCH)


def unreadable_kinds() -> list[Kind]:
    """Returns the kinds whose table the role may not read, such as values. One query."""
    connection = connections[conf.database]
    quoted = {kind: connection.ops.quote_name(kind.model._meta.db_table) for kind in Kind}
    tables = find_tables(connection, *quoted.values())
    return [kind for kind, name in quoted.items() if name in tables and not tables[name].may_read]


def _selected(
    events: Iterable[Event], entries: Iterable[Change], action: str | None
) -> Iterator[Event]:
    """The events whose newest entry was found; those of an action if one of their entries was."""
    if action in {"create", "delete"}:
        entries_by_pk = defaultdict(list)
        for entry in entries:
            entries_by_pk[entry.object_pk].append(entry.pk)
        for event in events:
            is_found = any(
                event.first <= pk <= event.version for pk in entries_by_pk[event.object_pk]
            )
            if is_found and event.action == action:
                yield event
        return
    versions = {entry.pk for entry in entries}
    for event in events:
        if event.version in versions and action in {None, event.action}:
            yield event


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
