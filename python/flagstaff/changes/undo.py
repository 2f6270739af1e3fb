"""Undoes entries of the history: what changed returns, unless it was changed again since."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain, groupby
from typing import Any, TypeAlias, cast

from django.core.exceptions import ValidationError
from django.db import DataError, Error, OperationalError, connections, transaction
from django.db.models import Q

from flagstaff._stored_value_schema import SECRET_FIELDS, is_secret
from flagstaff._tables.model_fields import RULES, is_auto_now, is_auto_now_add, is_generated
from flagstaff._tables.model_fields import stored_fields as fields_of
from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff._tables.rows import Fields, PrimaryKey, Row, all_rows, model_of
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
from flagstaff.changes.changed import DELETE_VERBS, KIND_OPTIONS, Changed, quoted_command
from flagstaff.changes.fields import (
    cleaned,
    differing,
    insert,
    rejections,
)
from flagstaff.changes.impact import RowState
from flagstaff.changes.locking import conflict_error, raise_errors, read_rows, require_version
from flagstaff.changes.preview import is_preview, previewed
from flagstaff.changes.row_changes import finished, planned_change, planned_deletion, write_fields
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
    MAX_TRANSACTION_AGE,
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

# The triggers read it. It ends with the transaction.
_SET_UNDOES = "SELECT pg_catalog.set_config('flagstaff.undoes', %s, true)"
# Beside columns and users, what an entry can change: whether there is a row.
_EXISTENCE = ""
# The length of a value in a message, which the admin may keep in a cookie.
_MAX_VALUE = 120


@dataclass(frozen=True)
class Conflict:
    """Entries of one event that cannot be undone, newest first, and why."""

    entries: tuple[int, ...]
    error: FlagstaffError


@dataclass(frozen=True)
class Undone:
    """What an undo does to one row, or has done."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: The version before the undo, which `expect` of `undo` takes.
    version: int
    #: The entries that are undone, newest first.
    entries: tuple[int, ...]
    conflicts: tuple[Conflict, ...]
    #: Columns that changed and that the table no longer has.
    ignored: tuple[str, ...]
    before: RowState
    after: RowState
    #: What is written; None if no entry can be undone.
    changed: Changed | None

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
    ids = _ids(entries)
    try:
        return _undo(ids, expect or {}, skip_conflicts=skip_conflicts)
    except (OperationalError, InvalidChangeError) as error:
        cause = error if isinstance(error, OperationalError) else error.__cause__
        state = sqlstate(cause) if isinstance(cause, Error) else None
        # A row that another undo has inserted meanwhile exists now.
        may_retry = state == UNIQUE_VIOLATION or not connections[conf.database].in_atomic_block
        if state not in {DEADLOCK, UNIQUE_VIOLATION} or not may_retry:
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
            command=quoted_command(*DELETE_VERBS[kind], key),
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


def entries_of(chosen: Collection[Change]) -> list[Change]:
    """Returns all entries of the events of these entries, by row and newest first.

    What other transactions wrote in between does not split an event.
    """
    times = defaultdict[object, list[datetime]](list)
    for entry in chosen:
        times[_place(entry)].append(entry.at)
    found = Change.objects.filter(
        transaction_id__in={entry.transaction_id for entry in chosen},
        object_pk__in={entry.object_pk for entry in chosen},
    )
    near = [
        one
        for one in found
        if any(abs(one.at - at) <= MAX_TRANSACTION_AGE for at in times.get(_place(one), ()))
    ]
    near.sort(key=lambda one: (_place(one), -one.pk))
    wanted = {entry.pk for entry in chosen}
    of_events = [[*event] for _key, event in groupby(near, key=event_key)]
    of_chosen = [event for event in of_events if not wanted.isdisjoint(one.pk for one in event)]
    return sorted(chain.from_iterable(of_chosen), key=_by_row)


def _place(entry: Change) -> tuple[int, str, str]:
    return entry.transaction_id, entry.kind.value, entry.object_pk


def _by_row(entry: Change) -> tuple[str, str, int]:
    return entry.kind.value, entry.object_pk, -entry.pk


def _undo_row(
    kind: Kind, key: str, entries: Sequence[Change], expect_version: int | None
) -> Changed:
    if not entries:
        row = kind.row(key)
        require_version(kind, key, row.pk, expect_version)
        return Changed(key, "", {}, {}, written=False, version=version_of(kind, row.pk))
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


