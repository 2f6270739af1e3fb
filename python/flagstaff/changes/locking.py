"""What keeps changes apart: the lock of a row, its expected version, and the footprint.

The footprint is what decides about the users of a change, compared as the last thing of a write.
Two changes that nobody would notice alone, such as turning a flag on and widening the segment of
its rules, may give it to everybody together. Nobody locks a row that he does not write, so that
nothing holds a kill: each write compares, one after the other, what its question was about.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from django.db import OperationalError
from django.utils.crypto import salted_hmac

from flagstaff._tables.database import DEADLOCK, LOCK_NOT_AVAILABLE, db, names, sqlstate
from flagstaff._tables.rows import (
    BUCKET_BY,
    RULES,
    Kind,
    Row,
    all_rows,
    declared_row,
    is_stored,
    store,
    unknown_row,
)
from flagstaff._text import Sentence, canonical_json, joined, say, some
from flagstaff._text.times import TimeValue
from flagstaff.changes.fields import ALLOWED, allowed_pks_of
from flagstaff.changes.row_states import Impact, copied, expectation, is_preview, rules_of
from flagstaff.changes.rule_use import names_in, read_named
from flagstaff.exceptions import BusyError, ConflictError, FlagstaffError
from flagstaff.history.describe import (
    describe_actor,
    describe_change,
    field_label,
    readable_names_of_actors,
)
from flagstaff.history.log import (
    Change,
    Event,
    events,
    require_history,
    require_triggers,
    versions_of,
)
from flagstaff.validators import VALUE

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
    return say("{actor} at {time}: {change}", actor=actor, time=TimeValue(event.at), change=change)


#: A digest of each deciding field, by what the row is, its key, and the name of the field.
Footprint: TypeAlias = Mapping[tuple[str, str, str], str]

#: The fields that decide about users, by what the row is; None is an experiment.
DECIDING: Mapping[Kind | None, tuple[str, ...]] = {
    Kind.FLAG: ("enabled", "rollout_percent", RULES, BUCKET_BY),
    Kind.VALUE: (VALUE, RULES, BUCKET_BY),
    Kind.SEGMENT: ("conditions",),
    None: ("is_active", RULES),
}
_SALT = "flagstaff.footprint"
# The fields that a message names.
_MAX_NAMED = 5


class ChangedMeanwhileError(ConflictError):
    """what decides about the users has changed meanwhile; look at it again"""


def footprint_of(reached: Impact, rules: Iterable[object] = ()) -> Footprint:
    """Returns the footprint of what a change reaches.

    These are the rows before the change, what uses those that change, and the segments and flags
    that rules of both need, before and after; also those of other `rules`. Queries these, and the
    allowed users of flags that are turned on, or needed.
    """
    parts = [
        digests(state.kind, state.row, state.allowed_users) for state in reached.before.values()
    ]
    parts += _allowed_users(reached)
    # Flags and values that use one are rows of the change.
    parts += [digests(None, use.row) for use in reached.uses if use.kind is None]
    read = [*rules, *(use.rules for use in reached.uses)]
    for side in reached.sides:
        read += [rules_of(state.row) for state in side.values()]
    wanted = {name for row_rules in read for name, _place in names_in(row_rules)}
    # Those that change themselves are rows of the change.
    named = read_named(wanted, reached.rows)
    flags = [row for (kind, _key), row in named.items() if kind is Kind.FLAG]
    users = allowed_pks_of(flags) if flags else {}
    parts += [digests(kind, row, users.get(row.pk)) for (kind, _key), row in named.items()]
    return {place: digest for part in parts for place, digest in part}


def _allowed_users(reached: Impact) -> Iterator[Iterator[tuple[tuple[str, str, str], str]]]:
    """Yields the allowed users of flags that are turned on, who had nothing while they were off."""
    sides = [(reached.before.get(key), reached.after.get(key)) for key in reached.rows]
    turned_on = [
        old
        for old, new in sides
        if old is not None and new is not None and old.kind is Kind.FLAG
        if old.allowed_users is None and new.row.enabled and not old.row.enabled
    ]
    users = allowed_pks_of([state.row for state in turned_on]) if turned_on else {}
    yield from (digests(Kind.FLAG, state.row, users[state.row.pk]) for state in turned_on)


def digests(
    kind: Kind | None, row: Any, allowed_users: Collection[object] | None = None
) -> Iterator[tuple[tuple[str, str, str], str]]:
    """Yields the footprint of one row; with the allowed users of a flag, if they are given."""
    noun = "experiment" if kind is None else kind.value
    for name in DECIDING[kind]:
        yield (noun, row.key, name), _digest(getattr(row, name))
    if allowed_users is not None:
        yield (noun, row.key, ALLOWED), _digest(sorted(map(str, allowed_users)))


def _digest(value: Any) -> str:
    text = canonical_json(value, allow_nan=True)
    # Half of it is enough, and what waits stores many.
    return salted_hmac(_SALT, text, algorithm="sha256").hexdigest()[:32]


def compare_alone() -> None:
    """Waits until no other transaction compares. Held until the commit, and nothing waits for more.

    To be called as the last thing before a footprint is read again. SQLite has one writer anyway.
    """
    if db.is_postgresql:
        db.lock(f"flagstaff look {names(db.connection)['token_table']}")


def require_same(expected: Footprint, present: Footprint, reached: Impact) -> None:
    """Raises ChangedMeanwhileError with the fields that differ.

    Of what else uses a row that changes, neither the row is named nor what else its rules need, nor
    what a flag needs that they name: not everybody may see them.
    """
    places = [at for at in {**expected, **present} if expected.get(at) != present.get(at)]
    if not places:
        return
    visible = {(str(kind and kind.value), key) for kind, key in reached.rows}
    states = [side[at] for side in reached.sides for at in reached.rows if at in side]
    for state in states:
        visible |= {(kind.value, key) for (kind, key), _ in names_in(rules_of(state.row))}
    is_open = not reached.uses
    shown = [at for at in places if at[:2] in visible or (is_open and at[0] != Kind.FLAG.value)]
    fields = some([f"{field_label(name)} of {key}" for _noun, key, name in shown], _MAX_NAMED)
    what = fields if shown else say("what depends on it, or what it depends on,")
    text = say("{what} has changed meanwhile; look at it again", what=what)
    raise ChangedMeanwhileError(text, key=next((key for _kind, key in reached.rows), ""))
