"""Undoes entries of the history: what changed returns, unless it was changed again since.

A row is taken back in memory, entry by entry from the newest to the oldest. Then it is written by
the functions that write every change; a preview runs the same functions, which write nothing there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import groupby
from typing import Any, TypeAlias, cast

from django.core.exceptions import ValidationError
from django.db import DataError, Error, OperationalError
from django.db.models import ForeignKey, JSONField, Q, QuerySet

from flagstaff._tables.database import (
    DEADLOCK,
    UNIQUE_VIOLATION,
    db,
    error_text,
    fill,
    sql,
    sqlstate,
    user_field,
)
from flagstaff._tables.rows import (
    ALLOWED_USERS,
    CONDITIONS,
    OWNERS,
    RULES,
    AnyField,
    Kind,
    PrimaryKey,
    Row,
    all_rows,
    declaration,
    fields_to_set,
    is_auto_now,
    is_generated,
    keys_of_apps,
    stored_fields,
)
from flagstaff._tables.user_lookup import LOADDATA, allowed_user_table
from flagstaff._text import ExactNumber, Sentence, read_exactly, say, some
from flagstaff.changes.fields import (
    KIND_OPTIONS,
    AllowedUsersChange,
    Changed,
    allowed_pks_of,
    cleaned,
    command_words,
    differing,
    in_order,
    quoted_command,
    refusal,
    rejections,
    written_together,
)
from flagstaff.changes.locking import (
    block_of_change,
    conflict_error,
    raise_errors,
    read_rows,
    require_version,
)
from flagstaff.changes.row_changes import delete_locked, insert_row, write_change
from flagstaff.changes.row_states import Place, RowState, copied, is_preview, previewed, rules_of
from flagstaff.changes.rule_use import (
    Name,
    existing_names,
    missing_among,
    needs_alone,
    require_unused,
    rule_errors,
    uses_by_name,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_value, field_label
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
from flagstaff.validators import SECRET, SECRET_FIELDS, is_secret

#: A flag, a value or a segment, and its primary key as the history stores it.
RowId: TypeAlias = tuple[Kind, str]
#: The columns of a row as the history stores them.
_Columns: TypeAlias = dict[str, Any]

# The triggers read it. It ends with the transaction.
_SET_UNDOES = "SELECT pg_catalog.set_config('flagstaff.undoes', %s, true)"
# Beside the columns, what an entry can change: whether there is a row.
_EXISTENCE = ""
# The rows that one query reads: all of them may be long.
_BATCH = 500
# The length of a value in a message, which the admin may keep in a cookie.
_MAX_VALUE = 120


class Undone:
    """What an undo does to one row, or has done: the row on its way back through its entries."""

    def __init__(
        self,
        row_id: RowId,
        entries: Sequence[Change],
        before: RowState,
        columns: _Columns | None,
        without: Collection[str],
    ) -> None:
        self.id = row_id
        #: The primary key is as the history stores it.
        self.kind, self.pk = row_id
        self.key = entries[0].key if before.row is None else before.row.key
        #: The version before the undo, which `expect` of `undo` takes.
        self.version = entries[0].pk
        #: The entries that are undone, newest first.
        self.entries: tuple[int, ...] = ()
        self.before = self.after = before
        #: What is written, or would be; None if the row cannot be taken back.
        self.changed: Changed | None = None
        #: Why the row cannot be taken back, and the fields that can be left out because of it.
        self.problem: FlagstaffError | None = None
        self.unfit: tuple[str, ...] = ()
        # The columns that an undo writes. Django sets the computed ones, or the database.
        stored = {str(field.column): field for field in stored_fields(self.kind.model)}
        self._computed = {
            at for at, field in stored.items() if is_auto_now(field) or is_generated(field)
        }
        self._without = {at: field.name for at, field in stored.items() if field.name in without}
        self._fields = {
            at: stored[at] for at in stored if at not in self._computed and at not in self._without
        }
        # The columns and the users before and after the undo; None if there is no row.
        self._present, self._columns = columns, columns and dict(columns)
        self._users = {*(before.allowed_users or ())}
        # Whether an update is undone of a row that a later entry has deleted.
        self._is_lost = False
        # What later entries that stay have changed, and the last row that they have created.
        self._since: set[str] = set()
        self._users_since: set[PrimaryKey] = set()
        self._created: _Columns = {}
        # The entries that a later undo has taken back already, which created the row again.
        self._brought_back: set[int] = set()
        # A row with the columns that are written, and the users to add who no longer exist.
        self._past: Any = self.kind.model()
        self._missing: set[PrimaryKey] = set()

    @property
    def written(self) -> Changed | None:
        """What is written; None if nothing is."""
        return self.changed if self.changed is not None and self.changed.written else None

    def is_as_read(
        self, columns: _Columns | None, users: Collection[PrimaryKey], version: int | None
    ) -> bool:
        """Whether the locked row is the one that was read, with its allowed users."""
        return (
            version == self.version
            and users == self.before.allowed_users
            and _is_same(columns, self._present)
        )

    @property
    def new_rules(self) -> object:
        """The rules that are written, or the conditions of a segment; None if they stay."""
        name = CONDITIONS if self.kind is Kind.SEGMENT else RULES
        is_written = any(field.name == name for field in self._to_write)
        return getattr(self._past, name) if is_written else None

    @property
    def rules_after(self) -> object:
        """The rules, or the conditions of a segment, after the undo; None if there is no row."""
        return None if self.after.row is None else rules_of(self.after.row)

    @contextmanager
    def refused(self) -> Iterator[None]:
        """Takes an error of the block as the problem: the row then stays as it is."""
        try:
            yield
        except FlagstaffError as problem:
            self.problem, self.changed, self.after = self._advised(problem), None, self.before

    def _advised(self, problem: FlagstaffError) -> FlagstaffError:
        """Returns the problem, with the options that leave out what does not fit."""
        possible = _fields_to_leave_out(self.kind)
        self.unfit = tuple(name for name in getattr(problem, "fields", ()) if name in possible)
        if not self.unfit:
            return problem
        return InvalidChangeError(
            "{key}: {problem}; to leave it out, pass {options}",
            key=self.key,
            problem=problem.message,
            options=" ".join(f"--without {name}" for name in self.unfit),
        )

    # The row is taken back in memory.

    def take_back(self, entries: Sequence[Change], chosen: Collection[int]) -> None:
        """Takes the row back through the chosen ones among all entries, newest first.

        Raises ConflictError or InvalidChangeError.
        """
        self.entries = tuple(sorted(chosen, reverse=True))
        # What loaddata has written beside its history undoes nothing.
        loaded = {*_loaded_with_history([entry for entry in entries if entry.pk in chosen])}
        for entry in entries:
            if entry.pk in loaded:
                continue
            old, new = side_of(entry, "old"), side_of(entry, "new")
            stays = entry.pk not in chosen or entry.pk in self._brought_back
            if entry.relation == ALLOWED_USERS:
                removed, added = _users_in(old), _users_in(new)
                if not stays:
                    self._undo_users(removed, added)
                else:
                    self._users_since |= removed | added
            elif stays:
                self._keep(entry, old, new)
            elif old is None:
                self._undo_creation()
            else:
                self._require_stored(entry)
                if new is None:
                    self._undo_deletion(old)
                else:
                    self._undo_update(old, new)
        if self._is_lost or (self._columns is None and self._users):
            raise self._conflict(self._why_lost())

    def _why_lost(self) -> Sentence:
        """Why an older update cannot be undone: there is no row after the newer ones are undone."""
        if self._present is not None:
            return say(
                "it was deleted and brought back between these changes; undo the newer or the "
                "older ones alone"
            )
        command = quoted_command(*command_words(self.kind, "restore", self.key, "VERSION"))
        return say("it was deleted since; restore it with {command}", command=command)

    def _keep(self, entry: Change, old: _Columns | None, new: _Columns | None) -> None:
        """Notes what an entry that stays has changed, even if it was changed back since."""
        if old is None:
            self._created = new or {}
            self._brought_back |= {*entry.undone}
        else:
            # A row that was deleted and created again may differ, also if an undo has created it.
            self._since |= {*(entry.hidden or ()), *_differing(old, new or self._created)}
        if old is None or new is None:
            self._since.add(_EXISTENCE)

    def _undo_users(self, removed: set[PrimaryKey], added: set[PrimaryKey]) -> None:
        to_change = (removed - self._users) | (added & self._users)
        if again := to_change & self._users_since:
            text = say(
                "of its allowed users, {count} were added or removed again since",
                count=str(len(again)),
            )
            raise self._conflict(text)
        self._users ^= to_change

    def _undo_creation(self) -> None:
        if self._columns is not None and (self._since or self._users_since):
            raise self._conflict(say("it was changed since it was created"))
        self._columns, self._users, self._is_lost = None, set(), False

    def _require_stored(self, entry: Change) -> None:
        if entry.hidden:
            raise InvalidChangeError(
                "{key} is secret, so the history does not have its old {fields}; enter it "
                "again with {command}",
                key=self.key,
                fields=some(map(field_label, entry.hidden)),
                command=quoted_command(
                    "value", "set" if self.before.row else "create", self.key, "-"
                ),
            )

    def _undo_deletion(self, old: _Columns) -> None:
        if self._columns is not None or _EXISTENCE in self._since:
            raise self._conflict(say("it was created again since"))
        needed = {
            at for at, field in self._fields.items() if field.primary_key or field.name == "key"
        }
        if not needed <= old.keys():
            raise self._conflict(say("its key has another column now; create it again"))
        self._columns = dict(old)

    def _undo_update(self, old: _Columns, new: _Columns) -> None:
        if self._columns is None:
            # Nothing, if the row is one that the undo would have deleted.
            self._is_lost = True
            return
        for name in _differing(old, new):
            # Of columns that were added since, the entry says nothing.
            if name not in old:
                continue
            if name not in self._fields:
                self._columns[name] = old[name]
                continue
            present = self._columns.get(name)
            if not _is_same(present, old[name]):
                self._require_undoable(self._fields[name], present, new.get(name))
                self._columns[name] = old[name]

    def _require_undoable(self, field: AnyField, present: object, new: object) -> None:
        """Raises ConflictError if a column must stay as it is."""
        secret_columns = {
            name for name, field in self._fields.items() if field.name in SECRET_FIELDS
        }
        if field.name == SECRET and present and not secret_columns.isdisjoint(self._since):
            raise self._conflict(say("it was set while it was secret"))
        if str(field.column) in self._since or not _is_same(present, new):
            secret = field.name in SECRET_FIELDS and is_secret(self.before.row)
            value = describe_value(present, field=field.name, secret=secret, limit=_MAX_VALUE)
            name = field_label(field.name)
            text = say("{field} was changed again and is {value} now", field=name, value=value)
            raise self._conflict(text)

    def _conflict(self, why: Sentence) -> ConflictError:
        text = say("{key}: {why}", key=self.key, why=why)
        return ConflictError(text, key=self.key, actual=self.version)

    # What is written.

    @cached_property
    def _differing(self) -> list[str]:
        """The columns that differ. Of a new row, all that the history has."""
        columns, present = self._columns or {}, self._present
        return [
            name
            for name, old in columns.items()
            if present is None or not _is_same(old, present.get(name))
        ]

    @property
    def _to_write(self) -> list[AnyField]:
        return [self._fields[name] for name in self._differing if name in self._fields]

    @property
    def _left_out(self) -> tuple[str, ...]:
        """The columns that an undo does not write: named ones, and those that are gone."""
        known = self._computed | self._fields.keys()
        return tuple(self._without.get(at, at) for at in self._differing if at not in known)

    @property
    def to_read(self) -> _Columns:
        """What is written as the history stores it, for `set_past`."""
        columns = self._columns or {}
        return {
            str(field.column): repr(value)
            # As a number of JSON, a decimal would lose digits.
            if isinstance(value, ExactNumber) and not isinstance(field, JSONField)
            else value
            for field in self._to_write
            for value in [columns[str(field.column)]]
        }

    def set_past(self, row: Any) -> None:
        """Takes a row that has the columns to write."""
        fields = {field.attname: getattr(row, field.attname) for field in self._to_write}
        self._past = self.kind.model(**fields)

    @property
    def to_add(self) -> set[PrimaryKey]:
        """The users who would be added."""
        return self._users.difference(self.before.allowed_users or ())

    def leave_out(self, missing: set[PrimaryKey]) -> None:
        """Leaves out users who no longer exist."""
        self._missing = self.to_add & missing
        self._users -= self._missing

    def write(self) -> None:
        """Writes the row as it was; in a preview, says what that is. Raises InvalidChangeError."""
        kind, row = self.kind, self.before.row and copied(self.before.row)
        present, allowed = frozenset(self.before.allowed_users or ()), frozenset(self._users)
        users = AllowedUsersChange(
            in_order(allowed - present),
            in_order(present - allowed),
            in_order(self._missing),
            present,
        )
        if self._columns is not None and row is not None:
            declared = declaration(kind.model, row.key)
            # What code owns of a declared key, an undo does not write.
            owned = {} if declared is None else declared.owned
            fields = {
                field.name: getattr(self._past, field.attname)
                for field in self._to_write
                if field.name not in owned
            }
            values = cleaned(row, differing(row, fields), is_past=True)
            self.changed = write_change(kind, row, values, users)
        elif self._columns is not None:
            if is_preview():
                self._require_fit()
            self.changed = insert_row(kind, copied(self._past), users)
        elif row is not None:
            self.changed = delete_locked(kind, row, present)
        else:
            before = self.before
            self.changed = Changed(
                kind, self.key, {}, {}, written=False, before=before, after=before
            )
        self.changed = replace(
            self.changed, version=self.version, left_out=self._left_out, undoes=self.entries
        )
        self.after = cast("RowState", self.changed.after)

    def _require_fit(self) -> None:
        """Raises InvalidChangeError for what the table would refuse in a row that is inserted."""
        problems, new = dict[str, Sentence](), self.kind.model()
        for field in fields_to_set(self.kind.model):
            value = getattr(self._past, field.attname)
            if value is None and not field.null:
                problems[field.name] = say("the column needs a value")
            elif value is not None and _is_gone(field, value):
                problems[field.name] = say("it refers to a row that does not exist")
            if field.name in problems and not field.null and getattr(new, field.attname) is None:
                raise InvalidChangeError(
                    "{key}: {field}: {problem}, and has no default; create the row again",
                    key=self.key,
                    field=field.name,
                    problem=problems[field.name],
                )
        if problems:
            raise refusal(problems)


def _is_gone(field: AnyField, value: object) -> bool:
    """Whether a foreign key names a row that does not exist. One query."""
    if not (isinstance(field, ForeignKey) and getattr(field, "db_constraint", True)):
        return False
    rows: QuerySet[Any] = QuerySet(field.target_field.model, using=db.alias)
    return not rows.filter(**{field.target_field.name: value}).exists()


def _loaded_with_history(newest_first: Sequence[Change]) -> Iterator[int]:
    """Yields the entries of `loaddata` that create a row which its history has already.

    Also those of its allowed users. Queries for each such entry.
    """
    transaction_id = None
    for entry in reversed(newest_first):
        if entry.source == LOADDATA and entry.action == Change.Action.INSERT:
            if entry.relation != ALLOWED_USERS:
                older = Change.objects.of_row(entry.kind, entry.object_pk).filter(pk__lt=entry.pk)
                before = older.filter(relation=entry.relation).newest().first()
                exists = before is not None and not before.is_deletion
                transaction_id = entry.transaction_id if exists else None
            if transaction_id == entry.transaction_id:
                yield entry.pk


def _users_in(stored: Sequence[object] | None) -> set[PrimaryKey]:
    """Returns users of an entry, but those of a user model that had other primary keys."""
    to_python, users = user_field(conf.flag_model).to_python, set[PrimaryKey]()
    for pk in stored or ():
        with suppress(ValidationError):
            users.add(to_python(pk))
    return users


def _differing(old: _Columns, new: _Columns) -> Iterator[str]:
    """Yields the columns in which two rows differ."""
    for name in old | new:
        if name not in old or name not in new or not _is_same(old[name], new[name]):
            yield name


def _is_same(left: object, right: object) -> bool:
    """Whether both are the same JSON. In Python, True equals 1 and 1 equals 1.0."""
    return repr(left) == repr(right)


def undo(
    entries: Iterable[Change],
    *,
    skip_conflicts: bool = False,
    without: Collection[str] = (),
    expect: Mapping[RowId, int] | None = None,
) -> list[Undone]:
    """Undoes entries of the history in one transaction, newest first, all or none.

    What a later entry has changed again is a conflict. With `skip_conflicts`, the rows that have
    one are left out. `expect` has the versions that rows must have, as `preview_undo` returns them.
    `without` names fields to leave out, because their old values no longer fit: they stay as they
    are, and in a row that was deleted they get their default. A deadlock is retried once, unless a
    transaction surrounds the call.

    Raises ConflictError, NoHistoryError, and InvalidChangeError for what cannot be written again.
    """
    require_history()
    ids: dict[RowId, set[int]] = defaultdict(set)
    for entry in entries:
        ids[entry.kind, entry.object_pk].add(entry.pk)
    if unknown := {*without}.difference(*(_fields_to_leave_out(kind) for kind, _pk in ids)):
        raise InvalidChangeError("{names}: not a field to leave out", names=some(unknown))
    attempt = partial(_undo, ids, expect or {}, without, skip_conflicts=skip_conflicts)
    try:
        return attempt()
    except (OperationalError, InvalidChangeError) as error:
        cause = error if isinstance(error, OperationalError) else error.__cause__
        state = sqlstate(cause) if isinstance(cause, Error) else None
        is_deadlock = state == DEADLOCK and not db.connection.in_atomic_block
        # A row that another undo has inserted meanwhile exists now.
        if not is_deadlock and state != UNIQUE_VIOLATION:
            raise
    return attempt()


def _fields_to_leave_out(kind: Kind) -> set[str]:
    return {field.name for field in fields_to_set(kind.model)} - {"key"}


def preview_undo(
    entries: Iterable[Change],
    *,
    skip_conflicts: bool = True,
    without: Collection[str] = (),
    expect: Mapping[RowId, int] | None = None,
) -> list[Undone]:
    """Returns what `undo` would do. Neither locks rows nor writes. Raises as `undo`."""
    with previewed():
        return undo(entries, skip_conflicts=skip_conflicts, without=without, expect=expect)


def _undo(
    ids: Mapping[RowId, set[int]],
    expect: Mapping[RowId, int],
    without: Collection[str],
    *,
    skip_conflicts: bool,
) -> list[Undone]:
    def plan() -> list[Undone]:
        with previewed():
            return _planned(ids, expect, without, skip_conflicts=skip_conflicts)

    rows = plan()
    if not is_preview():
        with block_of_change():
            # Decided without locks, because a kill of one of the rows waits for them.
            if not _lock(rows):
                rows = plan()
            # Before a row is inserted: another transaction may wait for its key, and have them.
            existing_names([row.new_rules for row in rows], lock=True)
            _refuse(rows, skip_conflicts=skip_conflicts)
            _write([row for row in rows if row.written])
    return sorted(rows, key=lambda row: row.entries[0], reverse=True)


def _planned(
    ids: Mapping[RowId, set[int]],
    expect: Mapping[RowId, int],
    without: Collection[str],
    *,
    skip_conflicts: bool,
) -> list[Undone]:
    """Returns the rows as they would be. Neither locks nor writes."""
    rows = _taken_back(ids, without)
    for kind in {kind for kind, _pk in expect}:
        # Without triggers the version stays the same whatever is changed.
        require_triggers(kind)
    for row in rows:
        expected = expect.get(row.id, row.version)
        if row.version != expected:
            advice = say("read it again")
            raise conflict_error(row.kind, row.key, row.pk, expected, row.version, advice)
    _read_past(rows)
    for row in rows:
        if not row.problem:
            with row.refused():
                row.write()
    _refuse(rows, skip_conflicts=skip_conflicts)
    return rows


def _taken_back(ids: Mapping[RowId, set[int]], without: Collection[str]) -> list[Undone]:
    """Returns the rows as they were before these entries."""
    stored = read_rows(ids, lock=False)
    entries, columns, users = _entries_since(ids), _columns_of(stored), _users_of(stored)
    rows = []
    for row_id, chosen in ids.items():
        before = RowState(row_id[0], stored.get(row_id), users.get(row_id, frozenset()))
        undone = Undone(row_id, entries[row_id], before, columns.get(row_id), without)
        with undone.refused():
            undone.take_back(entries[row_id], chosen)
        rows.append(undone)
    return rows


def _lock(rows: Sequence[Undone]) -> bool:
    """Locks the rows, and returns whether all are as they were read."""
    ids = {row.id for row in rows}
    # Locked before anything else is read. The rules that are written may name any segment. Locked
    # later than other segments, they could deadlock with a change of rules: all are locked.
    kinds, to_lock = {kind for kind, _pk in ids}, {*ids}
    if Kind.SEGMENT in kinds and len(kinds) > 1:
        pks = all_rows(Kind.SEGMENT.model).values_list("pk", flat=True)
        to_lock |= {(Kind.SEGMENT, str(pk)) for pk in pks}
    locked = read_rows(to_lock, lock=True)
    stored = {row_id: row for row_id, row in locked.items() if row_id in ids}
    columns, users = _columns_of(stored), _users_of(stored)
    versions = {kind: versions_of(kind, [pk for of, pk in ids if of is kind]) for kind in kinds}
    return all(
        row.is_as_read(
            columns.get(row.id), users.get(row.id, frozenset()), versions[row.kind].get(row.pk)
        )
        for row in rows
    )


def _users_of(stored: Mapping[RowId, Row]) -> dict[RowId, frozenset[PrimaryKey]]:
    """Returns the allowed users of the flags."""
    flags = {row_id: row for row_id, row in stored.items() if row_id[0] is Kind.FLAG}
    users = allowed_pks_of([*flags.values()])
    return {row_id: frozenset(users[row.pk]) for row_id, row in flags.items()}


def _columns_of(stored: Iterable[RowId]) -> dict[RowId, _Columns]:
    """Returns the columns of rows as the history would store them."""
    columns = dict[RowId, _Columns]()
    for kind in Kind:
        pk_column = db.connection.ops.quote_name(str(kind.model._meta.pk.column))
        names = {"table": db.table(kind.model), "pk": pk_column}
        for batch in db.batches(pk for of_kind, pk in stored if of_kind is kind):
            rows = db.query("current_rows_v1", [batch], names)
            columns |= {(kind, pk): read_exactly(text) for pk, text in rows}
    return columns


def _entries_since(ids: Mapping[RowId, set[int]]) -> dict[RowId, list[Change]]:
    """Returns the entries of each row from the oldest that is undone on, newest first."""
    by_row = defaultdict[RowId, list[Change]](list)
    oldest = {row: min(of_row) for row, of_row in ids.items()}
    chosen = {pk for of_row in ids.values() for pk in of_row}
    newer = Change.objects.of_kinds({kind for kind, _pk in ids})
    for batch in db.batches({pk for _kind, pk in ids}):
        entries = newer.filter(object_pk__in=batch, id__gte=min(oldest.values()))
        # Of other updates only the names of the columns are needed, and the rows may be long.
        is_short = Q(action=Change.Action.UPDATE) & ~Q(relation=ALLOWED_USERS) & ~Q(pk__in=chosen)
        for entry in [*entries.exclude(is_short), *entries.filter(is_short).short()]:
            row = entry.kind, entry.object_pk
            if row in oldest and entry.pk >= oldest[row]:
                by_row[row].append(entry)
    for row, of_row in ids.items():
        by_row[row].sort(key=lambda entry: -entry.pk)
        _require(Change.objects, of_row.difference(entry.pk for entry in by_row[row]))
    return by_row


def _read_past(rows: Sequence[Undone]) -> None:
    """Reads what is written with the present types of the columns, and who can be added."""
    possible = [row for row in rows if not row.problem]
    to_add = {pk for row in possible for pk in row.to_add}
    missing = to_add - allowed_user_table().existing(to_add)
    for row in possible:
        row.leave_out(missing)
    for kind in Kind:
        of_kind = (row for row in possible if row.kind is kind and row.to_read)
        for batch in db.batches(of_kind, _BATCH):
            _set_past(batch)


def _set_past(rows: Sequence[Undone]) -> None:
    """Reads the columns to write of rows of one kind, and finds those that no longer fit."""
    try:
        past_rows = _past_rows(rows[0].kind, [row.to_read for row in rows])
    except DataError:
        # A column has another type now. Which of the rows, and which of its columns, it is.
        for row in rows if len(rows) > 1 else ():
            _set_past([row])
        if len(rows) == 1:
            with rows[0].refused():
                raise refusal(dict(_unfit_columns(rows[0]))) from None
        return
    for row, past in zip(rows, past_rows, strict=True):
        row.set_past(past)


def _past_rows(kind: Kind, columns: Sequence[_Columns]) -> list[Any]:
    table = {"table": db.table(kind.model)}
    with db.atomic():
        rows = kind.model._base_manager.using(db.alias)
        return [*rows.raw(fill(sql("past_rows_v1"), table), [json.dumps(columns)])]


def _unfit_columns(row: Undone) -> Iterator[tuple[str, Sentence]]:
    """Yields the fields whose old values have another type than the column, with the problem."""
    names = {str(field.column): field.name for field in stored_fields(row.kind.model)}
    for column, old in row.to_read.items():
        alone = {column: old}
        try:
            _past_rows(row.kind, [alone])
        except DataError as error:
            yield names[column], say("{problem}", problem=error_text(error))


def _refuse(rows: Sequence[Undone], *, skip_conflicts: bool) -> None:
    # What is left out keeps its key and its rules, which other rows may have needed.
    while _refuse_together(rows) and skip_conflicts:
        pass
    if not skip_conflicts:
        raise_errors(row.problem for row in rows if row.problem)


def _refuse_together(rows: Sequence[Undone]) -> bool:
    """Refuses what is impossible after all rows are undone, and returns whether anything is."""
    possible = [row for row in rows if not row.problem]
    moved = [row for row in possible if row.before.place != row.after.place]
    freed = {row.before.place for row in moved if row.before.place}
    present_owners = _owners_of({row.after.place for row in moved if row.after.place})
    owners = {place: owner for place, owner in present_owners.items() if place not in freed}
    ids = {row.id for row in possible}
    freed_names = {_name(row.before) for row in moved if row.before.row}
    if any(kind is Kind.FLAG for kind, _key in freed_names):
        needs_alone()
    new_rules = {_name(row.after): row.rules_after for row in possible if row.new_rules is not None}
    errors = rule_errors(new_rules)
    remaining = {_name(row.after) for row in possible if row.after.row}
    remaining |= existing_names([row.rules_after for row in possible]) - freed_names
    uses = uses_by_name() if freed_names else {}
    for row in possible:
        with row.refused():
            if row.after.place not in {None, row.before.place}:
                _require_free(row, owners)
            if row.before.row and _name(row.before) in freed_names:
                name = _name(row.before)
                of_row = uses.get(name, ())
                require_unused(name, [use for use in of_row if use.row_id not in ids])
            named = row.rules_after if freed_names or row.new_rules else None
            if problem := missing_among(named, remaining):
                raise InvalidChangeError("{field}: {problem}", field=row.key, problem=problem)
            if row.after.row and (error := errors.get(_name(row.after))):
                raise error
    return any(row.problem for row in possible)


def _name(state: RowState) -> Name:
    return state.kind, state.row.key


def _owners_of(places: Collection[Place]) -> dict[Place, str]:
    """Returns what has the keys that rows get."""
    keys = {key for _is_segment, key in places}
    owners = {(False, key): owner for key, owner in keys_of_apps(keys).items()} if keys else {}
    for kind in Kind:
        for batch in db.batches(keys):
            taken_keys = all_rows(kind.model).filter(key__in=batch).values_list("key", flat=True)
            owners |= {(kind is Kind.SEGMENT, key): kind.value for key in taken_keys}
    return owners


def _require_free(row: Undone, owners: dict[Place, str]) -> None:
    """Raises ConflictError if something else has the key; else the row gets it, and no other."""
    place = cast("Place", row.after.place)
    if place in owners:
        text = say(
            "{key}: {owner} has this key now; rename or delete it first",
            key=place[1],
            owner=OWNERS.get(owners[place], say("a segment")),
        )
        raise ConflictError(text, key=row.key, actual=row.version)
    owners[place] = row.kind.value


def _write(rows: Sequence[Undone]) -> None:
    _record_undo_of([pk for row in rows for pk in row.entries])
    with written_together():
        for row in sorted(rows, key=_order):
            row.write()
    _record_undo_of(())
    if any(row.before.row is None for row in rows):
        # The row that a foreign key names may be gone, which is only found at the commit.
        with rejections(secret=True):
            db.connection.check_constraints()
    for kind in {row.kind for row in rows}:
        of_kind = [row for row in rows if row.kind is kind]
        versions = versions_of(kind, [row.pk for row in of_kind])
        for row in of_kind:
            row.changed = replace(cast("Changed", row.changed), version=versions.get(row.pk, 0))


def _order(row: Undone) -> tuple[int, int]:
    """Segments exist while rules name them. A row that frees a key comes before one that gets it.

    Rows that exchange their keys are refused by the database.
    """
    is_segment, is_deleted = row.kind is Kind.SEGMENT, row.after.row is None
    step = (3 if is_deleted else 0) if is_segment else (1 if is_deleted else 2)
    return step, -row.entries[-1]


def _record_undo_of(entries: Sequence[int]) -> None:
    """Makes the next entries of this transaction store those of them that their row has."""
    with db.connection.cursor() as cursor:
        cursor.execute(_SET_UNDOES, [json.dumps(entries) if entries else ""])


# The entries of one row, by its key, of an event, and of a transaction.


def undo_event(
    kind: Kind,
    key: str,
    version: int | None = None,
    *,
    without: Collection[str] = (),
    expect_version: int | None = None,
) -> Changed:
    """Undoes an event of a row, as `changes.flags.undo` documents."""
    of_row = _entries_of_row(kind, key)
    if version is None:
        newest = of_row.without_loads().first()
        if newest is None:
            raise InvalidChangeError(
                "the history has no change of {key} to undo, because what loaddata wrote is none; "
                "see {history}",
                key=key,
                history=quoted_command("history", key, *KIND_OPTIONS[kind]),
            )
        version = newest.pk
        if newest.undone:
            # A command that is sent twice must not bring back what the first one took away.
            raise InvalidChangeError(
                "the newest change of {key} is an undo itself; to take it back, use {undo}; older "
                "versions are in {history}",
                key=key,
                undo=quoted_command(*command_words(kind, "undo", key, str(version))),
                history=quoted_command("history", key, *KIND_OPTIONS[kind]),
            )
    chosen = _require(of_row, [version], key, *KIND_OPTIONS[kind])
    return _undo_row(kind, key, _entries_of_events(chosen), without, expect_version)


def restore_row(
    kind: Kind,
    key: str,
    *,
    to: int,
    without: Collection[str] = (),
    expect_version: int | None = None,
) -> Changed:
    """Restores a row, as `changes.flags.restore` documents."""
    return _undo_row(kind, key, entries_after(kind, key, to), without, expect_version)


def _undo_row(
    kind: Kind,
    key: str,
    entries: Sequence[Change],
    without: Collection[str],
    expect_version: int | None,
) -> Changed:
    if not entries:
        row = kind.row(key)
        require_version(kind, key, row.pk, expect_version)
        return Changed(kind, key, {}, {}, written=False, version=version_of(kind, row.pk))
    row_id = kind, entries[0].object_pk
    expect = {} if expect_version is None else {row_id: expect_version}
    [done] = undo(entries, without=without, expect=expect)
    return cast("Changed", done.changed)


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
    return _entries_of_events(_require(Change.objects, {*versions}))


def entries_of_transaction(version: int) -> list[Change]:
    """Returns the entries of the transaction that wrote an entry, by row and newest first.

    Raises as `entries_of_versions`.
    """
    require_history()
    [entry] = _require(Change.objects, [version])
    return sorted(Change.objects.in_transaction(entry), key=_by_row)


def _entries_of_events(chosen: Iterable[Change]) -> list[Change]:
    """Returns all entries of the events of these entries, by row and newest first.

    Another author splits an event, as in the history; what other transactions wrote does not.
    """
    by_version: dict[int, Change] = {}
    for entry in chosen:
        if entry.pk not in by_version:
            of_row = Change.objects.of_row(entry.kind, entry.object_pk).in_transaction(entry)
            for _key, event in groupby(of_row.order_by("-pk"), key=event_key):
                entries = {event_entry.pk: event_entry for event_entry in event}
                by_version |= entries if entry.pk in entries else {}
    return sorted(by_version.values(), key=_by_row)


def _by_row(entry: Change) -> tuple[str, str, int]:
    return entry.kind.value, entry.object_pk, -entry.pk


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
    found_entries = [
        entry for batch in db.batches(versions) for entry in entries.filter(pk__in=batch)
    ]
    for missing in sorted({*versions}.difference(entry.pk for entry in found_entries)):
        raise InvalidChangeError(
            "the history has no version {version}; see {command}",
            version=str(missing),
            command=quoted_command("history", *arguments),
        )
    return found_entries
