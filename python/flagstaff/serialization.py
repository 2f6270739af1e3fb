"""Flags, values and segments as a JSON file: an export, and an import, which is its changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from django.db import connections, transaction
from django.db.models import JSONField, Model

from flagstaff._connection.vendor import is_postgresql
from flagstaff._stored_value_schema import SECRET_FIELDS, secret_fields
from flagstaff._tables.model_fields import AnyField, fields_to_set
from flagstaff._tables.rows import PrimaryKey, Row, all_rows, unknown_key
from flagstaff._tables.user_lookup import allowed_user_table, batches
from flagstaff._words.json_text import object_of_pairs
from flagstaff._words.rule_parts import in_reading_order
from flagstaff._words.text import MASK, Text, is_storable, joined, some
from flagstaff.changes import Changed, Undo, combined_undo
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks_of
from flagstaff.changes.preview import rolled_back
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.conf import conf
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    InvalidChangeError,
)
from flagstaff.history.kinds import Kind
from flagstaff.history.log import require_history, versions_of

__all__ = ["Imported", "apply", "as_text", "export", "read"]

#: The maximum size of a file in bytes: some hundred thousand allowed users.
LARGEST: Final = 16 * 2**20
#: In the order of a file: segments first, because rules name them.
SECTIONS: Final = {Kind.SEGMENT: "segments", Kind.FLAG: "flags", Kind.VALUE: "values"}

# The number at the top of a file. Any addition to the format raises it.
_FORMAT = 1
_HEADER, _PARTIAL, _VERSION = "flagstaff", "partial", "version"
# A dry run must not wait for long, because it holds the locks that it has.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '1s'"

# Fields without a default, which the model then refuses.
_REQUIRED: Final = {Kind.SEGMENT: {"conditions": None}, Kind.VALUE: {"value": None}}

_Place = tuple[Kind, str]


# Export.


def export(keys: Iterable[str] | None = None, *, versions: bool = False) -> dict[str, Any]:
    """Returns all flags, values and segments, or those with these keys, as a dict for JSON.

    Sorted by key, with the fields in the order of the model. Secret values are masked. `versions`
    adds the version of each, which an import compares. Raises UnknownFlagError for a key that
    belongs to none of them, NoHistoryError if there are no versions, and FlagstaffError for rows
    that no import would accept.
    """
    chosen = None if keys is None else list(dict.fromkeys(keys))
    # Read before the rows: a change in between becomes a conflict.
    newest = dict[Kind, dict[str, int]]()
    if versions:
        require_history()
        newest = {kind: versions_of(kind, [one.pk for one in _rows(kind, chosen)]) for kind in Kind}
    rows = {kind: {row.key: row for row in _rows(kind, chosen)} for kind in SECTIONS}
    for key in chosen or ():
        if not any(key in of_kind for of_kind in rows.values()):
            raise unknown_key(key)
    if shared := sorted(rows[Kind.FLAG].keys() & rows[Kind.VALUE].keys()):
        raise FlagstaffError(
            "a flag and a value have the key {key}, which no import accepts; rename or delete "
            "one of them, or export one of them by itself",
            key=repr(shared[0]),
        )
    document: dict[str, Any] = {_HEADER: _FORMAT}
    if chosen is not None:
        document[_PARTIAL] = True
    for kind, of_kind in rows.items():
        if of_kind or chosen is None:
            document[SECTIONS[kind]] = _section(kind, of_kind, newest.get(kind))
    return document


def as_text(document: Mapping[str, Any]) -> str:
    """Returns the text of an exported document."""
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _rows(kind: Kind, keys: Iterable[str] | None, *, lock: bool = False) -> Iterator[Row]:
    """Yields the rows of these keys, or all, by key: two imports lock in the same order."""
    rows = all_rows(kind.model).order_by("key")
    rows = rows.select_for_update() if lock else rows
    if keys is None:
        yield from rows
        return
    for batch in batches(sorted(filter(is_storable, keys))):
        yield from rows.filter(key__in=batch)


def _section(
    kind: Kind, rows: Mapping[str, Row], newest: Mapping[str, int] | None
) -> dict[str, dict[str, object]]:
    allowed = allowed_pks_of(rows.values()) if kind is Kind.FLAG else {}
    names = allowed_user_table().unique_usernames({pk for pks in allowed.values() for pk in pks})
    fields = _fields(kind)
    section: dict[str, dict[str, object]] = {}
    for key, row in rows.items():
        item: dict[str, object] = {}
        if newest is not None:
            item[_VERSION] = newest.get(str(row.pk), 0)
        for name, field in fields.items():
            item[name] = _serialized(kind, field, row)
        for name in secret_fields(row) if kind is Kind.VALUE else ():
            # Without choices there is nothing to mask.
            if name == "value" or item.get(name):
                item[name] = MASK
        if kind is Kind.FLAG:
            item[ALLOWED] = _user_entries(allowed[row.pk], names)
        section[key] = item
    return section


def _fields(kind: Kind) -> dict[str, AnyField]:
    """Returns the fields that a file contains beside the key, which names the item."""
    return {field.name: field for field in fields_to_set(kind.model) if field.name != "key"}


def _serialized(kind: Kind, field: AnyField, row: Row) -> object:
    """Returns a field as a JSON value; if JSON has no such type, as the text of a fixture."""
    value = getattr(row, field.attname)
    if isinstance(field, JSONField):
        plain = json.loads(json.dumps(value, cls=field.encoder))
        return in_reading_order(plain) if field.name in {"rules", "conditions"} else plain
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value) if isinstance(value, str) else field.value_to_string(cast("Model", row))


def _user_entries(pks: Iterable[PrimaryKey], names: Mapping[PrimaryKey, str]) -> list[object]:
    """Returns users as a file lists them: by username, or by primary key if it is not unique."""
    pks = list(pks)
    unnamed = sorted((pk for pk in pks if pk not in names), key=str)
    entries = [{"pk": pk if isinstance(pk, int) else str(pk)} for pk in unnamed]
    return [*sorted(names[pk] for pk in pks if pk in names), *entries]


# Reading a file.


def read(text: str) -> dict[str, Any]:
    """Returns the document of a JSON text, for `apply`. Queries nothing.

    Raises DocumentError if the text is no export. `apply` reports problems of its rows.
    """
    if len(text.encode(errors="replace")) > LARGEST:
        raise DocumentError(
            [Text("the file is larger than {limit} bytes; import it in parts", limit=LARGEST)]
        )
    try:
        document = json.loads(text, object_pairs_hook=object_of_pairs)
    except RecursionError:
        raise DocumentError([Text("the file is nested too deeply")]) from None
    except ValueError as error:
        raise DocumentError([Text("invalid JSON: {reason}", reason=str(error))]) from None
    number = document.get(_HEADER) if isinstance(document, dict) else None
    if type(number) is int and number == _FORMAT:
        return cast("dict[str, Any]", document)
    problem = Text(
        "not an export of flagstaff: {header} is missing at the top level; for a file of another "
        'tool, see "Files of other tools" in the documentation',
        header=f'"{_HEADER}": {_FORMAT}',
    )
    if type(number) is int and number > _FORMAT:
        problem = Text(
            "the file has format version {number}, but this flagstaff reads only version {known}",
            number=str(number),
            known=str(_FORMAT),
        )
    raise DocumentError([problem])


# Import.


@dataclass(frozen=True)
class Imported:
    """What an import has changed, or would change."""

    #: By kind and key, in the order of the writes. Rows that are like the file are not here.
    changed: Mapping[tuple[Kind, str], Changed]
    #: How many flags, values and segments are already as in the file.
    unchanged: int
    #: The users of the file that were skipped, as text.
    skipped_users: tuple[str, ...]
    #: Undoes the whole import; None if nothing was written, or if a secret value was replaced.
    undo: Undo | None

    @property
    def plan(self) -> str:
        """A hash of the keys and values that are written. It does not cover secret values."""
        written = [
            [kind.value, key, change.new is None, _shown(change), (change.old or {}).get(ALLOWED)]
            for (kind, key), change in self.changed.items()
        ]
        text = json.dumps(written, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def apply(  # noqa: PLR0913 (each is a question of its own)
    document: Mapping[str, Any],
    *,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    expect_plan: str | None = None,
    dry_run: bool = False,
) -> Imported:
    """Imports a document in one transaction: all of it or nothing. Writes only what differs.

    Rows that are not in the document stay; with `delete_missing` they are deleted, if the document
    has their section. A dry run writes, and rolls back: receivers of Django's signals are called.

    Blocks while other transactions lock the rows; a dry run for at most a second. Raises
    DocumentError with all problems, ConflictError if a row to be changed has another version than
    the document, or if the plan is not `expect_plan`, and InvalidChangeError for `delete_missing`
    with a partial document.
    """
    if delete_missing and document.get(_PARTIAL):
        raise InvalidChangeError(
            "the file was exported with some keys only; import it without --delete-missing"
        )
    connection = connections[conf.database]
    with rolled_back() if dry_run else transaction.atomic(using=connection.alias):
        if dry_run and is_postgresql(connection):
            with connection.cursor() as cursor:
                cursor.execute(_LOCK_TIMEOUT)
        run = _Import(document, skip_unknown=skip_unknown_users, ignore_versions=ignore_versions)
        imported = run.write_all(delete_missing=delete_missing)
        if expect_plan not in {None, imported.plan}:
            raise ConflictError(
                Text(
                    "the plan is now {present}, not {expected}, because something has changed; "
                    "review the new plan with --dry-run",
                    present=imported.plan,
                    expected=str(expect_plan),
                )
            )
        if dry_run:
            # What a commit would check.
            connection.check_constraints()
    return replace(imported, undo=None) if dry_run else imported


class _Import:
    """The items of a document beside their locked rows."""

    def __init__(
        self, document: Mapping[str, Any], *, skip_unknown: bool, ignore_versions: bool
    ) -> None:
        self._problems: list[str] = []
        self._conflicts: list[ConflictError] = []
        self._skip_unknown, self._ignore_versions = skip_unknown, ignore_versions
        self._sections = [kind for kind, name in SECTIONS.items() if name in document]
        self._fields = {kind: _fields(kind) for kind in self._sections}
        self._items = dict(self._items_of(document))
        self._skipped: set[str] = set()
        self._rows: dict[_Place, Row] = {}
        self._changed: dict[_Place, Changed] = {}

    def write_all(self, *, delete_missing: bool) -> Imported:
        """Writes the items, and deletes rows that are missing. Raises all problems together."""
        deleted = set(self._sections) if delete_missing else set()
        # In the order of `Kind`, because a change of a flag locks it before its segments.
        for kind in Kind:
            keys = [key for of_kind, key in self._items if of_kind is kind]
            for row in _rows(kind, None if kind in deleted else keys, lock=True):
                self._rows[kind, row.key] = row
        # Of the other kinds, only rows of the file were read.
        missing = [place for place in self._rows if place not in self._items]
        # A deletion frees a key for the other kind; segments stay until no rule names them.
        steps: list[tuple[_Place, Mapping[str, Any] | None]] = [
            *((place, None) for place in missing if place[0] is not Kind.SEGMENT),
            *self._items.items(),
            *((place, None) for place in missing if place[0] is Kind.SEGMENT),
        ]
        for (kind, key), item in steps:
            self._try(kind, key, item)
        if self._problems:
            raise DocumentError(sorted(self._problems))
        if self._conflicts:
            text = joined((error.problem for error in self._conflicts), "\n")
            raise ConflictError(
                text,
                key=self._conflicts[0].key,
                advice=Text("export again, or pass --ignore-versions to overwrite the changes"),
            )
        unchanged = len(self._items) + len(missing) - len(self._changed)
        undo = combined_undo(self._changed.values())
        return Imported(self._changed, unchanged, tuple(sorted(self._skipped)), undo)

    def _try(self, kind: Kind, key: str, item: Mapping[str, Any] | None) -> None:
        """Makes one change, in a savepoint of its own, and collects its error. None deletes."""
        try:
            change = delete_row(kind, key) if item is None else self._write(kind, key, item)
        except ConflictError as error:
            self._conflicts.append(error)
        except InvalidChangeError as error:
            self._problems.append(
                Text("{place}: {problem}", place=_place(kind, key), problem=error.message)
            )
        else:
            if change.written:
                self._changed[kind, key] = change

    def _write(self, kind: Kind, key: str, item: Mapping[str, Any]) -> Changed:
        row = self._rows.get((kind, key))
        version = None if self._ignore_versions else item.get(_VERSION)
        if type(version) is not int and version is not None:
            raise InvalidChangeError(
                "the version must be an integer, as `export --versions` writes it"
            )
        fields = self._values(kind, item, row)
        if row is not None:
            return update_row(kind, key, fields, expect_version=version)
        if version is not None:
            raise ConflictError(
                Text(
                    "{key} has version {version} in the file, but does not exist",
                    key=key,
                    version=str(version),
                ),
                key=key,
            )
        return create_row(kind, key, {**_REQUIRED.get(kind, {}), **fields})

    def _values(self, kind: Kind, item: Mapping[str, Any], row: Row | None) -> dict[str, object]:
        """Returns the values of an item by the model's attributes, without masked ones."""
        fields, values = self._fields[kind], dict[str, object]()
        for name, value in item.items():
            if name == ALLOWED and kind is Kind.FLAG:
                values[ALLOWED] = self._user_pks(value)
            elif name in SECRET_FIELDS and kind is Kind.VALUE and value == MASK:
                if row is None:
                    raise InvalidChangeError(
                        "{field}: is masked, and there is no such value in the database; write "
                        "the real {field}",
                        field=name,
                    )
            elif name in fields:
                values[fields[name].attname] = value
            elif name != _VERSION:
                raise InvalidChangeError(
                    "a {kind} has no field {name}", kind=kind.value, name=repr(name)
                )
        return values

    def _items_of(self, document: Mapping[str, Any]) -> Iterator[tuple[_Place, Mapping[str, Any]]]:
        for name in document.keys() - {_HEADER, _PARTIAL, *SECTIONS.values()}:
            self._problems.append(Text("{name}: is not part of this format", name=name))
        for kind in self._sections:
            section = document[SECTIONS[kind]]
            if not isinstance(section, dict):
                self._problems.append(Text("{place}: must be a mapping", place=SECTIONS[kind]))
                continue
            for key, item in sorted(section.items()):
                if isinstance(item, dict):
                    yield (kind, key), item
                else:
                    self._problems.append(
                        Text("{place}: must be a mapping", place=_place(kind, key))
                    )

    def _user_pks(self, entries: object) -> list[PrimaryKey]:
        """Returns the users of a list in a file, and notes those that are skipped.

        Raises InvalidChangeError if it is no such list, or if users are unknown.
        """
        table, listed = allowed_user_table(), entries if isinstance(entries, list) else [None]
        names = [one for one in listed if isinstance(one, str) and one]
        keys = [key for one in listed if (key := _key_of_user(one)) is not None]
        if len(names) + len(keys) < len(listed):
            raise InvalidChangeError(
                'allowed_users: must be a list of usernames, or of primary keys such as {"pk": 42}'
            )
        by_name, _shared = table.by_username(names)
        parsed = {key: table.parse(key) for key in keys}
        existing = table.existing(pk for pk in parsed.values() if pk is not None)
        unknown = [repr(name) for name in names if name not in by_name]
        unknown += [repr(key) for key, pk in parsed.items() if pk not in existing]
        if unknown and not self._skip_unknown:
            raise InvalidChangeError(
                "allowed_users: not exactly one user is {users}; pass --skip-unknown to skip them",
                users=some(unknown),
            )
        self._skipped.update(unknown)
        return sorted({*by_name.values(), *existing}, key=str)


def _key_of_user(entry: object) -> int | str | None:
    """Returns the primary key in a list of users, in which a text by itself is a username."""
    if isinstance(entry, str):
        return None
    key = entry["pk"] if isinstance(entry, dict) and entry.keys() == {"pk"} else entry
    return key if isinstance(key, int | str) and not isinstance(key, bool) and key != "" else None


def _shown(change: Changed) -> object:
    """Returns the written values without secrets, which a hash could give away."""
    new = change.new if isinstance(change.new, dict) else {}
    return {name: None if change.hides(name) else value for name, value in new.items()}


def _place(kind: Kind, key: str) -> str:
    return f"{SECTIONS[kind]}.{key if key.isprintable() else ascii(key)}"