def _undo(
    ids: Mapping[RowId, set[int]], expect: Mapping[RowId, int], *, skip_conflicts: bool
) -> list[Undone]:
    with transaction.atomic(using=conf.database):
        rows = _taken_back(ids)
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
        planned = [row.planned() for row in rows]
        return planned if is_preview() else _write(planned)


@dataclass(frozen=True)
class _State:
    """A row in memory, as far as it has been taken back."""

    #: JSON by column; None if there is no row.
    columns: Fields | None
    users: frozenset[PrimaryKey]
    #: The columns that were taken back, and the entries that say what was in them.
    taken: Mapping[str, int] = field(default_factory=dict)


class _Row:
    """A row on its way back through its entries, from the newest to the oldest."""

    def __init__(self, row_id: RowId, newest: Change, stored: Row | None, present: _State) -> None:
        self.kind, self.pk = self.id = row_id
        self.key, self.version = newest.key if stored is None else stored.key, newest.pk
        self.stored = stored
        self.present = self.state = present
        self.undone: list[int] = []
        self.conflicts: list[Conflict] = []
        self.ignored: dict[str, None] = {}
        #: The values of the columns that were taken back, by attribute of the model.
        self.values: Fields = {}
        #: The users that exist, among those to add.
        self.existing: Collection[PrimaryKey] = ()
        self.fields = {str(one.column): one for one in fields_of(self.kind.model)}
        # What later entries that are not undone have changed: columns, users, whether it exists.
        self._since: set[object] = set()
        # The row as such an entry has created it, and the deletions that the entry took back.
        self._created: Fields = {}
        self._brought_back: Collection[int] = ()
        # Whether one of them is itself an undo.
        self._undo_since = False
        # Whether the row is another one with the same primary key.
        self._is_other = False

    @property
    def _is_secret(self) -> bool:
        return self.stored is not None and is_secret(self.stored)

    @property
    def _secret_columns(self) -> set[object]:
        return {name for name, one in self.fields.items() if one.name in SECRET_FIELDS}

    @property
    def key_before(self) -> str | None:
        """The key before the undo; None if there is no row."""
        return None if self.stored is None else self.key

    @property
    def key_after(self) -> str | None:
        """The key after the undo; None if there is no row then."""
        [column] = (name for name, one in self.fields.items() if one.name == "key")
        return None if self.state.columns is None else self.state.columns[column]

    def undo_chosen(self, entries: Sequence[Change], chosen: Collection[int]) -> None:
        """Undoes the chosen ones among these entries, newest first, by event.

        Another transaction may have written between the entries of an event. It cannot have changed
        the same column or user, so the event is undone as a whole.
        """
        newest: dict[int, int] = {}
        for entry in entries:
            newest.setdefault(entry.transaction_id, entry.pk)
        kept = deque(entry for entry in entries if entry.pk not in chosen)
        by_transaction = sorted(
            (entry for entry in entries if entry.pk in chosen),
            key=lambda entry: (-newest[entry.transaction_id], -entry.pk),
        )
        for _key, entries_of_event in groupby(by_transaction, key=event_key):
            event = [*entries_of_event]
            while kept and kept[0].pk > event[-1].pk:
                self.keep([kept.popleft()])
            self._undo(event)

    def _undo(self, event: Sequence[Change]) -> None:
        """Undoes the entries of one event, or keeps them all if one of them cannot be undone."""
        ids, state = tuple(entry.pk for entry in event), self.state
        try:
            for entry in self._concerned(event):
                state = self._before(state, entry)
        except FlagstaffError as error:
            self.conflicts.append(Conflict(ids, error))
            self.keep(event)
        else:
            self.state = state
            self.undone += ids

    def _concerned(self, event: Sequence[Change]) -> Sequence[Change]:
        """Returns the entries of an event that matter for the row as it is now."""
        rows = (entry for entry in event if entry.relation != ALLOWED_USERS)
        newest = next((entry for entry in rows if entry.old is None or entry.new is None), None)
        if self.state.columns is not None:
            # The users of a deletion return only with its row.
            return [newest] if newest is not None and newest.new is None else event
        if newest is None:
            raise self._deleted()
        # Of a creation whose row is gone, not the changes after it.
        return event if newest.old is not None else event[event.index(newest) :]

    def keep(self, entries: Iterable[Change]) -> None:
        """Notes what entries have changed that are not undone."""
        for entry in entries:
            self._undo_since |= bool(entry.undone)
            if entry.relation == ALLOWED_USERS:
                self._since |= {(pk,) for pk in _pks(entry.old) | _pks(entry.new)}
                continue
            old, new = side_of(entry, "old"), side_of(entry, "new")
            if old is None:
                self._since.add(_EXISTENCE)
                self._created, self._brought_back = new, entry.undone
            elif new is None:
                is_back = entry.pk in self._brought_back
                self._is_other |= not is_back
                new = self._created if is_back else {}
                self._since |= {_EXISTENCE, *(entry.hidden or ()), *_differing(old, new)}
            else:
                self._since |= {*(entry.hidden or ()), *_differing(old, new)}

    def refuse(self, error: FlagstaffError) -> None:
        """Undoes nothing."""
        self.conflicts.append(Conflict(tuple(self.undone), error))
        self.state, self.undone, self.values = self.present, [], {}

    def unwritable(self, problem: str) -> InvalidChangeError:
        """Returns why the row cannot be written as it was."""
        return InvalidChangeError("{field}: {problem}", field=self.key, problem=problem)

    def require_valid(self) -> None:
        """Raises InvalidChangeError if the model does not accept what is written."""
        if self.stored is not None and self.state.columns is not None:
            fields = differing(self.stored, self._values_of(lambda _: True))
            cleaned(self.stored, fields, is_past=True)

    def planned(self) -> Undone:
        """Returns what the undo does to the row."""
        before = RowState(self.kind, self.stored, self.present.users)
        after, changed = self._after() if self.undone else (before, None)
        return Undone(
            kind=self.kind,
            key=self.key,
            pk=self.pk,
            version=self.version,
            entries=tuple(self.undone),
            conflicts=tuple(self.conflicts),
            ignored=tuple(self.ignored),
            before=before,
            after=after,
            changed=changed,
        )

    def _after(self) -> tuple[RowState, Changed]:
        row = self.stored
        users = users_to_change(
            self.present.users,
            in_order(self.state.users),
            skip_unknown=True,
            existing=self.existing,
        )
        if self.state.columns is None and row is None:
            changed = Changed(self.key, "", {}, {}, written=False, version=self.version)
        elif self.state.columns is None:
            users_now = self.present.users if self.kind is Kind.FLAG else None
            changed = replace(planned_deletion(cast("Row", row), users_now), written=True)
            row = None
        elif row is None:
            row = cast("Row", self.kind.model(**self.values))
            new = self._values_of(lambda one: not (is_auto_now_add(one) or is_auto_now(one)))
            new |= {ALLOWED: list(users.added)} if users.added else {}
            changed = Changed(row.key, "", None, new, written=True, missing=users.missing)
        else:
            changed = planned_change(row, self._values_of(lambda _: True), users)
            changed = replace(changed, written=bool(changed.new), version=self.version)
            row = _copied(row)
            for name, value in self.values.items():
                setattr(row, name, value)
        left = self.present.users.difference(users.removed).union(users.added)
        return RowState(self.kind, row, left), changed

    def _values_of(self, is_wanted: Any) -> dict[str, Any]:
        return {
            one.name: self.values[one.attname]
            for one in self.fields.values()
            if one.attname in self.values and not one.primary_key and is_wanted(one)
        }

    def _before(self, state: _State, entry: Change) -> _State:
        """Returns the row before an entry. Raises ConflictError or InvalidChangeError."""
        if entry.relation == ALLOWED_USERS:
            if self._is_other and state.columns is not None:
                raise self._conflict(Text("it was deleted and created again since"))
            to_remove, to_add = state.users & _pks(entry.new), _pks(entry.old) - state.users
            if again := [pk for pk in to_remove | to_add if (pk,) in self._since]:
                text = Text(
                    "of its allowed users, {count} were added or removed again since",
                    count=str(len(again)),
                )
                raise self._conflict(text)
            return replace(state, users=state.users - to_remove | to_add)
        if entry.old is None:
            if state.columns is not None and self._since:
                raise self._conflict(Text("it was changed since it was created"))
            return _State(None, state.users)
        if entry.new is None:
            return self._with_row(state, entry)
        if state.columns is None:
            raise self._deleted()
        return self._with_columns(state, state.columns, entry)

    def _with_row(self, state: _State, entry: Change) -> _State:
        if state.columns is not None and (
            _EXISTENCE not in self._since or entry.pk in self._brought_back
        ):
            # A later entry has created it, maybe otherwise than it was.
            self.keep([entry])
            return state
        if _EXISTENCE in self._since:
            raise self._conflict(Text("it was created again since"))
        if entry.hidden:
            raise InvalidChangeError(
                "{key} was secret, so the history cannot bring it back; create it with {command}",
                key=self.key,
                command=quoted_command("value", "create", self.key, "-"),
            )
        if not any(one.name == "key" and name in entry.old for name, one in self.fields.items()):
            raise self._conflict(Text("its key has another column now; create it again"))
        self.ignored |= dict.fromkeys(sorted(entry.old.keys() - self.fields.keys()))
        writable = (name for name in entry.old if name in self.fields)
        taken = {name: entry.pk for name in writable if not is_generated(self.fields[name])}
        return replace(state, columns=entry.old, taken=taken)

    def _with_columns(self, state: _State, columns: Fields, entry: Change) -> _State:
        if entry.hidden:
            raise InvalidChangeError(
                "{key} is secret, so the history says only that its {fields} changed; enter it "
                "again with {command}",
                key=self.key,
                fields=some(map(field_label, entry.hidden)),
                command=quoted_command("value", "set", self.key, "-"),
            )
        before, taken = dict(columns), dict(state.taken)
        for name in _differing(entry.old, entry.new):
            one = self.fields.get(name)
            # Of columns that were added since, the entry says nothing.
            if name not in entry.old:
                continue
            if one is None:
                self.ignored[name] = None
                continue
            present, old = columns.get(name), entry.old.get(name)
            if is_auto_now(one) or is_generated(one) or _is_same(present, old):
                continue
            if (
                one.name == "secret"
                and present
                and not self._secret_columns.isdisjoint(self._since)
            ):
                raise self._conflict(Text("it was set while it was secret"))
            if name in self._since or not _is_same(present, entry.new.get(name)):
                secret = self._is_secret and one.name in SECRET_FIELDS
                value = describe_value(present, field=one.name, secret=secret, limit=_MAX_VALUE)
                text = Text(
                    "{field} was changed again and is {value} now",
                    field=field_label(one.name),
                    value=value,
                )
                if self._undo_since:
                    text = Text(
                        "{problem}; to go back several changes, use {command}",
                        problem=text,
                        command=self._restore_command,
                    )
                raise self._conflict(text)
            before[name], taken[name] = old, entry.pk
        return replace(state, columns=before, taken=taken)

    def _deleted(self) -> ConflictError:
        restore = self._restore_command
        return self._conflict(
            Text("it was deleted since; restore it with {command}", command=restore)
        )

    @property
    def _restore_command(self) -> str:
        return quoted_command("restore", self.key, "VERSION", *KIND_OPTIONS[self.kind])

    def _conflict(self, why: Text) -> ConflictError:
        text = Text("{key}: {why}", key=self.key, why=why)
        return ConflictError(text, key=self.key, actual=self.version)


