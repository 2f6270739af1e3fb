"""The database → a document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import all_rows
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.exceptions import FlagstaffError, UnknownFlagError, UnknownValueError
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import require_history, versions_of
from flagstaff.serialization.document import FORMAT, MASK, SECTIONS
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.users import allow_lists, names, said_of

__all__ = ["export"]


def export(keys: Iterable[str] | None = None, *, versions: bool = False) -> dict[str, Any]:
    """Flags and values as a document that JSON can hold: all of them, or those of these keys.

    By key, each field in the order of the model. Of a secret value there is a mask. `versions` adds
    the version of each, which an import compares. Raises UnknownFlagError where a key is neither a
    flag's nor a value's, and NoHistoryError where there are no versions.
    """
    wanted = None if keys is None else list(dict.fromkeys(keys))
    newest = _versions(wanted) if versions else {}
    flags, values = _rows(Kind.FLAG, wanted), _rows(Kind.VALUE, wanted)
    for key in wanted or ():
        if key not in flags and key not in values:
            _unknown(key)
    document: dict[str, Any] = {"flagstaff": FORMAT}
    if wanted is not None:
        document["partial"] = True
    for kind, rows in ((Kind.FLAG, flags), (Kind.VALUE, values)):
        if rows or wanted is None:
            document[SECTIONS[kind]] = _section(kind, rows, newest.get(kind))
    return document


def _versions(keys: list[str] | None) -> dict[Kind, dict[str, int]]:
    """The versions, read before the rows: what changes in between is a conflict later on."""
    require_history()
    return {
        kind: versions_of(kind, [row.pk for row in _rows(kind, keys).values()]) for kind in Kind
    }


def _rows(kind: Kind, keys: list[str] | None) -> dict[str, Any]:
    if keys is None:
        found = list(all_rows(kind.model).exclude(key=None))
    else:
        found = [row for key in keys if (row := _row(kind, key)) is not None]
    rows = {row.key: row for row in sorted(found, key=lambda row: str(row.key))}
    if len(rows) < len(found):
        # Possible in a project's own table.
        raise FlagstaffError(f"several {SECTIONS[kind]} have one key; delete all but one")
    return rows


def _row(kind: Kind, key: str) -> Any:
    try:
        return kind.row(key)
    except (UnknownFlagError, UnknownValueError):
        return None


def _unknown(key: str) -> None:
    """Raise what names the nearest keys of flags, and else of values."""
    try:
        Kind.FLAG.row(key)
    except UnknownFlagError as error:
        if "did you mean" in str(error):
            raise
        Kind.VALUE.row(key)


def _section(kind: Kind, rows: dict[str, Any], newest: dict[str, int] | None) -> dict[str, Any]:
    fields = exported_fields(kind)
    section: dict[str, dict[str, Any]] = {}
    for key, row in rows.items():
        said = {} if newest is None else {"version": newest.get(str(row.pk), 0)}
        section[key] = said | {name: serialize(field, row) for name, field in fields.items()}
        if kind is Kind.VALUE and is_secret(row):
            section[key]["value"] = MASK
    if kind is Kind.FLAG:
        _add_users(section, rows)
    return section


def _add_users(section: dict[str, dict[str, Any]], rows: dict[str, Any]) -> None:
    allowed = allow_lists(rows.values())
    called = names({pk for pks in allowed.values() for pk in pks})
    for key, row in rows.items():
        section[key][ALLOWED] = said_of(allowed.get(row.pk, ()), called)
