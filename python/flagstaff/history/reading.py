"""What a person asks of the history: the events of a flag, of a value, or of all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from flagstaff._tables.model_fields import auto_now_columns, stored_fields
from flagstaff._tables.rows import all_rows
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.history.entries import read
from flagstaff.history.events import Columns, Event, as_events
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import all_entries, entries, require_history
from flagstaff.models import Change

__all__ = ["events_among", "events_of", "flag_history", "value_history", "was_ever_secret"]

_MOST_EVENTS = 100
_MOST_USERS = 20


def flag_history(
    key: str | None = None,
    *,
    limit: int | None = _MOST_EVENTS,
    before: int | None = None,
    all_users: bool = False,
) -> list[Event]:
    """What was done to a flag and its allow-list, newest first; without a key, to all flags.

    A flag that was renamed has all its history, and a key that was used twice that of both flags.
    `before` gives what is older than a version. Of an event on many users the first 20 are given,
    unless `all_users` is True. Raises UnknownFlagError where there is no such flag and never was
    one, and NoHistoryError on other databases than PostgreSQL.
    """
    return _history(Kind.FLAG, key, limit, before, all_users=all_users)


def value_history(
    key: str | None = None, *, limit: int | None = _MOST_EVENTS, before: int | None = None
) -> list[Event]:
    """What was done to a value, newest first; without a key, to all values.

    A value that was ever secret is not given. Raises UnknownValueError, and NoHistoryError.
    """
    return _history(Kind.VALUE, key, limit, before, all_users=False)


def events_of(
    kind: Kind,
    pk: Any,
    *,
    after: int = 0,
    before: int | None = None,
    limit: int | None = None,
) -> list[Event]:
    """What was done to one row, after and before these versions, newest first."""
    found = entries(kind, pk).filter(id__gt=after)
    return _events(kind, found, limit, before, all_users=False)


def events_among(kind: Kind, found: QuerySet[Change]) -> list[Event]:
    """What these entries of one kind tell of, newest first."""
    return _events(kind, found, None, None, all_users=False)


def was_ever_secret(kind: Kind, pk: Any) -> bool:
    """Whether the history gives none of the values that a row has had."""
    return kind is Kind.VALUE and str(pk) in _ever_secret(entries(kind, pk))


def _history(
    kind: Kind, key: str | None, limit: int | None, before: int | None, *, all_users: bool
) -> list[Event]:
    require_history()
    found = all_entries().filter(relation__in=kind.relations)
    if key is not None:
        found = found.filter(_about(kind, key))
    events = _events(kind, found, limit, before, all_users=all_users)
    if key is not None and not events and before is None:
        # Raises where there is no such row either.
        kind.row(key)
    return events


def _about(kind: Kind, key: str) -> Q:
    """The entries of the row that has the key now, and of those that had it."""
    about = Q(key=key)
    try:
        pk = kind.row(key).pk
    except (UnknownFlagError, UnknownValueError):
        return about
    return about | Q(object_pk=str(pk))


def _events(
    kind: Kind, found: QuerySet[Change], limit: int | None, before: int | None, *, all_users: bool
) -> list[Event]:
    if before is not None:
        found = found.filter(id__lt=before)
    most = None if all_users else _MOST_USERS
    rows = read(found, most_users=most)
    columns = {kind: _columns(kind)}
    secrets = _ever_secret(found) if kind is Kind.VALUE else ()
    return list(islice(as_events(rows, columns, secrets, most_users=most), limit))


def _columns(kind: Kind) -> Columns:
    names = {str(field.column): field.name for field in stored_fields(kind.model)}
    return Columns(names, {*auto_now_columns(kind.model), str(kind.model._meta.pk.column)})


def _ever_secret(found: QuerySet[Change]) -> Collection[str]:
    """Those values whose history is not to be given, also from when they were no secret yet."""
    pks = found.filter(relation="k").order_by().values("object_pk").distinct()
    marked = Q(old__secret=True) | Q(new__secret=True)
    told = all_entries().filter(marked, relation="k", object_pk__in=pks)
    return {*told.order_by().values_list("object_pk", flat=True).distinct(), *_secret_now()}


def _secret_now() -> Iterable[str]:
    """A value may be secret without an entry that says so: what was pruned is gone."""
    model = conf.value_model
    if not any(field.name == "secret" for field in stored_fields(model)):
        return ()
    pks = all_rows(model).filter(secret=True).values_list("pk", flat=True)
    return (str(pk) for pk in pks)
