"""Flags, values and segments at earlier versions, computed from the present and the history.

The number of queries depends neither on the number of rows, up to 10,000, nor on that of versions.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias, cast

from django.db import connections
from django.db.models import Q, TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from flagstaff._tables.decoding import SECRET_FIELDS
from flagstaff._tables.model_fields import auto_now_columns, column_of, find_field, stored_fields
from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff._tables.rows import Fields, PrimaryKey, Row
from flagstaff._tables.user_lookup import batches
from flagstaff._time_fields import bound_of
from flagstaff._words.json_text import UnreadableJson, read_columns
from flagstaff.changes.allowed_users import allowed_pks_of
from flagstaff.conf import conf
from flagstaff.history.folding import AllowedUsersDelta, RowDelta, State, state_before
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.log import deleted_pk, require_history
from flagstaff.history.reading import same_json
from flagstaff.models import Change

_VALUE = "value"
# What the history has in place of the choices and the rules of a secret value.
_MARK = {"masked": True}


class RowId(NamedTuple):
    """A flag, a value or a segment, which may be deleted."""

    kind: Kind
    #: The primary key as the history stores it.
    pk: str


@dataclass(frozen=True)
class Item:
    """A flag, a value or a segment that exists, or that was deleted and has a history."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: None if it was deleted.
    row: Row | None

    @property
    def id(self) -> RowId:
        """The kind and the primary key."""
        return RowId(self.kind, self.pk)


@dataclass(frozen=True)
class RowVersion:
    """The columns of a row, at present or at an earlier version."""

    #: By name, as JSON.
    columns: Fields
    #: The entry whose old side is this row; None for the present row.
    entry: int | None = None
    #: True if the value is a digest, because it was secret.
    is_digest: bool = False
    #: The text from which a trigger would compute the digest, where another version has only one.
    value_text: str | None = field(default=None, repr=False)

    def as_digest(self) -> RowVersion:
        """Returns the row as the history stores that of a secret value."""
        if self.is_digest or self.value_text is None:
            return self
        digest = {"sha256": hashlib.sha256(self.value_text.encode()).hexdigest()}
        masked = {**self.columns, column_of(Kind.VALUE.model, _VALUE): digest}
        masked |= {column: _MARK for column in _maskable_columns() if masked.get(column)}
        return replace(self, columns=masked, is_digest=True)


ItemState: TypeAlias = State[RowVersion]


class PastEntry(NamedTuple):
    """An entry of the history, without the rows before and after it."""

    id: int
    relation: str
    transaction_id: int


@dataclass(frozen=True)
class Past:
    """A row, and its history after the oldest of the versions that are asked for."""

    item: Item
    present: ItemState
    #: Newest first.
    entries: tuple[PastEntry, ...]
    #: The entries that changed choices or rules of a secret value, of which nothing is left.
    masked_changes: frozenset[int]
    _deltas: Mapping[int, RowDelta[RowVersion] | AllowedUsersDelta]

    @property
    def version(self) -> int:
        """The present version; 0 if there are no entries after the oldest version."""
        return self.entries[0].id if self.entries else 0

    def state_at(self, version: int) -> ItemState:
        """Returns the row and the allowed users right after one of the versions."""
        needed = _needed(self.entries, version)
        return state_before(self.present, (self._deltas[entry.id] for entry in needed))

    def has_state(self, state: ItemState) -> bool:
        """Whether the present row and its allowed users have this state, auto_now fields aside."""
        if self.present.row is None or state.row is None:
            return self.present.row is None and state.row is None
        present, other = comparable(self.present.row, state.row)
        columns = {*present.columns, *other.columns} - {*auto_now_columns(self.item.kind.model)}
        is_same = all(is_same_column(present, other, name) for name in columns)
        return is_same and self.present.users == state.users


def read_pasts(versions: Iterable[tuple[Item, Collection[int]]]) -> dict[RowId, Past]:
    """Returns the history of these rows, for these versions of each."""
    points_by_row = {item.id: (item, points) for item, points in versions}
    items = [item for item, _points in points_by_row.values()]
    entries = _newer_entries({row: min(points) for row, (_item, points) in points_by_row.items()})
    needed = [
        entry.id
        for row, (_item, points) in points_by_row.items()
        for version in points
        for entry in _needed(entries[row], version)
    ]
    present = present_states(items)
    deltas = _deltas_of(needed, present)
    changed = masked_changes(pk for kind, pk in points_by_row if kind is Kind.VALUE)
    return {
        row: Past(
            item,
            present[row],
            tuple(entries[row]),
            # A flag or a segment may have the primary key of a value.
            frozenset(changed[row.pk] if row.kind is Kind.VALUE else ()),
            deltas,
        )
        for row, (item, _points) in points_by_row.items()
    }


