"""A flag or a value at an earlier version, computed from the present and the history."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

from django.db import connections
from django.db.models import (
    BooleanField,
    Case,
    Func,
    IntegerField,
    Max,
    Q,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast
from django.db.models.lookups import LessThanOrEqual

from flagstaff._tables.model_fields import column_of, find_field, stored_fields
from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff._tables.rows import Fields, Row
from flagstaff._time_fields import bound_of
from flagstaff._words.json_text import UnreadableJson, read_columns
from flagstaff.changes.allowed_users import allowed_pks
from flagstaff.changes.changed import KIND_OPTIONS, quoted_command
from flagstaff.changes.messages import NO_SUCH_VERSION, NO_VERSION_AT_ALL
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.folding import AllowedUsersDelta, RowDelta, State, state_before
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import all_entries, deleted_pk, entries, require_history
from flagstaff.models import Change

_VALUE, _CHOICES = "value", "choices"
# What the history has in place of the choices of a secret value.
_MARK = {"masked": True}
# Numbers of more than 4,300 digits, or members below 498 levels. Python decides exactly.
_UNREADABLE = "$ ? (exists (@.** ? (@ >= 1e4300 || @ <= -1e4300)) || exists (@.**{498}))"
_EXISTS, _STORED_SIZE = "pg_catalog.jsonb_path_exists", "pg_catalog.pg_column_size"
_MAX_SEARCHED = 65_536


@dataclass(frozen=True)
class Item:
    """A flag or a value that exists, or that was deleted and has a history."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: Locked; None if it was deleted.
    row: Row | None


@dataclass(frozen=True)
class RowVersion:
    """The columns of a row, at present or at an earlier version."""

    #: By name, as JSON.
    columns: Fields
    #: The entry whose old side is this row; None for the present row.
    entry: int | None = None
    #: True if the value is a digest, because it was secret.
    is_digest: bool = False


ItemState: TypeAlias = State[RowVersion]


def find_item(kind: Kind, key: str) -> Item:
    """Returns the flag or value of a key, locked; or the deleted one that last had the key.

    Raises NoHistoryError, and UnknownFlagError or UnknownValueError if it never existed.
    """
    require_history()
    row = kind.find(key, lock=True)
    if row is None and (pk := deleted_pk(kind, key)) is not None:
        return Item(kind, key, pk, None)
    # Raises if there is no such row.
    row = row or kind.row(key, lock=True)
    return Item(kind, key, str(row.pk), row)


def no_such_version(kind: Kind, key: str, version: int) -> InvalidChangeError:
    """Returns the error if no entry of this flag or value has this id."""
    history = quoted_command("history", key, *KIND_OPTIONS[kind])
    text = NO_SUCH_VERSION(key=key, version=str(version), command=history)
    return InvalidChangeError(text)


def no_version_at_all(version: int) -> InvalidChangeError:
    """Returns the error if no entry of the history has this id."""
    text = NO_VERSION_AT_ALL(version=str(version), command=quoted_command("history"))
    return InvalidChangeError(text)


def present_state(item: Item) -> ItemState:
    """Returns the present row and allowed users."""
    if item.row is None:
        return State(None)
    users = allowed_pks(item.row) if item.kind is Kind.FLAG else ()
    return State(present_row(item), frozenset(users))


def state_at(item: Item, version: int, present: ItemState | None = None) -> ItemState:
    """Returns the row and the allowed users right after a version. Reads all newer entries."""
    return state_before(present or present_state(item), _newer(item, version))


def present_row(item: Item, *, as_digest: bool = False) -> RowVersion:
    """Returns the present row; with `as_digest`, as the history stores a secret value."""
    value = _column(item.kind, _VALUE) if item.kind is Kind.VALUE else ""
    text, text_of_value = _query("current_row_v1", item.kind, [value, item.pk])
    columns = read_columns(text)
    if as_digest and text_of_value is not None:
        columns |= {value: _digest(text_of_value), **_marks(item, columns)}
    return RowVersion(columns, is_digest=as_digest)


def digests_at(item: Item, versions: Collection[int]) -> dict[int, object]:
    """Returns the digest of the value at those versions of which nothing else is left."""
    column = _column(item.kind, _VALUE)
    newer = entries(item.kind, item.pk).filter(id__gt=min(versions), old__isnull=False)
    rows = {entry.pk: old_row(entry) for entry in newer.iterator(chunk_size=100)}
    ids = sorted(rows)
    digests: dict[int, object] = {}
    for version in versions:
        # The old side of the next entry is the row at this version.
        following = ids[bisect_right(ids, version) :][:1]
        if following and rows[following[0]].is_digest:
            digests[version] = rows[following[0]].columns[column]
    return digests


def unreadable_at(item: Item, versions: Collection[int]) -> set[int]:
    """Returns the versions of a value that Python cannot decode, unless it is the present value.

    Values of more than 64 KiB are not looked at.
    """
    column = _column(item.kind, _VALUE)
    newer = entries(item.kind, item.pk).filter(id__gt=min(versions), old__isnull=False)
    found = newer.annotate(may_be_unreadable=_may_be_unreadable(KeyTransform(column, "old")))
    present = getattr(item.row, _VALUE, None)
    unreadable = {
        entry.pk
        for entry in found.filter(may_be_unreadable=True)
        if isinstance(value := old_row(entry).columns.get(column), UnreadableJson)
        and value != present
    }
    if not unreadable:
        return set()
    ids = sorted(newer.values_list("pk", flat=True))
    # The old side of the next entry is the row at a version.
    following = {version: ids[bisect_right(ids, version) :][:1] for version in versions}
    return {version for version, next_ids in following.items() if unreadable & {*next_ids}}


