"""Reads flags, values and segments from the database into a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from flagstaff._tables.decoding import is_secret, secret_fields
from flagstaff._tables.rows import Row, all_rows, suggests_key
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.rule_json import in_reading_order
from flagstaff._words.text import MASK, Text, marked
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks_of
from flagstaff.exceptions import (
    FlagstaffError,
    UnknownFlagError,
    UnknownSegmentError,
    UnknownValueError,
)
from flagstaff.history.kinds import Kind
from flagstaff.history.versions import require_history, versions_of
from flagstaff.serialization.document import FORMAT_VERSION, SECTIONS
from flagstaff.serialization.existing_kinds import existing_kinds
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.user_references import user_entries, usernames_of

_FIELD_NOT_EXPORTABLE = {
    Kind.FLAG: marked(
        "the flag {key} cannot be exported: the JSON of its {field} {problem}; replace its {field}"
    ),
    Kind.VALUE: marked(
        "the value {key} cannot be exported: the JSON of its {field} {problem}; replace its {field}"
    ),
    Kind.SEGMENT: marked(
        "the segment {key} cannot be exported: the JSON of its {field} {problem}; replace its "
        "{field}"
    ),
}

_Rows = dict[str, Row]
_Section = dict[str, dict[str, object]]


def export(keys: Iterable[str] | None = None, *, versions: bool = False) -> dict[str, Any]:
    """Returns all flags, values and segments, or those with these keys, as a dict for JSON.

    Sorted by key, with the fields in the order of the model. Secret values are masked. `versions`
    adds the version of each, which an import compares. Raises UnknownFlagError,
    UnknownValueError or UnknownSegmentError for a key that belongs to none of them, and
    NoHistoryError if there are no versions.
    """
    chosen = None if keys is None else list(dict.fromkeys(keys))
    kinds = existing_kinds()
    newest = _versions(kinds, chosen) if versions else {}
    rows_by_kind = {kind: _rows(kind, chosen) for kind in kinds}
    for key in chosen or ():
        if not any(key in rows for rows in rows_by_kind.values()):
            raise _unknown(key, kinds)
    document: dict[str, Any] = {"flagstaff": FORMAT_VERSION}
    if chosen is not None:
        document["partial"] = True
    for kind, rows in rows_by_kind.items():
        if rows or chosen is None:
            document[SECTIONS[kind]] = _section(kind, rows, newest.get(kind))
    return document


def _versions(kinds: Iterable[Kind], keys: list[str] | None) -> dict[Kind, dict[str, int]]:
    """Returns the versions. Read before the rows: a change in between becomes a conflict."""
    require_history()
    return {
        kind: versions_of(kind, [row.pk for row in _rows(kind, keys).values()]) for kind in kinds
    }


def _rows(kind: Kind, keys: list[str] | None) -> _Rows:
    if keys is None:
        stored = list(all_rows(kind.model).exclude(key=None))
    else:
        stored = [row for key in keys if (row := kind.find(key)) is not None]
    rows = {row.key: row for row in sorted(stored, key=lambda row: str(row.key))}
    if len(rows) < len(stored):
        # Possible in a project's own table.
        [(key, _count)] = Counter(row.key for row in stored).most_common(1)
        raise FlagstaffError(
            "several {kinds} have the key {key}; delete all but one",
            kinds=SECTIONS[kind],
            key=repr(key),
        )
    return rows


def _unknown(key: str, kinds: Collection[Kind]) -> FlagstaffError:
    """Returns the first error that suggests a similar key, else the one for values."""
    errors = {kind: _error(kind, key) for kind in Kind if kind in kinds}
    suggesting = (error for error in errors.values() if suggests_key(error))
    return next(suggesting, errors[Kind.VALUE])


def _error(kind: Kind, key: str) -> FlagstaffError:
    try:
        kind.row(key)
    except (UnknownFlagError, UnknownValueError, UnknownSegmentError) as error:
        return error
    return FlagstaffError("{key} was created during the export; export again", key=repr(key))


def _section(kind: Kind, rows: _Rows, newest: dict[str, int] | None) -> _Section:
    fields = exported_fields(kind)
    section: _Section = {}
    for key, row in rows.items():
        version = {} if newest is None else {"version": newest.get(str(row.pk), 0)}
        _require_readable(kind, key, row)
        section[key] = version | {name: serialize(field, row) for name, field in fields.items()}
        for name in secret_fields(row) if kind is Kind.VALUE else ():
            # Without choices there is nothing to mask.
            if name == "value" or section[key].get(name):
                section[key][name] = MASK
        for name in {"rules", "conditions"} & fields.keys():
            section[key][name] = in_reading_order(section[key][name])
    if kind is Kind.FLAG:
        _add_users(section, rows)
    return section


def _require_readable(kind: Kind, key: str, row: Row) -> None:
    for field in exported_fields(kind).values():
        value = getattr(row, field.attname)
        if not isinstance(value, UnreadableJson) or is_secret(row):
            continue
        if field.name == "value":
            text = Text(
                "the value {key} cannot be exported: it {problem}; set it to another value, or "
                "delete it",
                key=repr(key),
                problem=value.problem,
            )
        else:
            template = _FIELD_NOT_EXPORTABLE[kind]
            text = Text(template, key=repr(key), field=field.name, problem=value.problem)
        raise FlagstaffError(text)


def _add_users(section: _Section, rows: _Rows) -> None:
    allowed = allowed_pks_of(rows.values())
    usernames = usernames_of({pk for pks in allowed.values() for pk in pks})
    for key, row in rows.items():
        section[key][ALLOWED] = user_entries(allowed[row.pk], usernames)