def present_states(items: Collection[Item]) -> dict[RowId, ItemState]:
    """Returns the present rows and their allowed users."""
    existing = {item.id: item.row for item in items if item.row is not None}
    states = {item.id: State[RowVersion](None) for item in items}
    for kind in {kind for kind, _pk in existing}:
        value = column_of(kind.model, _VALUE) if kind is Kind.VALUE else ""
        pks = [pk for other, pk in existing if other is kind]
        for batch in batches(pks):
            for pk, text, value_text in _query("current_rows_v1", kind, [value, batch]):
                row = RowVersion(read_columns(text), value_text=value_text)
                states[RowId(kind, pk)] = State(row)
    flags = [row for (kind, _pk), row in existing.items() if kind is Kind.FLAG]
    for flag_pk, users in (allowed_pks_of(flags) if flags else {}).items():
        row_id = RowId(Kind.FLAG, str(flag_pk))
        states[row_id] = State(states[row_id].row, frozenset(users))
    return states


def comparable(*versions: RowVersion) -> list[RowVersion]:
    """Returns the rows with a digest instead of the value, if one of them has only a digest."""
    if not any(row.is_digest for row in versions):
        return list(versions)
    return [row.as_digest() for row in versions]


def is_same_column(version: RowVersion, other_version: RowVersion, name: str) -> bool:
    """Whether two versions have the same JSON in a column."""
    return same_json(version.columns.get(name), other_version.columns.get(name))


def masked_columns(kind: Kind, version: RowVersion) -> set[str]:
    """Returns the columns of a secret value of which nothing is left: its choices and rules."""
    columns = _maskable_columns() if kind is Kind.VALUE else ()
    return {column for column in columns if version.columns.get(column) == _MARK}


def _maskable_columns() -> list[str]:
    """Returns the columns besides the value that are masked of a secret value, if there are any."""
    names = (name for name in SECRET_FIELDS if name != _VALUE)
    fields = (find_field(Kind.VALUE.model, name) for name in names)
    return [str(field.column) for field in fields if field is not None]


def masked_changes(pks: Iterable[str]) -> defaultdict[str, set[int]]:
    """Returns the entries that changed choices or rules of secret values, by the primary key."""
    changes: defaultdict[str, set[int]] = defaultdict(set)
    pks = list(pks)
    columns = _maskable_columns() if pks else []
    if not columns:
        return changes
    is_changed = Q()
    for column in columns:
        is_changed |= Q(**{f"new__{column}__changed": True})
        is_changed |= Q(**{f"old__{column}__masked": True, f"new__{column}": []})
    changed = Change.objects.filter(is_changed, relation=Kind.VALUE.row_relation)
    for batch in batches(pks):
        rows = changed.filter(object_pk__in=batch).order_by()
        for pk, entry in rows.values_list("object_pk", "id"):
            changes[pk].add(entry)
    return changes


def instances_of(kind: Kind, versions: Iterable[RowVersion]) -> dict[int, Row]:
    """Returns model instances of earlier rows, as the database itself reads them, by entry."""
    fields = {str(field.column): field for field in stored_fields(kind.model)}
    # The attributes that the database cannot set, by the columns that they have in common.
    groups: dict[frozenset[str], dict[int, Fields]] = defaultdict(dict)
    for version in versions:
        if version.entry is not None:
            unreadable = {
                name: read
                for name, text in version.columns.items()
                if name in fields and (read := _read_here(fields[name], text)) is not None
            }
            groups[frozenset(unreadable)][version.entry] = unreadable
    query = fill(sql("history_rows_v1"), _names(kind))
    rows: dict[int, Row] = {}
    for columns, by_entry in groups.items():
        for batch in batches(by_entry):
            parameters = [sorted(columns), batch]
            for row in kind.model._base_manager.using(conf.database).raw(query, parameters):
                entry = vars(row).pop("flagstaff_entry")
                for column, value in by_entry[entry].items():
                    setattr(row, fields[column].attname, value)
                rows[entry] = cast("Row", row)
    return rows


def old_row(entry: Change, value_text: str | None = None) -> RowVersion:
    """Returns the row before an entry that changed or deleted it."""
    old, new = entry.old or {}, entry.new or {}
    is_value = entry.relation == Kind.VALUE.row_relation
    is_digest = is_value and bool(old.get("secret") or new.get("secret"))
    return RowVersion(old, entry.pk, is_digest, value_text)