def masked_columns(item: Item, version: RowVersion) -> list[str]:
    """Returns the columns of a secret value of which nothing is left: its choices."""
    column = _choices(item.kind)
    return [column] if column and version.columns.get(column) == _MARK else []


def last_change_of_choices(item: Item, since: int = 0, until: int | None = None) -> int:
    """Returns the last entry that changed choices of which nothing is left; 0 without one."""
    column = _choices(item.kind)
    if not column:
        return 0
    found = entries(item.kind, item.pk).filter(id__gte=since)
    found = found if until is None else found.filter(id__lte=until)
    is_changed = Q(**{f"new__{column}__changed": True})
    is_removed = Q(**{f"old__{column}__masked": True, f"new__{column}": []})
    last: int | None = found.filter(is_changed | is_removed).aggregate(last=Max("id"))["last"]
    return last or 0


def _choices(kind: Kind) -> str:
    """The column of the choices; empty for other kinds, and for a model without choices."""
    has_choices = kind is Kind.VALUE and find_field(kind.model, _CHOICES) is not None
    return _column(kind, _CHOICES) if has_choices else ""


def _may_be_unreadable(value: KeyTransform) -> Case:
    """Finds huge numbers and deep nesting in the database: other values need not be read."""
    path = Func(Value(_UNREADABLE), template="(%(expressions)s)::jsonpath")
    exists = Func(value, path, function=_EXISTS, output_field=BooleanField())
    size = Func(value, function=_STORED_SIZE, output_field=IntegerField())
    return Case(When(LessThanOrEqual(size, _MAX_SEARCHED), then=exists), default=Value(value=False))


def comparable(item: Item, *versions: RowVersion) -> list[RowVersion]:
    """Returns the rows with a digest instead of the value, if one of them has only a digest."""
    if not any(row.is_digest for row in versions):
        return list(versions)
    return [row if row.is_digest else _with_digest(item, row) for row in versions]


def instance_of(item: Item, version: RowVersion) -> Row | None:
    """Returns a model instance with the columns as the database itself reads them."""
    if version.entry is None:
        return item.row
    model = item.kind.model
    query = fill(sql("history_row_v1"), _names(item.kind))
    fields = {str(field.column): field for field in stored_fields(model)}
    unreadable: dict[str, object] = {
        column: text for column, text in version.columns.items() if isinstance(text, UnreadableJson)
    }
    for column in fields.keys() & version.columns.keys():
        if (bound := bound_of(fields[column], version.columns[column])) is not None:
            unreadable[column] = bound
    parameters = [list(unreadable), version.entry]
    [row] = model._base_manager.using(conf.database).raw(query, parameters)
    for column, value in unreadable.items():
        setattr(row, fields[column].attname, value)
    return cast("Row", row)


def _with_digest(item: Item, version: RowVersion) -> RowVersion:
    if version.entry is None:
        return present_row(item, as_digest=True)
    value = _column(item.kind, _VALUE)
    # The trigger computes digests from the database's own text of the JSON.
    texts = all_entries().annotate(text=Cast(KeyTransform(value, "old"), TextField()))
    text = texts.values_list("text", flat=True).get(id=version.entry)
    masked = {**version.columns, value: _digest(text), **_marks(item, version.columns)}
    return RowVersion(masked, version.entry, is_digest=True)


def _marks(item: Item, columns: Fields) -> dict[str, object]:
    column = _choices(item.kind)
    return {column: _MARK} if column and columns.get(column) else {}


def _digest(text: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _newer(item: Item, version: int) -> Iterator[RowDelta[RowVersion] | AllowedUsersDelta]:
    found = entries(item.kind, item.pk).filter(id__gt=version).order_by("-id")
    to_python = user_field(conf.flag_model).to_python
    for entry in found.iterator(chunk_size=100):
        if entry.relation == ALLOWED_USERS:
            lists = (frozenset(map(to_python, pks or ())) for pks in (entry.old, entry.new))
            removed, added = lists
            yield AllowedUsersDelta(removed, added)
        else:
            yield RowDelta(None if entry.old is None else old_row(entry))


def old_row(entry: Change) -> RowVersion:
    """Returns the row before an entry that changed or deleted it."""
    old, new = entry.old or {}, entry.new or {}
    is_value = entry.relation == Kind.VALUE.row_relation
    is_digest = is_value and bool(old.get("secret") or new.get("secret"))
    return RowVersion(old, entry.pk, is_digest)


def _query(name: str, kind: Kind, parameters: Sequence[str]) -> tuple[str, str | None]:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(fill(sql(name), _names(kind)), parameters)
        return cast("tuple[str, str | None]", cursor.fetchone())


def _names(kind: Kind) -> dict[str, str]:
    connection = connections[conf.database]
    quote, meta = connection.ops.quote_name, kind.model._meta
    return {
        **own_names(connection),
        "table": quote(meta.db_table),
        "pk": quote(str(meta.pk.column)),
    }


def _column(kind: Kind, name: str) -> str:
    return column_of(kind.model, name)