def _ids(entries: Iterable[Change]) -> dict[RowId, set[int]]:
    """Returns the ids of entries by row."""
    require_history()
    ids: dict[RowId, set[int]] = defaultdict(set)
    for entry in entries:
        ids[entry.kind, entry.object_pk].add(entry.pk)
    return ids


def _taken_back(ids: Mapping[RowId, set[int]]) -> list[_Row]:
    """Returns the rows as the undo of these entries leaves them. A constant number of queries."""
    if not ids:
        return []
    # Locked before anything else is read.
    stored = _stored_rows(ids, lock=not is_preview())
    entries, columns = _entries_since(ids), _columns(stored.keys() & ids.keys())
    flags = [row for (kind, _pk), row in stored.items() if kind is Kind.FLAG]
    users = {(Kind.FLAG, str(pk)): of_flag for pk, of_flag in allowed_pks_of(flags).items()}
    rows = []
    for row_id in sorted(ids, key=lambda row: max(ids[row]), reverse=True):
        present = _State(columns.get(row_id), frozenset(users.get(row_id, ())))
        row = _Row(row_id, entries[row_id][0], stored.get(row_id), present)
        rows.append(row)
        row.undo_chosen(entries[row_id], ids[row_id])
    _read_values([row for row in rows if row.undone])
    _refuse_taken_keys(rows)
    _refuse_missing_segments(rows)
    return rows


