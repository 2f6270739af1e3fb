"""Undoes entries of the history: what changed returns, unless it was changed again since."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, TypeAlias, cast

from django.db import OperationalError, connections, transaction
from django.db.models import Model, QuerySet

from flagstaff._tables.decoding import SECRET_FIELDS
from flagstaff._tables.model_fields import (
    AnyField,
    auto_now_add_fields,
    is_auto_now,
    is_auto_now_add,
    is_generated,
    stored_fields,
)
from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff._tables.rows import Fields, PrimaryKey, Row, all_rows, model_of
from flagstaff._tables.sqlstate import DEADLOCK, sqlstate
from flagstaff._tables.user_lookup import allowed_user_table, batches
from flagstaff._taken_keys import OWNERS, keys_of_apps
from flagstaff._time_fields import bound_of
from flagstaff._words.json_text import UnreadableJson, read_columns
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
from flagstaff.changes.fields import insert, require_readable
from flagstaff.changes.impact import RowState
from flagstaff.changes.locking import conflict_error, raise_errors, read_rows, require_version
from flagstaff.changes.row_changes import finished, planned_change, planned_deletion, write_fields
from flagstaff.changes.segment_use import checked_together
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_value, field_label
from flagstaff.history.events import same_json
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import (
    all_entries,
    deleted_pk,
    of_transaction,
    require_history,
    require_triggers,
    version_of,
    versions_of,
)
from flagstaff.history.versions import entries as entries_of
from flagstaff.models import Change

#: A flag, a value or a segment, and its primary key as the history stores it.
RowId: TypeAlias = tuple[Kind, str]

# The triggers read it. It ends with the transaction.
_SET_UNDOES = "SELECT pg_catalog.set_config('flagstaff.undoes', %s, true)"
# Beside columns and users, what an entry can change: whether the row exists.
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


def undo(
    entries: Iterable[Change],
    *,
    skip_conflicts: bool = False,
    expect: Mapping[RowId, int] | None = None,
) -> list[Undone]:
    """Undoes entries of the history in one transaction, newest first, all or none.

    What a later entry has changed again is a conflict. With `skip_conflicts`, the event of such an
    entry is left out. `expect` has the versions that rows must have, as `preview_undo` returned
    them. A deadlock is retried once, unless a transaction surrounds the call.

    Raises ConflictError, NoHistoryError, and InvalidChangeError for what cannot be written again.
    """
    ids = _ids(entries)
    try:
        return _undo(ids, skip_conflicts, expect or {})
    except OperationalError as error:
        if connections[conf.database].in_atomic_block or sqlstate(error) != DEADLOCK:
            raise
    return _undo(ids, skip_conflicts, expect or {})


def preview_undo(entries: Iterable[Change]) -> list[Undone]:
    """Returns what `undo` would do with `skip_conflicts`. Neither locks nor writes.

    Raises NoHistoryError.
    """
    return [row.planned() for row in _taken_back(_ids(entries), lock=False)]


def _undo(
    ids: Mapping[RowId, set[int]], skip_conflicts: bool, expect: Mapping[RowId, int]
) -> list[Undone]:
    with transaction.atomic(using=conf.database):
        rows = _taken_back(ids, lock=True)
        _require_versions(rows, expect)
        if not skip_conflicts:
            raise_errors(one.error for row in rows for one in row.conflicts)
        return _write([row.planned() for row in rows])


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
        self.kind, self.pk = row_id
        self.key, self.version = newest.key if stored is None else stored.key, newest.pk
        self.stored = stored
        self.present = self.state = present
        self.undone: list[int] = []
        self.conflicts: list[Conflict] = []
        self.ignored: dict[str, None] = {}
        #: The model's values of columns that were taken, by attribute.
        self.values: Fields = {}
        self.missing: Collection[PrimaryKey] = ()
        # What later entries that are not undone have changed: columns, users, the existence.
        self._since: set[object] = set()
        # The row as such an entry has created it.
        self._created: Fields | None = None
        self._fields = {str(one.column): one for one in stored_fields(self.kind.model)}

    @property
    def id(self) -> RowId:
        return self.kind, self.pk

    @property
    def key_before(self) -> str | None:
        """The key before the undo; None if there is no row."""
        return None if self.stored is None else self.key

    @property
    def key_after(self) -> str | None:
        """The key after the undo; None if there is no row then."""
        if self.state.columns is None:
            return None
        [key] = (one for one in self._fields.values() if one.name == "key")
        return cast("str", self.state.columns[str(key.column)])

    def undo(self, event: Sequence[Change]) -> None:
        """Undoes the entries of one event, or keeps them all if one of them cannot be undone."""
        ids, state = tuple(entry.pk for entry in event), self.state
        try:
            if state.columns is None and all(entry.relation == ALLOWED_USERS for entry in event):
                raise self._conflict(Text("it was deleted since; restore it first"))
            for entry in event:
                state = self._before(state, entry)
        except FlagstaffError as error:
            self.conflicts.append(Conflict(ids, error))
            self.keep(event)
        else:
            self.state = state
            self.undone += ids

    def keep(self, event: Iterable[Change]) -> None:
        """Notes what entries have changed that are not undone."""
        for entry in event:
            if entry.relation == ALLOWED_USERS:
                self._since |= {(pk,) for pk in _pks(entry.old) | _pks(entry.new)}
            elif entry.old is None:
                self._since.add(_EXISTENCE)
                self._created = entry.new
            elif entry.new is None:
                self._since.add(_EXISTENCE)
                self._since |= {*_differing(entry.old, self._created or {})}
            else:
                self._since |= {*_differing(entry.old, entry.new)}

    def refuse(self, error: FlagstaffError) -> None:
        """Undoes nothing."""
        self.conflicts = [*self.conflicts, Conflict(tuple(self.undone), error)]
        self.state, self.undone, self.values = self.present, [], {}

    def planned(self) -> Undone:
        """Returns what the undo does to the row."""
        before = RowState(self.kind, cast("Model | None", self.stored), self.present.users)
        after, changed = before, None
        if self.undone:
            after, changed = self._after()
        return Undone(
            self.kind,
            self.key,
            self.pk,
            self.version,
            tuple(self.undone),
            tuple(self.conflicts),
            tuple(self.ignored),
            before,
            after,
            changed,
        )

    def _after(self) -> tuple[RowState, Changed]:
        row, is_flag = self.stored, self.kind is Kind.FLAG
        if self.state.columns is None:
            users = self.present.users if is_flag else None
            changed = (
                Changed(self.key, "", {}, {}, written=False, version=self.version)
                if row is None
                else replace(planned_deletion(row, users), written=True)
            )
            return RowState(self.kind, None, ()), changed
        users_after = self.state.users.difference(self.missing)
        change = self.users_change()
        if row is None:
            row = cast("Row", self.kind.model(**self.values))
            changed = self._planned_insert(row, change)
        else:
            changed = planned_change(row, self._editable(), change)
            changed = replace(changed, written=bool(changed.new), version=self.version)
            row = copy(row)
            for name, value in self.values.items():
                setattr(row, name, value)
        return RowState(self.kind, cast("Model", row), users_after), changed

    def _planned_insert(self, row: Row, users: AllowedUsersChange) -> Changed:
        new = {
            one.name: self.values[one.attname]
            for one in self._fields.values()
            if one.attname in self.values
            and not (one.primary_key or is_auto_now(one) or is_auto_now_add(one))
        }
        new |= {ALLOWED: list(users.added)} if users.added else {}
        return Changed(row.key, "", None, new, written=True, missing=users.missing)

    def users_change(self) -> AllowedUsersChange:
        target = in_order(self.state.users)
        existing = self.state.users.difference(self.missing)
        return users_to_change(self.present.users, target, skip_unknown=True, existing=existing)

    def _editable(self) -> dict[str, object]:
        keys = {one.attname for one in self._fields.values() if one.primary_key}
        return {name: value for name, value in self.values.items() if name not in keys}

    def _before(self, state: _State, entry: Change) -> _State:
        """Returns the row before an entry. Raises ConflictError or InvalidChangeError."""
        if entry.relation == ALLOWED_USERS:
            return self._without_users(state, _pks(entry.new), _pks(entry.old))
        if entry.old is None:
            return self._without_row(state)
        if entry.new is None:
            return self._with_row(state, entry)
        if state.columns is None:
            raise self._conflict(Text("it was deleted since; restore it first"))
        return self._with_columns(state, state.columns, entry)

    def _without_users(
        self, state: _State, added: Collection[PrimaryKey], removed: Collection[PrimaryKey]
    ) -> _State:
        to_remove = state.users.intersection(added)
        to_add = frozenset(removed) - state.users
        if again := [pk for pk in to_remove | to_add if (pk,) in self._since]:
            users = some(sorted(map(str, again)))
            raise self._conflict(
                Text("allowed users were changed again since: {users}", users=users)
            )
        return replace(state, users=state.users - to_remove | to_add)

    def _without_row(self, state: _State) -> _State:
        if state.columns is not None and self._since:
            raise self._conflict(Text("it was changed since it was created"))
        return _State(None, state.users)

    def _with_row(self, state: _State, entry: Change) -> _State:
        if state.columns is not None:
            return state
        if _EXISTENCE in self._since:
            raise self._conflict(Text("it was created and deleted again since"))
        if _is_secret(entry):
            raise InvalidChangeError(
                "{key} was secret, so the history cannot bring it back; create it with {command}",
                key=self.key,
                command=quoted_command("value", "create", self.key, "-"),
            )
        self._ignore(entry.old.keys() - self._fields.keys())
        taken = {name: entry.pk for name in entry.old if name in self._fields}
        return replace(state, columns=entry.old, taken=taken)

    def _with_columns(self, state: _State, columns: Fields, entry: Change) -> _State:
        changed = [*_differing(entry.old, entry.new)]
        self._ignore(name for name in changed if name not in self._fields)
        hidden = SECRET_FIELDS if _is_secret(entry) else ()
        before, taken = dict(columns), dict(state.taken)
        for name in changed:
            one, old = self._fields.get(name), entry.old[name]
            if one is None or is_auto_now(one) or is_generated(one):
                continue
            if one.name in hidden:
                raise InvalidChangeError(
                    "{key} is secret, so the history says only that its {field} changed; enter "
                    "it again",
                    key=self.key,
                    field=field_label(one.name),
                )
            if same_json(columns.get(name), old):
                continue
            if name in self._since or not same_json(columns.get(name), entry.new.get(name)):
                raise self._changed_again(one, columns)
            before[name], taken[name] = old, entry.pk
        return replace(state, columns=before, taken=taken)

    def _ignore(self, names: Iterable[str]) -> None:
        self.ignored |= dict.fromkeys(sorted(names))

    def _changed_again(self, one: AnyField, columns: Fields) -> ConflictError:
        is_hidden = one.name in SECRET_FIELDS and getattr(self.stored, "secret", False)
        value = describe_value(
            columns.get(str(one.column)), field=one.name, secret=is_hidden, limit=_MAX_VALUE
        )
        text = Text("{field} was changed again and is {value} now", field=one.name, value=value)
        return self._conflict(text)

    def _conflict(self, why: Text) -> ConflictError:
        text = Text("the change of {key} cannot be undone: {why}", key=self.key, why=why)
        return ConflictError(text, key=self.key, actual=self.version)


def _ids(entries: Iterable[Change]) -> dict[RowId, set[int]]:
    """Returns the ids of entries by row."""
    require_history()
    ids: dict[RowId, set[int]] = defaultdict(set)
    for entry in entries:
        ids[Kind.of(entry.relation), entry.object_pk].add(entry.pk)
    return ids


def _taken_back(ids: Mapping[RowId, set[int]], *, lock: bool) -> list[_Row]:
    """Returns the rows as the undo of these entries leaves them. A constant number of queries."""
    if not ids:
        return []
    stored = _stored_rows(ids, lock=lock)
    entries = _entries_since(ids)
    columns = _columns(stored.keys() & ids.keys())
    flags = [row for (kind, _pk), row in stored.items() if kind is Kind.FLAG]
    users = {str(pk): of_flag for pk, of_flag in (allowed_pks_of(flags) if flags else {}).items()}
    rows = []
    for row_id in sorted(ids, key=lambda row: max(ids[row]), reverse=True):
        of_row = users.get(row_id[1], ()) if row_id[0] is Kind.FLAG else ()
        present = _State(columns.get(row_id), frozenset(of_row))
        row = _Row(row_id, entries[row_id][0], stored.get(row_id), present)
        rows.append(row)
        for is_selected, event in _events(entries[row_id], ids[row_id]):
            (row.undo if is_selected else row.keep)(event)
    _refuse_taken_keys(rows)
    _read_values(rows)
    return rows


def _stored_rows(ids: Collection[RowId], *, lock: bool) -> dict[RowId, Row]:
    """Returns the rows that exist, locked in the order of all writers.

    The rules that are written may name any segment. Locked later than other segments, they could
    deadlock with a change of rules, so all segments are locked.
    """
    wanted = set(ids)
    kinds = {kind for kind, _pk in ids}
    if lock and Kind.SEGMENT in kinds and len(kinds) > 1:
        pks = all_rows(Kind.SEGMENT.model).values_list("pk", flat=True)
        wanted |= {(Kind.SEGMENT, str(pk)) for pk in pks}
    return read_rows(wanted, lock=lock)


def _columns(stored: Collection[RowId]) -> dict[RowId, Fields]:
    """Returns the columns of the rows, as the history would store them."""
    columns: dict[RowId, Fields] = {}
    for kind in Kind:
        for batch in batches(pk for of_kind, pk in stored if of_kind is kind):
            with connections[conf.database].cursor() as cursor:
                cursor.execute(fill(sql("current_rows_v1"), _names(kind)), [batch])
                columns |= {(kind, pk): read_columns(text) for pk, text in cursor.fetchall()}
    return columns


def _entries_since(ids: Mapping[RowId, set[int]]) -> dict[RowId, list[Change]]:
    """Returns the entries of each row from the oldest that is undone on, newest first."""
    by_row = defaultdict[RowId, list[Change]](list)
    oldest = {row: min(of_row) for row, of_row in ids.items()}
    newer = all_entries().filter(id__gte=min(oldest.values())).order_by("-id")
    for batch in batches({pk for _kind, pk in ids}):
        for entry in newer.filter(object_pk__in=batch).iterator(100):
            row = Kind.of(entry.relation), entry.object_pk
            if row in oldest and entry.pk >= oldest[row]:
                by_row[row].append(entry)
    for row, of_row in ids.items():
        for missing in sorted(of_row.difference(entry.pk for entry in by_row[row])):
            raise no_version(missing)
    return by_row


def no_version(version: int) -> InvalidChangeError:
    """Returns the error that the history has no entry of this id."""
    return InvalidChangeError(
        "the history has no version {version}; see {command}",
        version=str(version),
        command=quoted_command("history"),
    )


def _events(
    entries: Iterable[Change], selected: Collection[int]
) -> Iterator[tuple[bool, list[Change]]]:
    """Yields the events of a row, newest first, and whether they are selected."""
    for key, event in groupby(
        entries, lambda entry: (entry.pk in selected, entry.transaction_id, entry.actor)
    ):
        yield key[0], [*event]


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
        held = defaultdict[tuple[bool, str | None], list[str]](list)
        for row in rows:
            held[row.kind is Kind.SEGMENT, row.key_after].append(row.kind.value)
        for row in rows:
            place = row.kind is Kind.SEGMENT, row.key_after
            is_new = row.key_after not in {None, row.key_before}
            if is_new and (place in owners or len(held[place]) > 1):
                row.refuse(_key_conflict(row, owners.get(place, row.kind.value)))
                # Its own key is no longer free for the others.
                break
        else:
            return


def _key_conflict(row: _Row, owner: str) -> ConflictError:
    key = str(row.key_after)
    text = Text(
        "{key} cannot be undone: {owner} has this key now; rename or delete it first",
        key=key,
        owner=OWNERS.get(owner, Text("a segment")),
    )
    return ConflictError(text, key=key, actual=row.version)


def _read_values(rows: Iterable[_Row]) -> None:
    """Reads what is written from the entries, as the database reads it, and which users exist."""
    undone = [row for row in rows if row.undone]
    for kind in Kind:
        of_kind = [row for row in undone if row.kind is kind]
        taken = {(entry, column) for row in of_kind for column, entry in row.state.taken.items()}
        instances = _instances(kind, taken) if taken else {}
        for row in of_kind:
            fields = {str(one.column): one for one in stored_fields(kind.model)}
            row.values = {
                fields[column].attname: getattr(instances[entry], fields[column].attname)
                for column, entry in row.state.taken.items()
                if not is_generated(fields[column])
            }
            try:
                require_readable(row.key, row.values)
            except InvalidChangeError as error:
                row.refuse(error)
    new_users = {pk for row in undone for pk in row.state.users - row.present.users}
    missing = new_users.difference(allowed_user_table().existing(new_users) if new_users else ())
    for row in undone:
        row.missing = missing


def _instances(kind: Kind, taken: Iterable[tuple[int, str]]) -> dict[int, Model]:
    """Returns model instances with these columns of the old side of entries, by entry."""
    columns = defaultdict[int, list[str]](list)
    for entry, column in taken:
        columns[entry].append(column)
    query = fill(sql("history_rows_v1"), _names(kind))
    olds = dict(all_entries().filter(id__in=columns).values_list("id", "old"))
    fields = {str(one.column): one for one in stored_fields(kind.model)}
    # What the database or Python cannot represent.
    unread = {
        (entry, name): read
        for entry, of_entry in columns.items()
        for name in of_entry
        if (read := _read_here(fields[name], olds[entry].get(name))) is not None
    }
    wanted = [
        {"id": entry, "columns": [name for name in of_entry if (entry, name) not in unread]}
        for entry, of_entry in columns.items()
    ]
    instances: dict[int, Model] = {}
    rows = kind.model._base_manager.using(conf.database).raw(query, [json.dumps(wanted)])
    for row in rows:
        instances[vars(row).pop("flagstaff_entry")] = row
    for (entry, name), value in unread.items():
        setattr(instances[entry], fields[name].attname, value)
    return instances


def _names(kind: Kind) -> dict[str, str]:
    connection, meta = connections[conf.database], kind.model._meta
    quote = connection.ops.quote_name
    return {
        **own_names(connection),
        "table": quote(meta.db_table),
        "pk": quote(str(meta.pk.column)),
    }


def _read_here(one: AnyField, value: object) -> object:
    return value if isinstance(value, UnreadableJson) else bound_of(one, value)


def _require_versions(rows: Iterable[_Row], expect: Mapping[RowId, int]) -> None:
    """Raises ConflictError if a row has another version than expected."""
    for kind in {kind for kind, _pk in expect}:
        # Without triggers the version stays the same whatever is changed.
        require_triggers(kind)
    for row in rows:
        seen = expect.get(row.id, row.version)
        if row.version != seen:
            advice = Text("read it again")
            raise conflict_error(row.kind, row.key, row.pk, seen, row.version, advice)


def _write(planned: list[Undone]) -> list[Undone]:
    with checked_together():
        for one in _in_order([one for one in planned if one.changed and one.changed.written]):
            _record_undo_of(one.entries)
            _write_row(one)
        _record_undo_of(())
    pks = defaultdict[Kind, list[str]](list)
    for one in planned:
        pks[one.kind].append(one.pk)
    versions = {kind: versions_of(kind, some_pks) for kind, some_pks in pks.items()}
    return [
        replace(one, changed=finished(one.kind, one.changed, versions[one.kind].get(one.pk, 0)))
        if one.changed is not None and one.changed.written
        else one
        for one in planned
    ]


def _record_undo_of(entries: Sequence[int]) -> None:
    """Makes the next entries of this transaction store the entries that they undo."""
    with connections[conf.database].cursor() as cursor:
        text = json.dumps([[entry, entry] for entry in entries]) if entries else ""
        cursor.execute(_SET_UNDOES, [text])


def _write_row(one: Undone) -> None:
    """Writes a row. An error rolls back the whole undo, so no savepoint is needed."""
    before, after = cast("Row | None", one.before.row), cast("Row | None", one.after.row)
    changed = cast("Changed", one.changed)
    users = AllowedUsersChange(
        added=tuple((changed.new or {}).get(ALLOWED, ())),
        removed=tuple((changed.old or {}).get(ALLOWED, ())),
    )
    if after is None:
        copy(cast("Row", before)).delete(using=conf.database)
    elif before is None:
        _insert(copy(after), users)
    else:
        write_fields(copy(before), changed, users, savepoint=False, is_past=True)


def _insert(row: Row, users: AllowedUsersChange) -> None:
    """Inserts a deleted row again, with its primary key and its allowed users."""
    times = {
        one.attname: value
        for one in auto_now_add_fields(model_of(row))
        if (value := getattr(row, one.attname)) is not None
    }
    insert(row, savepoint=False)
    if times:
        # Saving has set them to the present.
        all_rows(model_of(row)).filter(pk=row.pk).update(**times)
    if users:
        change_allowed_users(row, users)


def _in_order(undone: Iterable[Undone]) -> Iterator[Undone]:
    """Yields deletions first, and a row that frees a key before the one that gets it."""
    waiting = sorted(undone, key=lambda one: (one.after.row is not None, one.key))
    while waiting:
        holders = {(one.kind, _key_of(one.before)): one.id for one in waiting}
        ready = [
            one
            for one in waiting
            if holders.get((one.kind, _key_of(one.after)), one.id) == one.id
            or one.after.row is None
        ]
        # The database refuses rows that exchange their keys.
        ready = ready or waiting
        yield from ready
        done = {one.id for one in ready}
        waiting = [one for one in waiting if one.id not in done]


def _key_of(state: RowState) -> str | None:
    return None if state.row is None else cast("Row", state.row).key


def _differing(old: Fields, new: Fields) -> Iterator[str]:
    """Yields the columns that two rows do not have in common."""
    for name in old.keys() | new.keys():
        if name not in old or name not in new or not same_json(old[name], new[name]):
            yield name


def _is_secret(entry: Change) -> bool:
    """Whether an entry hides the value of a row."""
    is_value = entry.relation == Kind.VALUE.row_relation
    return is_value and any((side or {}).get("secret") for side in (entry.old, entry.new))


def _pks(texts: Any) -> frozenset[PrimaryKey]:
    return frozenset(map(user_field(conf.flag_model).to_python, texts or ()))


# By key: one row, and its result alone.


def undo_event(
    kind: Kind, key: str, version: int | None = None, *, expect_version: int | None = None
) -> Changed:
    """Undoes the event of a row that has this version; by default the newest event.

    Raises as `undo`, UnknownFlagError, UnknownValueError or UnknownSegmentError for the key, and
    InvalidChangeError if the row has no such event.
    """
    return _undo_row(kind, key, event_of(kind, key, version), expect_version)


def restore(kind: Kind, key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a row and its allowed users as they were after the entry `to`: undoes newer ones.

    A deleted row gets its old primary key back. Users who no longer exist are left out and returned
    as `missing`. Raises as `undo_event`.
    """
    return _undo_row(kind, key, newer_entries(kind, key, to), expect_version)


