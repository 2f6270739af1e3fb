"""Reads the history: the events of a flag, of a value, of a segment, or of all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from django.db.models import Q, QuerySet

from flagstaff._events import Event
from flagstaff._tables.model_fields import auto_now_columns, column_of, stored_fields
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.history.entries import read_entries
from flagstaff.history.events import Columns, as_events
from flagstaff.history.grouping import Entry
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import about_key, all_entries, entries, require_history
from flagstaff.models import Change

_MAX_EVENTS = 100
_MAX_USERS = 20
# The entries of a few events: an event may have several.
_MIN_BATCH = 20


class EntryRange(NamedTuple):
    """The ids of the first and the last entry of an event."""

    first: int
    last: int


def flag_history(
    key: str | None = None,
    *,
    limit: int | None = _MAX_EVENTS,
    before: int | None = None,
    all_users: bool = False,
) -> list[Event]:
    """Returns the events of a flag and its allowed users, newest first; without a key, of all.

    A renamed flag has its whole history. A key that two flags used has the history of both.
    `before` returns only events with an older version than this one: pass the version of the last
    event to read the next page. Of each event the first 20 users are returned, unless `all_users`.
    Raises UnknownFlagError if there is no such flag and never was, and NoHistoryError on other
    databases than PostgreSQL.
    """
    return _history(Kind.FLAG, key, limit, before, all_users=all_users)


def value_history(
    key: str | None = None, *, limit: int | None = _MAX_EVENTS, before: int | None = None
) -> list[Event]:
    """Returns the events of a value, newest first; without a key, of all values.

    What a value was is left out if it was ever secret. Arguments and errors: as `flag_history`,
    with UnknownValueError.
    """
    return _history(Kind.VALUE, key, limit, before, all_users=False)


def segment_history(
    key: str | None = None, *, limit: int | None = _MAX_EVENTS, before: int | None = None
) -> list[Event]:
    """Returns the events of a segment, newest first; without a key, of all segments.

    Arguments and errors: as `flag_history`, with UnknownSegmentError.
    """
    return _history(Kind.SEGMENT, key, limit, before, all_users=False)


def events_of(  # noqa: PLR0913 (which row, which events, and how much of them)
    kind: Kind,
    pk: object,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int | None = None,
    shorten: bool = False,
) -> list[Event]:
    """Returns the events of one row between these versions, newest first.

    `shorten` reads only the start of long values, as LongJson.
    """
    changes = entries(kind, pk).filter(id__gt=after)
    return events_among(kind, changes, before=before, limit=limit, shorten=shorten)


def events_among(  # noqa: PLR0913 (which entries, which events, and how much of them)
    kind: Kind,
    changes: QuerySet[Change],
    *,
    before: int | None = None,
    limit: int | None = None,
    all_users: bool = False,
    shorten: bool = False,
) -> list[Event]:
    """Returns the events that these entries of one kind make up, newest first."""
    events = read_events(
        kind, changes, before=before, limit=limit, all_users=all_users, shorten=shorten
    )
    return list(events)


def read_events(  # noqa: PLR0913 (which entries, which events, and how much of them)
    kind: Kind,
    changes: QuerySet[Change],
    *,
    before: int | None = None,
    limit: int | None = None,
    all_users: bool = False,
    shorten: bool = False,
) -> Iterator[Event]:
    """Yields the same events as `events_among`, in batches as the caller iterates."""
    newest_first = read_entries(
        changes,
        max_users=None if all_users else _MAX_USERS,
        before=before,
        batch=None if limit is None else max(limit, _MIN_BATCH),
        long_value=column_of(kind.model, "value") if shorten and kind is Kind.VALUE else None,
    )
    events = _events(kind, changes, newest_first, before, None if all_users else _MAX_USERS)
    return islice(events, limit)


def events_in(kind: Kind, newest_first: Iterable[Entry]) -> list[Event]:
    """Returns the events that these entries of flags or segments make up, newest first.

    Does not query.
    """
    return list(as_events(newest_first, {kind: _columns(kind)}, ()))


def was_ever_secret(kind: Kind, pk: object) -> bool:
    """Returns True if the history shows none of the values that this row has had."""
    return kind is Kind.VALUE and str(pk) in _ever_secret(entries(kind, pk))


def ever_secret(pks: Collection[str]) -> Collection[str]:
    """Returns the values that were ever secret. Others may be among them. Few queries."""
    return _ever_secret(all_entries().filter(object_pk__in=pks))


def _history(
    kind: Kind, key: str | None, limit: int | None, before: int | None, *, all_users: bool
) -> list[Event]:
    require_history()
    changes = all_entries().filter(relation__in=kind.relations)
    if key is not None:
        changes = changes.filter(about_key([kind], key))
    events = events_among(kind, changes, before=before, limit=limit, all_users=all_users)
    if key is not None and not events and before is None:
        # Raises if there is no such row either.
        kind.row(key)
    return events


def _events(
    kind: Kind,
    changes: QuerySet[Change],
    newest_first: Iterator[Entry],
    before: int | None,
    max_users: int | None,
) -> Iterator[Event]:
    secrets = _ever_secret(changes) if kind is Kind.VALUE else ()
    for event in as_events(newest_first, {kind: _columns(kind)}, secrets, max_users=max_users):
        # An event that began below `before` and ended above it is not older.
        if before is None or event.version < before:
            yield event


def _columns(kind: Kind) -> Columns:
    names = {str(field.column): field.name for field in stored_fields(kind.model)}
    return Columns(names, {*auto_now_columns(kind.model), str(kind.model._meta.pk.column)})


def _ever_secret(changes: QuerySet[Change]) -> Collection[str]:
    """The values whose history is hidden, also what it was before they became secret."""
    pks = changes.filter(relation="k").order_by().values("object_pk").distinct()
    marked = Q(old__secret=True) | Q(new__secret=True)
    secret = all_entries().filter(marked, relation="k", object_pk__in=pks)
    return {*secret.order_by().values_list("object_pk", flat=True).distinct(), *_secret_now()}


def _secret_now() -> Iterable[str]:
    """Values may be secret without an entry that says so, because it was pruned."""
    model = conf.value_model
    if not any(field.name == "secret" for field in stored_fields(model)):
        return ()
    pks = all_rows(model).filter(secret=True).values_list("pk", flat=True)
    return (str(pk) for pk in pks)