def _stored_rows(ids: Collection[RowId], *, lock: bool) -> dict[RowId, Row]:
    """Returns the rows that exist, locked in the order of all writers.

    The rules that are written may name any segment. Locked later than other segments, they could
    deadlock with a change of rules, so all segments are locked.
    """
    wanted, kinds = set(ids), {kind for kind, _pk in ids}
    if lock and Kind.SEGMENT in kinds and len(kinds) > 1:
        pks = all_rows(Kind.SEGMENT.model).values_list("pk", flat=True)
        wanted |= {(Kind.SEGMENT, str(pk)) for pk in pks}
    return read_rows(wanted, lock=lock)


def _columns(stored: Collection[RowId]) -> dict[RowId, Fields]:
    """Returns the columns of rows, as the history would store them."""
    columns: dict[RowId, Fields] = {}
    for kind in Kind:
        for batch in batches(pk for of_kind, pk in stored if of_kind is kind):
            with connections[conf.database].cursor() as cursor:
                cursor.execute(fill(sql("current_rows_v1"), _names(kind)), [batch])
                columns |= {(kind, pk): read_exactly(text) for pk, text in cursor.fetchall()}
    return columns


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


def _refuse_taken_keys(rows: Collection[_Row]) -> None:
    """Refuses rows whose key something else has after the undo."""
    wanted = {row.key_after for row in rows if row.key_after != row.key_before} - {None}
    if not wanted:
        return
    # What has the keys beside the rows of the undo. Flags and values have no key in common.
    owners: dict[tuple[bool, str | None], str] = {
        (False, key): owner for key, owner in keys_of_apps(map(str, wanted)).items()
    }
    for kind in Kind:
        own = [row.pk for row in rows if row.kind is kind]
        others = all_rows(kind.model).filter(key__in=wanted).exclude(pk__in=own)
        keys = others.values_list("key", flat=True)
        owners |= {(kind is Kind.SEGMENT, key): kind.value for key in keys}
    while True:
        holders = defaultdict[tuple[bool, str | None], list[_Row]](list)
        for row in rows:
            holders[row.kind is Kind.SEGMENT, row.key_after].append(row)
        for place, of_key in holders.items():
            changed = [row for row in of_key if row.key_after not in {None, row.key_before}]
            if changed and (place in owners or len(of_key) > 1):
                changed[0].refuse(_key_conflict(changed[0], owners.get(place, "flag")))
                # Its present key is no longer free for the others.
                break
        else:
            return