def _needed(newest_first: Iterable[PastEntry], version: int) -> list[PastEntry]:
    """The entries that lead back to a version: of those about the row itself, only the oldest."""
    newer = [entry for entry in newest_first if entry.id > version]
    rows = [entry.id for entry in newer if entry.relation != ALLOWED_USERS]
    return [entry for entry in newer if entry.relation == ALLOWED_USERS or entry.id == rows[-1]]


def _newer_entries(since: Mapping[RowId, int]) -> dict[RowId, list[PastEntry]]:
    """The entries of each row after a version, newest first."""
    by_row: dict[RowId, list[PastEntry]] = {row: [] for row in since}
    if not since:
        return by_row
    relations = {relation for kind, _pk in since for relation in kind.relations}
    newer = Change.objects.filter(relation__in=relations, id__gt=min(since.values()))
    columns = ("id", "relation", "transaction_id", "object_pk")
    for batch in batches({pk for _kind, pk in since}):
        entries = newer.filter(object_pk__in=batch).order_by("-id")
        for entry, relation, transaction_id, pk in entries.values_list(*columns).iterator():
            row = RowId(Kind.of(relation), pk)
            if row in since and entry > since[row]:
                by_row[row].append(PastEntry(entry, relation, transaction_id))
    return by_row


def _deltas_of(
    entries: Iterable[int], present: Mapping[RowId, ItemState]
) -> dict[int, RowDelta[RowVersion] | AllowedUsersDelta]:
    """What these entries have changed, by their ids."""
    stored = _by_id(entries, lambda batch: Change.objects.filter(id__in=batch).iterator(100))
    rows = {pk: entry for pk, entry in stored.items() if entry.relation != ALLOWED_USERS}
    texts = _value_texts(rows.values())
    versions = {pk: old_row(one, texts.get(pk)) for pk, one in rows.items() if one.old is not None}
    to_python = user_field(conf.flag_model).to_python
    return {
        pk: RowDelta(versions.get(pk))
        if pk in rows
        else AllowedUsersDelta(_pks(entry.old, to_python), _pks(entry.new, to_python))
        for pk, entry in stored.items()
    }


def _pks(texts: Any, to_python: Callable[[Any], PrimaryKey]) -> frozenset[PrimaryKey]:
    return frozenset(map(to_python, texts or ()))


def _value_texts(entries: Collection[Change]) -> dict[int, str]:
    """The texts of the old values of which another entry may have a digest."""
    values = [entry for entry in entries if entry.relation == Kind.VALUE.row_relation]
    secret = {entry.object_pk for entry in values if old_row(entry).is_digest}
    pks = [entry.pk for entry in values if entry.object_pk in secret]
    text = Cast(KeyTransform(column_of(Kind.VALUE.model, _VALUE), "old"), TextField())
    texts = Change.objects.annotate(text=text).only("id")
    changes = _by_id(pks, lambda batch: texts.filter(id__in=batch))
    return {pk: vars(entry)["text"] for pk, entry in changes.items()}


def _by_id(ids: Iterable[int], read: Callable[[list[int]], Iterable[Change]]) -> dict[int, Change]:
    return {entry.pk: entry for batch in batches({*ids}) for entry in read(batch)}


def _read_here(model_field: Any, text: object) -> object:
    """What a column is read as that the database or Python cannot represent; None for others."""
    return text if isinstance(text, UnreadableJson) else bound_of(model_field, text)


def _query(name: str, kind: Kind, parameters: list[Any]) -> Iterator[tuple[str, str, str | None]]:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(fill(sql(name), _names(kind)), parameters)
        yield from cursor.fetchall()


def _names(kind: Kind) -> dict[str, str]:
    connection = connections[conf.database]
    quote, meta = connection.ops.quote_name, kind.model._meta
    return {
        **own_names(connection),
        "table": quote(meta.db_table),
        "pk": quote(str(meta.pk.column)),
    }


def find_item(kind: Kind, key: str, *, lock: bool = True) -> Item:
    """Returns the row of a key; or the deleted one that last had the key.

    Raises NoHistoryError, and UnknownFlagError or UnknownValueError if it never existed.
    """
    require_history()
    row = kind.find(key, lock=lock)
    if row is None and (pk := deleted_pk(kind, key)) is not None:
        return Item(kind, key, pk, None)
    # Raises if there is no such row.
    row = row or kind.row(key, lock=lock)
    return Item(kind, key, str(row.pk), row)
