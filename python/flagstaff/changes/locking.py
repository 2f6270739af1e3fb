"""Locks a row, and compares its version with the expected one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from django.db import OperationalError

from flagstaff._tables.database import DEADLOCK, LOCK_NOT_AVAILABLE, db, sqlstate
from flagstaff._tables.rows import Kind, Row, all_rows, declared_row, is_stored, store, unknown_row
from flagstaff._text import Sentence, joined, say
from flagstaff._text.times import full_time
from flagstaff.changes.row_states import copied, expectation, is_preview
from flagstaff.exceptions import BusyError, ConflictError, FlagstaffError
from flagstaff.history.describe import describe_actor, describe_change, readable_names_of_actors
from flagstaff.history.log import (
    Change,
    Event,
    events,
    require_history,
    require_triggers,
    versions_of,
)

_VERSION_CONFLICT = say("{key} has {present}, but version {expected} was expected")
_VERSION_CONFLICT_WITH_EVENTS = say(
    "{key} has {present}, but version {expected} was expected; changes after version {expected}: "
    "{events}"
)

_MAX_NEWER = 20
# The length of each value in a message, which the admin may keep in a cookie.
_MAX_VALUE = 120


class LockedRow(NamedTuple):
    """A row that is locked until the surrounding transaction ends, but for a preview."""

    row: Row
    #: Whether the key had no row before, but is declared.
    is_new: bool


@contextmanager
def locked_row(kind: Kind, key: str, expect_version: int | None = None) -> Iterator[LockedRow]:
    """Yields the row of a key, locked. What code declares has one then, but for a preview.

    Raises UnknownFlagError, UnknownValueError, or NoHistoryError if a version is expected and
    cannot be known.
    """
    if expect_version is not None:
        # Before the lock, for which a kill waits.
        require_versions(kind)
    with block_of_change():
        row = row_to_change(kind, key) or declared_row(kind.model, key)
        if row is None:
            raise unknown_row(kind.model, key)
        # Only a row is a lock that every writer meets, also one that SQL makes and has not
        # committed yet. Without it, a kill would find nothing to turn off.
        is_new = not is_stored(row) and (is_preview() or store(row))
        yield LockedRow(row, is_new)


@contextmanager
def block_of_change() -> Iterator[None]:
    """Opens the transaction of a change. A preview has none.

    Raises BusyError if a lock is not free in time, or if another transaction waits for this one. A
    transaction around it is as before.
    """
    if is_preview():
        yield
        return
    try:
        with db.atomic():
            yield
    except OperationalError as error:
        if sqlstate(error) in {DEADLOCK, LOCK_NOT_AVAILABLE}:
            raise BusyError from error.__cause__
        raise


def row_to_change(kind: Kind, key: str) -> Row | None:
    """Returns the row of a key, locked but for a preview, which takes the one that it expects."""
    if (expected := expectation()) is None:
        return kind.find(key, lock=not is_preview())
    state = expected.rows.get((kind, key))
    return None if state is None else copied(state.row)


def read_rows(rows: Iterable[tuple[Kind, str]], *, lock: bool) -> dict[tuple[Kind, str], Row]:
    """Returns those of the rows that exist, given by kind and primary key.

    With `lock`, they stay locked until the surrounding transaction ends. They are locked in the
    same order as by an import, so that the two cannot deadlock.
    """
    # What code declares need not have a row, and has no key then.
    ids = [(kind, pk) for kind, pk in rows if pk not in ("", str(None))]
    by_id = dict[tuple[Kind, str], Row]()
    for kind in Kind:
        # The database's order of keys, which may differ from Python's.
        ordered = all_rows(kind.model).order_by("key")
        ordered = ordered.select_for_update() if lock else ordered
        for pks in db.batches(sorted({pk for id_kind, pk in ids if id_kind is kind})):
            by_id |= {(kind, str(row.pk)): row for row in ordered.filter(pk__in=pks)}
    return by_id


def require_versions(kind: Kind) -> None:
    """Raises NoHistoryError if the versions of these rows cannot be known."""
    require_history()
    # Without triggers the version stays the same whatever is changed.
    require_triggers(kind)


def require_version(
    kind: Kind, key: str, pk: object, expected: int | None, advice: str | None = None
) -> None:
    """Raises ConflictError unless a locked row has the expected version. None expects nothing.

    `advice` says what to do next, if it is not to expect the present version. Raises NoHistoryError
    if the version cannot be known.
    """
    if expected is not None:
        require_versions(kind)
        compare_version(kind, key, pk, expected, advice)


def compare_version(
    kind: Kind, key: str, pk: object, expected: int | None, advice: str | None = None
) -> None:
    """Raises as `require_version`, after `require_versions`.

    The one version check of the API, the admin and the commands.
    """
    if expected is None:
        return
    actual = versions_of(kind, [pk]).get(str(pk), 0)
    if actual != expected:
        advice = advice or say("to change it anyway, expect version {version}", version=str(actual))
        raise conflict_error(kind, key, pk, expected, actual, advice)


def conflict_error(  # noqa: PLR0913, PLR0917 (the row, both versions, and what to do next)
    kind: Kind, key: str, pk: object, expected: int, actual: int | None, advice: str
) -> ConflictError:
    """Returns an error with both versions, the event that made the expected one, and newer ones."""
    changes = Change.objects.of_row(kind, pk).short()
    newer = [*events(changes.filter(id__gt=expected).newest()[:_MAX_NEWER])]
    seen = next(events(changes.newest(expected + 1)[:1]), None)
    names = readable_names_of_actors(newer)
    template = _VERSION_CONFLICT_WITH_EVENTS if newer else _VERSION_CONFLICT
    text = say(
        template,
        key=key,
        present=say("version {number}", number=str(actual)) if actual else say("no version"),
        expected=str(expected),
        events=joined((event_text(event, names) for event in newer), "; "),
    )
    return ConflictError(
        text,
        key=key,
        expected=expected,
        actual=actual,
        seen=seen,
        newer=newer,
        advice=advice,
    )


def raise_errors(errors: Iterable[FlagstaffError]) -> None:
    """Raises the error, or one ConflictError that names all of them, if there are any."""
    errors = list(errors)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        keys = [error.key for error in errors if isinstance(error, ConflictError)]
        text = joined((error.message for error in errors), "\n")
        raise ConflictError(text, key=keys[0] if keys else "")


def event_text(event: Event, names: Mapping[str, str]) -> Sentence:
    """Returns who changed what, and when."""
    # An actor is any text, also one of several lines.
    actor = " ".join(describe_actor(event, names).split())
    change = describe_change(event, limit=_MAX_VALUE)
    return say("{actor} at {time}: {change}", actor=actor, time=full_time(event.at), change=change)