def _key_conflict(row: _Row, owner: str) -> ConflictError:
    text = Text(
        "{key}: {owner} has this key now; rename or delete it first",
        key=str(row.key_after),
        owner=OWNERS.get(owner, Text("a segment")),
    )
    return ConflictError(text, key=row.key, actual=row.version)


def _read_values(rows: Collection[_Row]) -> None:
    """Reads what is written from the entries, as the database reads it, and which users exist."""
    for kind in Kind:
        _read_columns(kind, [row for row in rows if row.kind is kind])
    new_users = {pk for row in rows for pk in row.state.users - row.present.users}
    existing = allowed_user_table().existing(new_users) if new_users else ()
    for row in rows:
        row.existing = existing


def _read_columns(kind: Kind, rows: Sequence[_Row]) -> None:
    """Reads the same of the rows of one kind. Refuses those whose values cannot be written."""
    taken = defaultdict[tuple[str, int], list[str]](list)
    for row in rows:
        for name, entry in row.state.taken.items():
            taken[row.pk, entry].append(name)
    wanted = [{"pk": pk, "entry": entry, "names": names} for (pk, entry), names in taken.items()]
    query = fill(sql("history_rows_v1"), _names(kind))
    manager = kind.model._base_manager.using(conf.database)
    try:
        with transaction.atomic(using=conf.database):
            found: list[Any] = [*manager.raw(query, [json.dumps(wanted)])] if wanted else []
    except DataError as error:
        # A column has another type now. Which row has the value is not known.
        for row in rows if len(rows) > 1 else ():
            _read_columns(kind, [row])
        if len(rows) == 1:
            rows[0].refuse(rows[0].unwritable(error_text(error)))
        return
    read = {(one.flagstaff_pk, one.flagstaff_entry): one for one in found}
    for row in rows:
        row.values = {
            row.fields[name].attname: getattr(read[row.pk, entry], row.fields[name].attname)
            for name, entry in row.state.taken.items()
        }
        try:
            row.require_valid()
        except InvalidChangeError as error:
            row.refuse(error)


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


