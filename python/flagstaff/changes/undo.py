"""Undoes entries of the history: what changed returns, unless it was changed again since."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Any, TypeAlias, cast

from django.core.exceptions import ValidationError
from django.db import DataError, Error, OperationalError, connections, transaction
from django.db.models import Q

from flagstaff._stored_value_schema import SECRET_FIELDS, is_secret
from flagstaff._tables.model_fields import (
    RULES,
    AnyField,
    is_auto_now,
    is_auto_now_add,
    is_generated,
    stored_fields,
)
from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff._tables.rows import PrimaryKey, Row, all_rows
from flagstaff._tables.sqlstate import DEADLOCK, UNIQUE_VIOLATION, error_text, sqlstate
from flagstaff._tables.user_lookup import allowed_user_table, batches
from flagstaff._taken_keys import OWNERS, keys_of_apps
from flagstaff._words.json_text import read_exactly
from flagstaff._words.text import Text, some
from flagstaff.changes.allowed_users import (
    ALLOWED,
    AllowedUsersChange,
    allowed_pks_of,
    change_allowed_users,
    in_order,
    users_to_change,
)
from flagstaff.changes.changed import KIND_OPTIONS, Changed, command_words, quoted_command
from flagstaff.changes.fields import cleaned, differing, insert, rejections
from flagstaff.changes.locking import conflict_error, raise_errors, read_rows, require_version
from flagstaff.changes.preview import is_preview, previewed
from flagstaff.changes.row_changes import finished, planned_change, planned_deletion, write_fields
from flagstaff.changes.row_states import RowState, copied
from flagstaff.changes.segment_use import (
    SegmentInUseError,
    checked_together,
    existing_segments,
    missing_among,
    missing_segment,
    rules_that_name,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_value, field_label
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import (
    Change,
    ChangeQuerySet,
    entries_of_key,
    event_key,
    require_history,
    require_triggers,
    side_of,
    version_of,
    versions_of,
)

#: A flag, a value or a segment, and its primary key as the history stores it.
RowId: TypeAlias = tuple[Kind, str]
# A row in memory: JSON by column, and for each allowed user True by its primary key in a tuple.
_Cells: TypeAlias = dict[Any, Any]

# The triggers read it. It ends with the transaction.
_SET_UNDOES = "SELECT pg_catalog.set_config('flagstaff.undoes', %s, true)"
# Beside its cells, what an event can change: whether there is a row.
_EXISTENCE = ""
# The length of a value in a message, which the admin may keep in a cookie.
_MAX_VALUE = 120


@dataclass(frozen=True)
class Conflict:
    """Entries of one event that cannot be undone, newest first, and why."""

    entries: tuple[int, ...]
    error: FlagstaffError


@dataclass(eq=False)
class Undone:
    """What an undo does to one row, or has done."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: The version before the undo, which `expect` of `undo` takes.
    version: int
    before: RowState
    after: RowState
    #: The entries that are undone, newest first.
    entries: tuple[int, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    #: What is written; None if no entry can be undone.
    changed: Changed | None = None

    @property
    def id(self) -> RowId:
        """The kind and the primary key."""
        return self.kind, self.pk

    @property
    def written(self) -> Changed | None:
        """What is written; None if nothing is."""
        return self.changed if self.changed is not None and self.changed.written else None


def undo(
    entries: Iterable[Change],
    *,
    skip_conflicts: bool = False,
    expect: Mapping[RowId, int] | None = None,
) -> list[Undone]:
    """Undoes entries of the history in one transaction, newest first, all or none.

    What a later entry has changed again is a conflict. With `skip_conflicts`, the events that have
    one are left out. `expect` has the versions that rows must have, as `preview_undo` returns them.
    A deadlock is retried once, unless a transaction surrounds the call.

    Raises ConflictError, NoHistoryError, and InvalidChangeError for what cannot be written again.
    """
    require_history()
    ids: dict[RowId, set[int]] = defaultdict(set)
    for entry in entries:
        ids[entry.kind, entry.object_pk].add(entry.pk)
    try:
        return _undo(ids, expect or {}, skip_conflicts=skip_conflicts)
    except (OperationalError, InvalidChangeError) as error:
        cause = error if isinstance(error, OperationalError) else error.__cause__
        state = sqlstate(cause) if isinstance(cause, Error) else None
        is_deadlock = state == DEADLOCK and not connections[conf.database].in_atomic_block
        # A row that another undo has inserted meanwhile exists now.
        if not is_deadlock and state != UNIQUE_VIOLATION:
            raise
    return _undo(ids, expect or {}, skip_conflicts=skip_conflicts)


def preview_undo(
    entries: Iterable[Change],
    *,
    skip_conflicts: bool = True,
    expect: Mapping[RowId, int] | None = None,
) -> list[Undone]:
    """Returns what `undo` would do. Neither locks rows nor writes. Raises as `undo`."""
    with previewed():
        return undo(entries, skip_conflicts=skip_conflicts, expect=expect)


# One row, by its key.


def undo_event(
    kind: Kind, key: str, version: int | None = None, *, expect_version: int | None = None
) -> Changed:
    """Undoes the event of a row that has this version; by default the newest event.

    Raises as `undo`, and UnknownFlagError, UnknownValueError or UnknownSegmentError for the key.
    """
    return _undo_row(kind, key, event_of(kind, key, version), expect_version)


def restore_row(kind: Kind, key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a row and its allowed users as the entry `to` left them: undoes the newer entries.

    A deleted row gets its old primary key back. Users who no longer exist are left out and returned
    as `missing`. Raises as `undo_event`.
    """
    return _undo_row(kind, key, entries_after(kind, key, to), expect_version)


def event_of(kind: Kind, key: str, version: int | None = None) -> list[Change]:
    """Returns the entries of the event of a row that has this version; by default the newest."""
    of_row = _entries_of_row(kind, key)
    if version is None:
        version = of_row.values_list("pk", flat=True).first() or 0
    return entries_of(_require(of_row, [version], key, *KIND_OPTIONS[kind]))


def entries_after(kind: Kind, key: str, to: int) -> list[Change]:
    """Returns the entries of a row that are newer than the entry `to`, after which it existed."""
    of_row = _entries_of_row(kind, key)
    [entry] = _require(of_row, [to], key, *KIND_OPTIONS[kind])
    if entry.is_deletion and entry.relation != ALLOWED_USERS:
        raise InvalidChangeError(
            "{key} did not exist at version {version}; to remove it, use {command}",
            key=key,
            version=str(to),
            command=quoted_command(*command_words(kind, "delete", key)),
        )
    return [*of_row.filter(pk__gt=to)]


def entries_of_versions(versions: Iterable[int]) -> list[Change]:
    """Returns all entries of the events that have these versions, by row and newest first.

    Raises InvalidChangeError if there is no such version, and NoHistoryError.
    """
    require_history()
    return entries_of(_require(Change.objects, {*versions}))


def entries_of_transaction(version: int) -> list[Change]:
    """Returns the entries of the transaction that wrote an entry, by row and newest first.

    Raises as `entries_of_versions`.
    """
    require_history()
    [entry] = _require(Change.objects, [version])
    return sorted(Change.objects.in_transaction(entry), key=_by_row)


def entries_of(chosen: Iterable[Change]) -> list[Change]:
    """Returns all entries of the events of these entries, by row and newest first.

    Another author splits an event; what other transactions wrote in between does not.
    """
    found: dict[int, Change] = {}
    for entry in chosen:
        if entry.pk not in found:
            of_row = Change.objects.of_row(entry.kind, entry.object_pk).in_transaction(entry)
            for _key, event in groupby(of_row.order_by("-pk"), key=event_key):
                entries = {one.pk: one for one in event}
                found |= entries if entry.pk in entries else {}
    return sorted(found.values(), key=_by_row)


def _by_row(entry: Change) -> tuple[str, str, int]:
    return entry.kind.value, entry.object_pk, -entry.pk


def _undo_row(
    kind: Kind, key: str, entries: Sequence[Change], expect_version: int | None
) -> Changed:
    if not entries:
        row = kind.row(key)
        require_version(kind, key, row.pk, expect_version)
        return Changed(kind, key, {}, {}, written=False, version=version_of(kind, row.pk))
    row_id = kind, entries[0].object_pk
    [done] = undo(entries, expect={} if expect_version is None else {row_id: expect_version})
    return cast("Changed", done.changed)


def _entries_of_row(kind: Kind, key: str) -> ChangeQuerySet:
    """The entries of the row that has the key, or of the deleted one that last had it."""
    require_history()
    newest = None if kind.find(key) else entries_of_key(kind, key).newest().first()
    if newest is None or not newest.is_deletion:
        # Raises if there never was such a row.
        return Change.objects.of_row(kind, kind.row(key).pk).newest()
    # Another row may have got the primary key since. SQL may delete the users after the flag.
    until = Q(pk__lte=newest.pk) | Q(transaction_id=newest.transaction_id, key=key)
    return Change.objects.of_row(kind, newest.object_pk).filter(until).newest()


def _require(entries: Any, versions: Collection[int], *arguments: str) -> list[Change]:
    """Returns the entries of these versions. Raises InvalidChangeError if one is missing."""
    found = [one for batch in batches(versions) for one in entries.filter(pk__in=batch)]
    for missing in sorted({*versions}.difference(entry.pk for entry in found)):
        raise InvalidChangeError(
            "the history has no version {version}; see {command}",
            version=str(missing),
            command=quoted_command("history", *arguments),
        )
    return found


# The rows in memory.


@dataclass(frozen=True)
class _Event:
    """What one event did to a row. Its cells are those that it wrote, or all of them."""

    #: Newest first.
    entries: Sequence[Change]
    #: None where there was no row.
    old: _Cells | None
    new: _Cells | None
    #: The entry that has the old columns.
    source: int

    @classmethod
    def of(cls, entries: Sequence[Change]) -> _Event:
        """Returns the event of these entries, newest first."""
        rows = [one for one in entries if one.relation != ALLOWED_USERS]
        old, new = (side_of(rows[-1], "old"), side_of(rows[0], "new")) if rows else ({}, {})
        old_users, new_users = _Cells(), _Cells()
        for entry in entries:
            if entry.relation == ALLOWED_USERS:
                removed, added = _user_cells(entry.old), _user_cells(entry.new)
                old_users |= removed | dict.fromkeys(added)
                new_users = added | dict.fromkeys(removed) | new_users
        return cls(
            entries,
            None if old is None else old | old_users,
            None if new is None else new | new_users,
            rows[-1].pk if rows else 0,
        )

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(entry.pk for entry in self.entries)

    @property
    def hidden(self) -> list[str]:
        """The columns that were set and are not stored."""
        return [*dict.fromkeys(name for one in self.entries for name in one.hidden or ())]


class _Row(Undone):
    """A row on its way back through its events, from the newest to the oldest."""

    def __init__(
        self, row_id: RowId, newest: Change, row: Row | None, cells: _Cells | None
    ) -> None:
        state = RowState(row_id[0], row, _users(cells))
        key = newest.key if row is None else row.key
        super().__init__(row_id[0], key, row_id[1], newest.pk, state, state)
        #: None if there is no row.
        self.cells = self.present = cells
        #: The columns that are written, and the entries that say what was in them.
        self.sources: dict[str, int] = {}
        #: What is written, by attribute of the model.
        self.values: dict[str, Any] = {}
        self.fields = {str(one.column): one for one in stored_fields(self.kind.model)}
        # What later events that are not undone have changed, and the last one that created the row.
        self._since: set[object] = set()
        self._created: _Event | None = None
        self._is_other = False

    @property
    def key_before(self) -> str | None:
        """The key before the undo; None if there is no row."""
        return None if self.present is None else self.key

    @property
    def key_after(self) -> str | None:
        """The key after the undo; None if there is no row then."""
        [column] = (name for name, one in self.fields.items() if one.name == "key")
        return None if self.cells is None else self.cells[column]

    def undo_chosen(self, entries: Sequence[Change], chosen: Collection[int]) -> None:
        """Undoes the chosen ones among all entries, newest first. An event is undone or kept.

        Another transaction may have written between the entries of an event. It cannot have changed
        the same column or user, so the event is undone as a whole.
        """
        newest: dict[int, int] = {}
        for entry in entries:
            newest.setdefault(entry.transaction_id, entry.pk)
        in_events = sorted(entries, key=lambda one: (-newest[one.transaction_id], -one.pk))
        for key, of_event in groupby(
            in_events, key=lambda one: event_key(one) if one.pk in chosen else None
        ):
            event = _Event.of([*of_event])
            if key is not None:
                try:
                    self._undo(event)
                except FlagstaffError as error:
                    self.conflicts += (Conflict(event.ids, error),)
                else:
                    self.entries += event.ids
                    continue
            # One by one: also what was changed and changed back was changed.
            for entry in event.entries:
                self._keep(_Event.of([entry]))

    def _keep(self, event: _Event) -> None:
        """Notes what an event has changed that is not undone."""
        old, new = event.old or {}, event.new
        if event.old is None or new is None:
            self._since.add(_EXISTENCE)
        if event.old is None:
            self._created = event
        elif new is None and not self._is_back(event):
            self._is_other = True
        else:
            if new is None:
                # The row that an undo has created, maybe otherwise than it was.
                new = cast("_Event", self._created).new
            self._since |= {*event.hidden, *_differing(old, new or {})}

    def _is_back(self, deletion: _Event) -> bool:
        """Whether an undo of this deletion has created the row."""
        created = self._created.entries if self._created is not None else ()
        return not {pk for entry in created for pk in entry.undone}.isdisjoint(deletion.ids)

    def _undo(self, event: _Event) -> None:
        """Takes the row back. Raises ConflictError or InvalidChangeError, and changes nothing."""
        if self._is_other and self.cells is not None:
            raise self._conflict(Text("it was created again since"))
        if event.old is None:
            if self.cells is not None and self._since:
                raise self._conflict(Text("it was changed since it was created"))
            self.cells, self.sources = None, {}
        elif event.new is None:
            self._undo_deletion(event, event.old)
        elif self.cells is None:
            command = quoted_command(*command_words(self.kind, "restore", self.key, "VERSION"))
            text = Text("it was deleted since; restore it with {command}", command=command)
            raise self._conflict(text)
        else:
            self._undo_change(event, event.old, event.new, self.cells)

    def _undo_deletion(self, event: _Event, old: _Cells) -> None:
        if self.cells is not None and self._is_back(event):
            self._keep(event)
            return
        if self.cells is not None or _EXISTENCE in self._since:
            raise self._conflict(Text("it was created again since"))
        if event.hidden:
            raise InvalidChangeError(
                "{key} was secret, so the history cannot bring it back; create it with {command}",
                key=self.key,
                command=quoted_command("value", "create", self.key, "-"),
            )
        if not any(one.name == "key" and name in old for name, one in self.fields.items()):
            raise self._conflict(Text("its key has another column now; create it again"))
        fields = {name: one for name, one in self.fields.items() if name in old}
        written = (name for name, one in fields.items() if not is_generated(one))
        self.cells, self.sources = old, dict.fromkeys(written, event.source)

    def _undo_change(self, event: _Event, old: _Cells, new: _Cells, cells: _Cells) -> None:
        if event.hidden:
            raise InvalidChangeError(
                "{key} is secret, so the history says only that its {fields} changed; enter it "
                "again with {command}",
                key=self.key,
                fields=some(map(field_label, event.hidden)),
                command=quoted_command("value", "set", self.key, "-"),
            )
        back, sources, users_again = dict(cells), dict(self.sources), 0
        for cell in _differing(old, new):
            field = self.fields.get(cell)
            if isinstance(cell, tuple):
                pass
            # Of columns that were added since, the entry says nothing.
            elif cell not in old or field is None or is_auto_now(field) or is_generated(field):
                continue
            present = cells.get(cell)
            if _is_same(present, old.get(cell)):
                continue
            is_conflict = cell in self._since or not _is_same(present, new.get(cell))
            if field is None:
                users_again += is_conflict
            else:
                self._require_undoable(field, present, is_conflict=is_conflict)
                sources[cell] = event.source
            back[cell] = old.get(cell)
        if users_again:
            text = Text(
                "of its allowed users, {count} were added or removed again since",
                count=str(users_again),
            )
            raise self._conflict(text)
        self.cells, self.sources = back, sources

    def _require_undoable(self, field: AnyField, present: object, *, is_conflict: bool) -> None:
        """Raises ConflictError if a column must stay as it is."""
        secret_columns = {name for name, one in self.fields.items() if one.name in SECRET_FIELDS}
        if field.name == "secret" and present and not secret_columns.isdisjoint(self._since):
            raise self._conflict(Text("it was set while it was secret"))
        if is_conflict:
            row, name = self.before.row, field.name
            secret = name in SECRET_FIELDS and row is not None and is_secret(row)
            value = describe_value(present, field=name, secret=secret, limit=_MAX_VALUE)
            text = Text(
                "{field} was changed again and is {value} now", field=field_label(name), value=value
            )
            raise self._conflict(text)

    def _conflict(self, why: Text) -> ConflictError:
        text = Text("{key}: {why}", key=self.key, why=why)
        return ConflictError(text, key=self.key, actual=self.version)

    def refuse(self, error: FlagstaffError) -> None:
        """Undoes nothing."""
        self.conflicts += (Conflict(self.entries, error),)
        self.cells, self.entries, self.sources, self.values = self.present, (), {}, {}

    def unwritable(self, problem: str) -> InvalidChangeError:
        """Returns why the row cannot be written as it was."""
        return InvalidChangeError("{field}: {problem}", field=self.key, problem=problem)

    def read_values(self, entries: Mapping[int, Any]) -> None:
        """Takes what is written from the entries. Refuses what the model does not accept."""
        attributes = {self.fields[name].attname: entry for name, entry in self.sources.items()}
        self.values = {name: getattr(entries[entry], name) for name, entry in attributes.items()}
        if self.before.row is not None and self.cells is not None:
            try:
                cleaned(self.before.row, differing(self.before.row, self._new()), is_past=True)
            except InvalidChangeError as error:
                self.refuse(error)

    def _new(self) -> dict[str, Any]:
        """What is written, by the name of the field."""
        fields = (one for one in self.fields.values() if one.attname in self.values)
        return {one.name: self.values[one.attname] for one in fields if not one.primary_key}

    def plan(self, existing: Collection[PrimaryKey]) -> None:
        """Sets what is written. `existing` are those of the added users who exist."""
        if not self.entries:
            return
        row, users, new = self.before.row, _users(self.present), self._new()
        wanted = in_order(_users(self.cells))
        change = users_to_change(users, wanted, skip_unknown=True, existing=existing)
        new[ALLOWED] = users.difference(change.removed).union(change.added)
        self.changed = Changed(self.kind, self.key, {}, {}, written=False, version=self.version)
        self.after = RowState(self.kind, None)
        if self.cells is not None and row is not None:
            self.after = self.before.after(new)
            planned = planned_change(self.kind, row, self._new(), change)
            self.changed = replace(planned, written=bool(planned.new), version=self.version)
        elif self.cells is not None:
            self.after = RowState(self.kind, self.kind.model(**self.values), new.pop(ALLOWED))
            for one in self.fields.values():
                if is_auto_now(one) or is_auto_now_add(one):
                    new.pop(one.name, None)
            new |= {ALLOWED: list(change.added)} if change.added else {}
            key, missing = self.after.row.key, change.missing
            self.changed = Changed(self.kind, key, None, new, written=True, missing=missing)
        elif row is not None:
            of_flag = users if self.kind is Kind.FLAG else None
            self.changed = replace(planned_deletion(self.kind, row, of_flag), written=True)


def _user_cells(stored: Sequence[object] | None) -> _Cells:
    """Returns users of an entry, but those of a user model that had other primary keys."""
    to_python, cells = user_field(conf.flag_model).to_python, _Cells()
    for pk in stored or ():
        with suppress(ValidationError):
            cells[(to_python(pk),)] = True
    return cells


def _users(cells: _Cells | None) -> frozenset[PrimaryKey]:
    found = (cell for cell, value in (cells or {}).items() if value is True)
    return frozenset(cell[0] for cell in found if isinstance(cell, tuple))


def _differing(old: _Cells, new: _Cells) -> Iterator[Any]:
    """Yields the cells in which two rows differ."""
    for cell in old | new:
        if cell not in old or cell not in new or not _is_same(old[cell], new[cell]):
            yield cell


def _is_same(left: object, right: object) -> bool:
    """Whether both are the same JSON. In Python, True equals 1 and 1 equals 1.0."""
    return repr(left) == repr(right)


# The undo.


def _undo(
    ids: Mapping[RowId, set[int]], expect: Mapping[RowId, int], *, skip_conflicts: bool
) -> list[Undone]:
    with transaction.atomic(using=conf.database):
        rows = _read_rows(ids) if ids else []
        for kind in {kind for kind, _pk in expect}:
            # Without triggers the version stays the same whatever is changed.
            require_triggers(kind)
        for row in rows:
            seen = expect.get(row.id, row.version)
            if row.version != seen:
                advice = Text("read it again")
                raise conflict_error(row.kind, row.key, row.pk, seen, row.version, advice)
        if not skip_conflicts:
            raise_errors(one.error for row in rows for one in row.conflicts)
        added = {pk for row in rows for pk in _users(row.cells) - _users(row.present)}
        existing = allowed_user_table().existing(added) if added else ()
        for row in rows:
            row.plan(existing)
        if not is_preview():
            _write([row for row in rows if row.written])
        return [*rows]


def _read_rows(ids: Mapping[RowId, set[int]]) -> list[_Row]:
    """Returns the rows as the undo of these entries leaves them. A constant number of queries."""
    # Locked before anything else is read. The rules that are written may name any segment. Locked
    # later than other segments, they could deadlock with a change of rules: all are locked.
    kinds, to_lock = {kind for kind, _pk in ids}, {*ids}
    if Kind.SEGMENT in kinds and len(kinds) > 1:
        pks = all_rows(Kind.SEGMENT.model).values_list("pk", flat=True)
        to_lock |= {(Kind.SEGMENT, str(pk)) for pk in pks}
    stored = read_rows(to_lock, lock=not is_preview())
    entries, cells, rows = _entries_since(ids), _cells_of(stored), list[_Row]()
    for row_id in sorted(ids, key=lambda row: max(ids[row]), reverse=True):
        row = _Row(row_id, entries[row_id][0], stored.get(row_id), cells.get(row_id))
        row.undo_chosen(entries[row_id], ids[row_id])
        rows.append(row)
    for kind in Kind:
        _read_values(kind, [row for row in rows if row.kind is kind])
    _refuse_taken_keys(rows)
    _refuse_missing_segments(rows)
    return rows


def _cells_of(stored: Mapping[RowId, Row]) -> dict[RowId, _Cells]:
    """Returns the columns of rows as the history would store them, and the allowed users."""
    cells: dict[RowId, _Cells] = {}
    for kind in Kind:
        for batch in batches(pk for of_kind, pk in stored if of_kind is kind):
            with connections[conf.database].cursor() as cursor:
                cursor.execute(fill(sql("current_rows_v1"), _names(kind)), [batch])
                cells |= {(kind, pk): read_exactly(text) for pk, text in cursor.fetchall()}
    flags = [row for (kind, _pk), row in stored.items() if kind is Kind.FLAG]
    for pk, users in allowed_pks_of(flags).items():
        cells[Kind.FLAG, str(pk)] |= {(user,): True for user in users}
    return cells


def _entries_since(ids: Mapping[RowId, set[int]]) -> dict[RowId, list[Change]]:
    """Returns the entries of each row from the oldest that is undone on, newest first."""
    by_row = defaultdict[RowId, list[Change]](list)
    oldest = {row: min(of_row) for row, of_row in ids.items()}
    chosen = {pk for of_row in ids.values() for pk in of_row}
    newer = Change.objects.of_kinds({kind for kind, _pk in ids})
    for batch in batches({pk for _kind, pk in ids}):
        found = newer.filter(object_pk__in=batch, id__gte=min(oldest.values()))
        # Of other updates only the names of the columns are needed, and the rows may be long.
        is_short = Q(action=Change.Action.UPDATE) & ~Q(relation=ALLOWED_USERS) & ~Q(pk__in=chosen)
        for entry in [*found.exclude(is_short), *found.filter(is_short).short()]:
            row = entry.kind, entry.object_pk
            if row in oldest and entry.pk >= oldest[row]:
                by_row[row].append(entry)
    for row, of_row in ids.items():
        by_row[row].sort(key=lambda entry: -entry.pk)
        _require(Change.objects, of_row.difference(entry.pk for entry in by_row[row]))
    return by_row


def _read_values(kind: Kind, rows: Sequence[_Row]) -> None:
    """Reads what is written from the entries, with the present types of the columns."""
    names = defaultdict[int, list[str]](list)
    for row in rows:
        for name, entry in row.sources.items():
            names[entry].append(name)
    wanted = json.dumps([{"entry": entry, "names": taken} for entry, taken in names.items()])
    manager = kind.model._base_manager.using(conf.database)
    try:
        with transaction.atomic(using=conf.database):
            query = fill(sql("history_rows_v1"), _names(kind))
            found: list[Any] = [*manager.raw(query, [wanted])] if names else []
    except DataError as error:
        # A column has another type now. Which row has the value is not known.
        for row in rows if len(rows) > 1 else ():
            _read_values(kind, [row])
        if len(rows) == 1:
            rows[0].refuse(rows[0].unwritable(error_text(error)))
        return
    entries = {one.flagstaff_entry: one for one in found}
    for row in rows:
        row.read_values(entries)


def _refuse_taken_keys(rows: Collection[_Row]) -> None:
    """Refuses rows whose key something else has after the undo."""
    new = [row for row in rows if row.key_after not in {None, row.key_before}]
    wanted = {str(row.key_after) for row in new}
    if not wanted:
        return
    # What has the keys beside the rows of the undo. Flags and values have no key in common.
    owners = {(False, key): owner for key, owner in keys_of_apps(wanted).items()}
    for kind in Kind:
        own = [row.pk for row in rows if row.kind is kind]
        others = all_rows(kind.model).filter(key__in=wanted).exclude(pk__in=own)
        keys = others.values_list("key", flat=True)
        owners |= {(kind is Kind.SEGMENT, key): kind.value for key in keys}
    while True:
        places = {row: (row.kind is Kind.SEGMENT, str(row.key_after)) for row in rows if row.cells}
        count = Counter(places.values())
        taken = (row for row in new if row.cells and row.key_after != row.key_before)
        row = next((row for row in taken if places[row] in owners or count[places[row]] > 1), None)
        if row is None:
            return
        owner = owners.get(places[row], "flag")
        text = Text(
            "{key}: {owner} has this key now; rename or delete it first",
            key=str(row.key_after),
            owner=OWNERS.get(owner, Text("a segment")),
        )
        # Its present key is no longer free for the others.
        row.refuse(ConflictError(text, key=row.key, actual=row.version))


def _refuse_missing_segments(rows: Collection[_Row]) -> None:
    """Refuses rows whose rules name a segment that does not exist after the undo.

    If only segments are undone, these are refused: they are in use.
    """
    written = [row for row in rows if row.kind is not Kind.SEGMENT and row.values.get(RULES)]
    segments = [row for row in rows if row.kind is Kind.SEGMENT]
    kept = {row.key_after for row in segments}
    freed = {row.key: row for row in segments if row.key_before and row.key_before not in kept}
    in_use = rules_that_name(*freed) if freed and len(segments) == len(rows) else {}
    for key, names in in_use.items():
        freed[key].refuse(SegmentInUseError(key, some(names)))
    existing: set[str | None] = {*existing_segments(row.values[RULES] for row in written)}
    existing -= {row.key_before for row in segments}
    existing |= {row.key_after for row in segments}
    for row in written:
        if problem := missing_among(row.values[RULES], existing):
            row.refuse(row.unwritable(problem))


def _names(kind: Kind) -> dict[str, str]:
    connection, meta = connections[conf.database], kind.model._meta
    quote = connection.ops.quote_name
    names = {"table": quote(meta.db_table), "pk": quote(str(meta.pk.column))}
    return {**own_names(connection), **names}


def _write(rows: Sequence[_Row]) -> None:
    rules = (one for row in rows if isinstance(one := row.values.get(RULES), list))
    # Before a row is inserted: another transaction may wait for its key, and have the segments.
    missing_segment([*chain.from_iterable(rules)], lock=True)
    with checked_together():
        for row in _in_order(rows):
            _record_undo_of(row.entries)
            _write_row(row, cast("Changed", row.changed))
        _record_undo_of(())
    if any(row.before.row is None for row in rows):
        # The row that a foreign key names may be gone, which is only found at the commit.
        with rejections(secret=True):
            connections[conf.database].check_constraints()
    for kind in {row.kind for row in rows}:
        of_kind = [row for row in rows if row.kind is kind]
        versions = versions_of(kind, [row.pk for row in of_kind])
        for row in of_kind:
            row.changed = finished(cast("Changed", row.changed), versions.get(row.pk, 0))


def _record_undo_of(entries: Sequence[int]) -> None:
    """Makes the next entries of this transaction store the entries that they undo."""
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_SET_UNDOES, [json.dumps(entries) if entries else ""])


def _write_row(row: _Row, changed: Changed) -> None:
    """Writes a row. An error rolls back the whole undo, so no savepoint is needed."""
    # Copies: the states stay as they are.
    before, after = (state.row and copied(state.row) for state in (row.before, row.after))
    old, new = changed.old or {}, changed.new or {}
    users = AllowedUsersChange(tuple(new.get(ALLOWED, ())), tuple(old.get(ALLOWED, ())))
    if after is None:
        before.delete(using=conf.database)
    elif before is not None:
        write_fields(before, changed, users)
    else:
        added = {one.attname for one in row.fields.values() if is_auto_now_add(one)}
        insert(after)
        if times := {name: row.values[name] for name in added & row.values.keys()}:
            # Django has set them to the present.
            all_rows(row.kind.model).filter(pk=after.pk).update(**times)
        change_allowed_users(after, users)


def _in_order(rows: Iterable[_Row]) -> Iterator[_Row]:
    """Yields deletions first, and a row that frees a key before the one that gets it."""
    waiting = sorted(rows, key=lambda row: (row.cells is not None, row.key))
    while waiting:
        holders = {(row.kind, row.key_before): row for row in waiting}
        ready = [
            row
            for row in waiting
            if row.key_after is None or holders.get((row.kind, row.key_after), row) is row
        ]
        # The database refuses rows that exchange their keys.
        yield from ready or waiting
        waiting = [row for row in waiting if row not in ready] if ready else []
