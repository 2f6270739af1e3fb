"""A flag or a value as it was at a version, folded back from the present."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast

from flagstaff._tables.names import fill, own_names, sql, user_field
from flagstaff.changes.allowed_users import allowed_pks
from flagstaff.changes.rows import deleted_pk
from flagstaff.conf import conf
from flagstaff.exceptions import UnknownFlagError, UnknownValueError
from flagstaff.history.folding import AllowDelta, RowDelta, State, state_before
from flagstaff.history.kinds import ALLOWED_USERS, Kind
from flagstaff.history.versions import all_entries, entries, require_history

__all__ = [
    "Kept",
    "Target",
    "as_comparable",
    "as_kept",
    "find",
    "kept_row",
    "present_state",
    "state_at",
    "state_from",
]

_VALUE = "value"


@dataclass(frozen=True)
class Target:
    """What a past is asked of: a row, or what is left of one that was deleted."""

    kind: Kind
    key: str
    pk: str
    #: Locked; None where it was deleted.
    row: Any


@dataclass(frozen=True)
class Kept:
    """A row as it was. Where it is not the present one, an entry of the history holds it."""

    #: Its columns as JSON.
    columns: Mapping[str, Any]
    #: The entry whose old side it is; None for the present.
    entry: int | None = None
    #: Whether its value is a digest.
    digest: bool = False


def find(kind: Kind, key: str) -> Target:
    """What has the key, locked, or what had it last and was deleted.

    Raises UnknownFlagError or UnknownValueError where there never was one.
    """
    require_history()
    try:
        row = kind.row(key, lock=True)
    except (UnknownFlagError, UnknownValueError):
        pk = deleted_pk(kind, key)
        if pk is None:
            raise
        return Target(kind, key, pk, None)
    return Target(kind, key, str(row.pk), row)


def state_at(target: Target, version: int) -> State:
    """The row, as `Kept` or None, and the allow-list right after a version."""
    return state_from(present_state(target), target, version)


def present_state(target: Target) -> State:
    """The same as it is now."""
    present = None if target.row is None else as_kept(target)
    users = allowed_pks(target.row) if target.row and target.kind is Kind.FLAG else ()
    return State(present, frozenset(users))


def state_from(present: State, target: Target, version: int) -> State:
    """The same right after a version, where the present was read already."""
    return state_before(present, _newer(target, version))


def as_kept(target: Target, *, digest: bool = False) -> Kept:
    """The present row, or its value by a digest as the history keeps a secret."""
    value = _column(target.kind, _VALUE) if target.kind is Kind.VALUE else ""
    columns, text = _query("current_row_v1", target.kind, [value, target.pk])
    kept = json.loads(columns)
    if digest and text is not None:
        kept[value] = _digest(text)
    return Kept(kept, digest=digest)


def as_comparable(target: Target, *many: Kept) -> list[Kept]:
    """Rows that can be compared: where one of them has a digest, all of them have one."""
    if not any(kept.digest for kept in many):
        return list(many)
    return [kept if kept.digest else _with_digest(target, kept) for kept in many]


def kept_row(target: Target, kept: Kept) -> Any:
    """An instance of the model that has the columns as the database itself reads them."""
    if kept.entry is None:
        return target.row
    model = target.kind.model
    query = fill(sql("history_row_v1"), _names(target.kind))
    [row] = model._base_manager.using(conf.database).raw(query, [kept.entry])
    return row


def _with_digest(target: Target, kept: Kept) -> Kept:
    if kept.entry is None:
        return as_kept(target, digest=True)
    value = _column(target.kind, _VALUE)
    # The database's own text, which the trigger makes its digests of.
    texts = all_entries().annotate(text=Cast(KeyTransform(value, "old"), TextField()))
    text = texts.values_list("text", flat=True).get(id=kept.entry)
    return Kept({**kept.columns, value: _digest(text)}, kept.entry, digest=True)


def _digest(text: str) -> dict[str, str]:
    return {"sha256": hashlib.sha256(text.encode()).hexdigest()}


def _newer(target: Target, version: int) -> Iterator[RowDelta | AllowDelta]:
    found = entries(target.kind, target.pk).filter(id__gt=version).order_by("-id")
    as_user = user_field(conf.flag_model).to_python
    for entry in found.iterator(chunk_size=100):
        if entry.relation == ALLOWED_USERS:
            removed, added = (
                frozenset(map(as_user, pks)) for pks in (entry.old or (), entry.new or ())
            )
            yield AllowDelta(removed, added)
        else:
            yield RowDelta(None if entry.old is None else _kept(entry))


def _kept(entry: Any) -> Kept:
    sides = entry.old, entry.new or {}
    digest = entry.relation == Kind.VALUE.row_relation and any(side.get("secret") for side in sides)
    return Kept(entry.old, entry.pk, digest)


def _query(name: str, kind: Kind, parameters: list[Any]) -> Any:
    with connections[conf.database].cursor() as cursor:
        cursor.execute(fill(sql(name), _names(kind)), parameters)
        return cursor.fetchone()


def _names(kind: Kind) -> dict[str, str]:
    connection = connections[conf.database]
    quote, meta = connection.ops.quote_name, kind.model._meta
    pk: Any = meta.pk
    return {
        **own_names(connection),
        "table": quote(meta.db_table),
        "pk": quote(str(pk.column)),
    }


def _column(kind: Kind, name: str) -> str:
    field: Any = kind.model._meta.get_field(name)
    return str(field.column)