def _write(planned: Sequence[Undone]) -> list[Undone]:
    written = [one.written.new or {} for one in planned if one.written]
    rules = [rules for new in written if isinstance(rules := new.get(RULES), list)]
    # Before a row is inserted: another transaction may wait for its key, and have the segments.
    missing_segment([*chain.from_iterable(rules)], lock=True)
    with checked_together():
        for one in _in_order([one for one in planned if one.written]):
            _record_undo_of(one.entries)
            _write_row(one, cast("Changed", one.written))
        _record_undo_of(())
    if any(one.before.row is None for one in planned if one.written):
        # The row that a foreign key names may be gone, which is only found at the commit.
        with rejections(secret=True):
            connections[conf.database].check_constraints()
    versions = {
        (kind, pk): version
        for kind in Kind
        for pk, version in versions_of(
            kind, [one.pk for one in planned if one.kind is kind]
        ).items()
    }
    return [
        one
        if one.written is None
        else replace(one, changed=finished(one.kind, one.written, versions.get(one.id, 0)))
        for one in planned
    ]


def _record_undo_of(entries: Sequence[int]) -> None:
    """Makes the next entries of this transaction store the entries that they undo."""
    with connections[conf.database].cursor() as cursor:
        cursor.execute(_SET_UNDOES, [json.dumps(entries) if entries else ""])


def _write_row(one: Undone, changed: Changed) -> None:
    """Writes a row. An error rolls back the whole undo, so no savepoint is needed."""
    # The states stay as they are.
    before, after = (_copied(state.row) for state in (one.before, one.after))
    old, new = changed.old or {}, changed.new or {}
    users = AllowedUsersChange(tuple(new.get(ALLOWED, ())), tuple(old.get(ALLOWED, ())))
    if after is None:
        before.delete(using=conf.database)
        return
    if before is not None:
        write_fields(before, changed, users)
        return
    fields = fields_of(model_of(after))
    times = {one.attname: getattr(after, one.attname) for one in fields if is_auto_now_add(one)}
    insert(after)
    if times:
        # Django has set them to the present.
        all_rows(model_of(after)).filter(pk=after.pk).update(**times)
    if users:
        change_allowed_users(after, users)


def _copied(row: Any) -> Any:
    """Returns a copy of a row, also of a model that no installed app has."""
    if row is None:
        return None
    model: Any = type(row)
    copied = model.__new__(model)
    vars(copied).update(vars(row), _state=copy(row._state))
    return copied


def _in_order(undone: Iterable[Undone]) -> Iterator[Undone]:
    """Yields deletions first, and a row that frees a key before the one that gets it."""
    waiting = sorted(undone, key=lambda one: (one.after.row is not None, one.key))
    while waiting:
        holders = {(one.kind, _key_of(one.before)): one for one in waiting if one.before.row}
        ready = [one for one in waiting if holders.get((one.kind, _key_of(one.after)), one) is one]
        # The database refuses rows that exchange their keys.
        yield from ready or waiting
        waiting = [one for one in waiting if one not in ready] if ready else []


def _key_of(state: RowState) -> str | None:
    return None if state.row is None else cast("Row", state.row).key


def _differing(old: Fields, new: Fields) -> Iterator[str]:
    """Yields the columns in which two rows differ."""
    for name in old.keys() | new.keys():
        if name not in old or name not in new or not _is_same(old[name], new[name]):
            yield name


def _is_same(left: object, right: object) -> bool:
    """Whether both are the same JSON. In Python, True equals 1 and 1 equals 1.0."""
    return repr(left) == repr(right)


def _pks(stored: Sequence[object] | None) -> frozenset[PrimaryKey]:
    """Returns users of an entry, but those of a user model that had other primary keys."""
    to_python, pks = user_field(conf.flag_model).to_python, set()
    for pk in stored or ():
        with suppress(ValidationError):
            pks.add(to_python(pk))
    return frozenset(pks)