def event_of(kind: Kind, key: str, version: int | None = None) -> list[Change]:
    """Returns the entries of the event of a row that has this version; by default the newest."""
    of_row = _entries_of(kind, key)
    entry = of_row.order_by("-id").first() if version is None else of_row.filter(pk=version).first()
    if entry is None and version is not None:
        raise _no_version_of_key(kind, key, version)
    if entry is None:
        raise InvalidChangeError("the history of {key} has no change to undo", key=key)
    return [one for one in of_row.filter(of_transaction(entry)) if one.actor == entry.actor]


def newer_entries(kind: Kind, key: str, to: int) -> list[Change]:
    """Returns the entries of a row that are newer than the entry `to`, after which it existed."""
    of_row = _entries_of(kind, key)
    entry = of_row.filter(pk=to).first()
    if entry is None:
        raise _no_version_of_key(kind, key, to)
    if entry.relation != ALLOWED_USERS and entry.new is None:
        raise InvalidChangeError(
            "{key} did not exist at version {version}; to remove it, use {command}",
            key=key,
            version=str(to),
            command=quoted_command(*DELETE_VERBS[kind], key),
        )
    return [*of_row.filter(pk__gt=to)]


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


def _entries_of(kind: Kind, key: str) -> QuerySet[Change]:
    """Returns the entries of the row that has the key, or of the deleted one that last had it."""
    require_history()
    row = kind.find(key)
    pk = deleted_pk(kind, key) if row is None else row.pk
    # Raises if there is no such row.
    return entries_of(kind, kind.row(key).pk if pk is None else pk)


def _no_version_of_key(kind: Kind, key: str, version: int) -> InvalidChangeError:
    return InvalidChangeError(
        "the history of {key} has no version {version}; see {command}",
        key=key,
        version=str(version),
        command=quoted_command("history", key, *KIND_OPTIONS[kind]),
    )
