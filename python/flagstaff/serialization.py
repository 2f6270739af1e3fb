"""Flags, values and segments as a JSON file: an export, an import, which is its changes, a diff."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from itertools import chain
from typing import Any, Final, TypeAlias, cast

from django.db.models import JSONField, Model

from flagstaff._core import is_storable
from flagstaff._tables.database import db
from flagstaff._tables.rows import (
    BUCKET_BY,
    CONDITIONS,
    RULES,
    AnyField,
    Fields,
    Kind,
    PrimaryKey,
    Row,
    all_rows,
    declaration,
    fields_to_set,
    key_is_taken,
    taken_keys,
    unknown_key,
)
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._text import MASK, Sentence, joined, most_similar, object_of_pairs, say, some
from flagstaff._text.rules import in_reading_order
from flagstaff.changes import Changed, Undo, combined_undo
from flagstaff.changes.fields import (
    ALLOWED,
    AllowedUsersChange,
    allowed_pks_of,
    cleaned,
    differing,
    in_order,
    rejections,
    written_together,
)
from flagstaff.changes.locking import block_of_change, conflict_error, require_versions
from flagstaff.changes.row_changes import delete_locked, insert_row, new_row, write_change
from flagstaff.changes.row_states import RowState, RuleUse, copied, previewed
from flagstaff.changes.rule_use import (
    Name,
    existing_names,
    missing_among,
    names_in,
    needs_alone,
    require_unused,
    rule_errors,
    uses_by_name,
)
from flagstaff.exceptions import (
    ConflictError,
    DocumentError,
    FlagstaffError,
    InvalidArgumentError,
    InvalidChangeError,
)
from flagstaff.history.describe import Names, SideLine, field_label, side_lines
from flagstaff.history.log import has_history, require_history, versions_of
from flagstaff.validators import SECRET, SECRET_FIELDS, VALUE, is_secret, secret_fields

__all__ = ["Compared", "Imported", "apply", "as_text", "diff", "export", "read"]

#: The maximum size of a file in bytes: some hundred thousand allowed users.
LARGEST: Final = 16 * 2**20
#: In the order of a file: segments first, because rules name them.
SECTIONS: Final = {Kind.SEGMENT: "segments", Kind.FLAG: "flags", Kind.VALUE: "values"}
#: The groups of fields that `only` names. Fields of your own models belong to the definition.
GROUPS: Final = ("definition", "targeting", "state")

# The number at the top of a file. Any addition to the format raises it.
_FORMAT = 1
_HEADER, _PARTIAL, _VERSION = "flagstaff", "partial", "version"
_ADVICE: Final = say("export again, or pass --ignore-versions to overwrite the changes")

_DEFINITION, _TARGETING, _STATE = GROUPS
# All others are the definition.
_GROUP_OF: Final = {
    RULES: _TARGETING,
    BUCKET_BY: _TARGETING,
    CONDITIONS: _TARGETING,
    "enabled": _STATE,
    "rollout_percent": _STATE,
    ALLOWED: _STATE,
    VALUE: _STATE,
}
# Without these, no row of the kind can be created.
_NEEDED: Final = {Kind.SEGMENT: _TARGETING, Kind.VALUE: _STATE}
# Fields without a default, which the model then refuses.
_REQUIRED: Final = {Kind.SEGMENT: {"conditions": None}, Kind.VALUE: {"value": None}}

_Place: TypeAlias = tuple[Kind, str]


# Export.


def export(
    keys: Iterable[str] | None = None, *, versions: bool = False, secrets: bool = False
) -> dict[str, Any]:
    """Returns all flags, values and segments, or those with these keys, as a dict for JSON.

    Sorted by key, with the fields in the order of the model. Secret values are masked, unless the
    document is for a `diff` and has the `secrets`. `versions` adds the version of each, which an
    import compares. Raises UnknownFlagError for a key that belongs to none of them, NoHistoryError
    if there are no versions, and FlagstaffError for rows that no import would accept.
    """
    chosen = None if keys is None else list(dict.fromkeys(keys))
    # Read before the rows: a change in between becomes a conflict.
    newest = dict[Kind, dict[str, int]]()
    if versions:
        require_history()
        newest = {kind: versions_of(kind, [row.pk for row in _rows(kind, chosen)]) for kind in Kind}
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
            section = _section(kind, of_kind, newest.get(kind), secrets=secrets)
            document[SECTIONS[kind]] = section
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
    for batch in db.batches(sorted(filter(is_storable, keys))):
        yield from rows.filter(key__in=batch)


def _section(
    kind: Kind, rows: Mapping[str, Row], newest: Mapping[str, int] | None, *, secrets: bool
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
        for name in secret_fields(row) if kind is Kind.VALUE and not secrets else ():
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
            [say("the file is larger than {limit} bytes; import it in parts", limit=LARGEST)]
        )
    try:
        document = json.loads(text, object_pairs_hook=object_of_pairs)
    except RecursionError:
        raise DocumentError([say("the file is nested too deeply")]) from None
    except ValueError as error:
        raise DocumentError([say("invalid JSON: {reason}", reason=str(error))]) from None
    number = document.get(_HEADER) if isinstance(document, dict) else None
    if type(number) is int and number == _FORMAT:
        return cast("dict[str, Any]", document)
    problem = say(
        "not an export of flagstaff: {header} is missing at the top level; for a file of another "
        'tool, see "Files of other tools" in the documentation',
        header=f'"{_HEADER}": {_FORMAT}',
    )
    if type(number) is int and number > _FORMAT:
        problem = say(
            "the file has format version {number}, but this flagstaff reads only version {known}",
            number=str(number),
            known=str(_FORMAT),
        )
    raise DocumentError([problem])


# What of a file counts.


@dataclass(frozen=True)
class _Selection:
    """The groups of fields, and the keys, that are imported or compared."""

    groups: frozenset[str]
    #: None for all.
    keys: frozenset[str] | None

    @property
    def is_whole(self) -> bool:
        """Whether all fields count."""
        return self.groups.issuperset(GROUPS)

    def has(self, field: str) -> bool:
        """Whether a field of a file counts."""
        return _GROUP_OF.get(field, _DEFINITION) in self.groups

    def creates(self, kind: Kind, key: str) -> bool:
        """Whether a row that is only in the file can be created from what counts."""
        needed = _NEEDED.get(kind)
        return needed in {None, *self.groups} or declaration(kind.model, key) is not None


def _selection(only: Collection[str] | None, keys: Iterable[str] | None) -> _Selection:
    """Returns what counts. Raises InvalidArgumentError for an unknown group."""
    groups = frozenset(GROUPS if only is None else only)
    if unknown := sorted(groups.difference(GROUPS)) or ([""] if not groups else []):
        raise InvalidArgumentError(
            "only: {name} is not a group of fields; the groups are {groups}",
            name=repr(unknown[0]),
            groups=joined(GROUPS),
        )
    return _Selection(groups, None if keys is None else frozenset(keys))


# Import.


@dataclass(frozen=True)
class Imported:
    """What an import has changed, or would change."""

    #: By kind and key, in the order of the plan: the fields of rows that exist are written last.
    #: Rows that are like the file are not here.
    changed: Mapping[tuple[Kind, str], Changed]
    #: How many flags, values and segments are already as in the file.
    unchanged: int
    #: The users of the file that were skipped, as text.
    skipped_users: tuple[str, ...]
    #: Values and segments that are only in the file, and need a group of fields that `only` lacks.
    left_out: tuple[tuple[Kind, str], ...]
    #: Segments and flags that are imported because rules of the selected keys name them.
    added: tuple[tuple[Kind, str], ...]
    #: Segments that these rules name, and that stay, although the file has other conditions.
    kept: tuple[tuple[Kind, str], ...]
    #: A hash of the keys and values that are written. It does not cover secret values.
    plan: str
    #: Undoes the whole import; None if nothing was written, or if a secret value was replaced.
    undo: Undo | None = None


def apply(  # noqa: PLR0913 (each is a question of its own)
    document: Mapping[str, Any],
    *,
    only: Collection[str] | None = None,
    keys: Iterable[str] | None = None,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    expect_plan: str | None = None,
    dry_run: bool = False,
) -> Imported:
    """Imports a document in one transaction: all of it or nothing. Writes only what differs.

    `only` names groups of fields: "definition" (texts, tags, types, your own fields), "targeting"
    (rules, units, conditions) and "state" (enabled, rollout, allowed users, the value). The other
    fields stay; without "state", a flag that is only in the document is created disabled, at 0 %,
    without users. `keys` selects rows. Segments and flags that their rules name, and that do not
    exist, are imported, too; the flags disabled.

    Rows that are not in the document stay; with `delete_missing` they are deleted, if the document
    has their section. A dry run only reads: it calls no receivers of Django's signals, and does not
    find what only the database would reject, such as by a constraint of the project.

    Compares without locks. Then locks the rows that differ, and writes them: a change of one of
    them, such as a kill, waits meanwhile. Blocks while other transactions lock these rows; a dry
    run, and an import without differences, never block.

    Raises DocumentError with all problems, InvalidArgumentError for an unknown group,
    InvalidChangeError for `delete_missing` with a partial document, `only` or `keys`, and
    ConflictError if a row to be changed has another version than the document, or has changed since
    it was compared, or if the plan is not `expect_plan`.
    """
    if delete_missing and document.get(_PARTIAL):
        raise InvalidChangeError(
            "the file was exported with some keys only; import it without --delete-missing"
        )
    selection = _selection(only, keys)
    if delete_missing and not (selection.is_whole and selection.keys is None):
        raise InvalidChangeError(
            "rows that are missing cannot be deleted by an import of some keys or fields; leave "
            "out --delete-missing"
        )
    run = _Import(
        document, selection, skip_unknown=skip_unknown_users, ignore_versions=ignore_versions
    )
    with previewed():
        planned = run.plan(delete_missing=delete_missing)
    if expect_plan not in {None, planned.plan}:
        raise ConflictError(
            say(
                "the plan is now {present}, not {expected}, because something has changed; "
                "review the new plan with --dry-run",
                present=planned.plan,
                expected=str(expect_plan),
            )
        )
    return planned if dry_run or not planned.changed else run.write(planned)


@dataclass(frozen=True)
class Compared:
    """What differs: the document is "there", the database is "here"."""

    #: By kind and key, as an import would write it: `old` is here, `new` is there. A row that is
    #: only here has no `new`.
    changed: Mapping[tuple[Kind, str], Changed]
    #: Why rows of the document cannot be compared, because no import would accept them.
    problems: Mapping[tuple[Kind, str], Sentence]
    #: Allowed users of the document that do not exist here, as text, by the key of the flag.
    unknown_users: Mapping[str, Sequence[str]]
    #: The fields of secret values that were not compared, by the key of the value.
    not_compared: Mapping[str, Sequence[str]]

    def lines(
        self, names: Names, *, limit: int | None = None
    ) -> Iterator[tuple[Kind, str, SideLine]]:
        """Yields what differs, a line for each field: flags, values, then segments, by key."""
        for kind in Kind:
            places = {*self.changed, *self.problems}
            for place in sorted((place for place in places if place[0] is kind), key=_key_in):
                if problem := self.problems.get(place):
                    text = say("cannot be imported: {problem}", problem=problem).local
                    yield (*place, SideLine("", text))
                else:
                    for line in side_lines(self.changed[place], names, limit=limit):
                        yield (*place, line)

    def notes(self) -> Iterator[Sentence]:
        """Yields what no import makes equal: users who do not exist, and secrets."""
        for key, users in sorted(self.unknown_users.items()):
            text = say("{key}: allowed users only there, no user here: {users}")
            yield say(text, key=key, users=some(users))
        for key, fields in sorted(self.not_compared.items()):
            labels = joined(map(field_label, fields))
            yield say("{key}: secret, so not compared: {fields}", key=key, fields=labels)


def diff(
    document: Mapping[str, Any],
    *,
    only: Collection[str] | None = None,
    keys: Iterable[str] | None = None,
    compare_secrets: bool = True,
) -> Compared:
    """Compares a document with the database. Only reads; the arguments are those of `apply`.

    Says what an import would write, and which rows are only in the database, unless the document
    has some keys only. Without `compare_secrets`, no field of a secret value is compared: equal or
    not would let a person guess it. Masked ones never are.

    Raises DocumentError if the document has another form or lacks one of the keys, and
    InvalidArgumentError for an unknown group.
    """
    run = _Import(
        document,
        _selection(only, keys),
        skip_unknown=True,
        ignore_versions=True,
        compare_secrets=compare_secrets,
    )
    with previewed():
        return run.compare(is_complete=not document.get(_PARTIAL))


@dataclass(frozen=True)
class _RowChange:
    """What an import does to a row, decided by the row as it was read."""

    kind: Kind
    #: None if there is none.
    row: Row | None
    users: AllowedUsersChange
    #: A row to insert; else the cleaned fields that differ.
    new: Row | None = None
    fields: Fields = dataclass_field(default_factory=dict)
    deletes: bool = False
    #: The version that the row must have; None for any.
    version: int | None = None

    @property
    def new_rules(self) -> object:
        """The rules, or the conditions of a segment, after the import; None if they stay."""
        name = CONDITIONS if self.kind is Kind.SEGMENT else RULES
        return [] if self.deletes else getattr(self.new, name, self.fields.get(name))

    def write(self) -> Changed:
        """Writes it; in a preview, returns what that would be. Raises InvalidChangeError."""
        if self.new is not None:
            return insert_row(self.kind, copied(self.new), self.users)
        row = copied(self.row)
        if self.deletes:
            return delete_locked(self.kind, row, self.users.present)
        return write_change(self.kind, row, self.fields, self.users)

    def is_as_read(self, locked: Row | None, users: Collection[PrimaryKey]) -> bool:
        """Whether the locked row is the one that was read, with its allowed users."""
        if self.row is None or locked is None or self.row.pk != locked.pk:
            return self.row is locked
        read = {
            field.name: getattr(self.row, field.attname) for field in _fields(self.kind).values()
        }
        return self.users.present == users and not differing(locked, read)


class _Import:
    """The items of a document, and the changes that make the rows like them."""

    def __init__(
        self,
        document: Mapping[str, Any],
        selection: _Selection,
        *,
        skip_unknown: bool,
        ignore_versions: bool,
        compare_secrets: bool = True,
    ) -> None:
        self._problems: list[str] = []
        self._conflicts: list[ConflictError] = []
        self._skip_unknown, self._ignore_versions = skip_unknown, ignore_versions
        self._sections = [kind for kind, name in SECTIONS.items() if name in document]
        self._fields = {kind: _fields(kind) for kind in self._sections}
        self._selection, self._compare_secrets = selection, compare_secrets
        # What is not selected, and what the selected rules name.
        self._named: dict[_Place, Mapping[str, Any]] = {}
        self._items = self._selected(dict(self._items_of(document)))
        # By key.
        self._skipped: dict[str, list[str]] = {}
        self._not_compared: dict[str, list[str]] = {}
        self._left_out: list[_Place] = []
        self._rows: dict[_Place, Row] = {}
        # By the primary key of the flag; then the users whom the lists of the file name.
        self._allowed: dict[PrimaryKey, set[PrimaryKey]] = {}
        self._by_username: dict[str, PrimaryKey] = {}
        self._existing: set[PrimaryKey] = set()
        self._changes: dict[_Place, _RowChange] = {}

    def plan(self, *, delete_missing: bool) -> Imported:
        """Decides what differs. Neither locks nor writes. Raises all problems together."""
        missing = self._read(self._sections) if delete_missing else []
        if not delete_missing:
            self._read(())
        self._require_in(map(_key_in, self._items))
        added, kept = self._place_named()
        # A deletion frees a key for the other kind; segments stay until no rule names them.
        steps: list[tuple[_Place, Mapping[str, Any] | None]] = [
            *((place, None) for place in missing if place[0] is not Kind.SEGMENT),
            *self._items.items(),
            *((place, None) for place in missing if place[0] is Kind.SEGMENT),
        ]
        for place, item in steps:
            with self._collected(place):
                if change := self._change_of(place, item):
                    self._changes[place] = change
        self._check()
        changed = {place: change.write() for place, change in self._changes.items()}
        return Imported(
            changed,
            len(steps) - len(changed) - len(self._left_out),
            tuple(sorted({*chain.from_iterable(self._skipped.values())})),
            tuple(self._left_out),
            tuple(added),
            tuple(kept),
            _plan_of(changed),
        )

    def compare(self, *, is_complete: bool) -> Compared:
        """Returns what differs, also what no import could write. Neither locks nor writes.

        Without selected keys, only a complete document says that it lacks a row.
        """
        is_selected = self._selection.keys is not None
        missing = self._read(self._sections if is_complete and not is_selected else ())
        self._require_in(map(_key_in, [*self._items, *missing]))
        self._raise_problems()
        changed, problems = dict[_Place, Changed](), dict[_Place, Sentence]()
        for place in [*self._items, *missing]:
            difference = self._difference(place)
            if isinstance(difference, Sentence):
                problems[place] = difference
            elif difference is not None:
                changed[place] = difference
        return Compared(changed, problems, self._skipped, self._not_compared)

    def _difference(self, place: _Place) -> Changed | Sentence | None:
        """Returns what differs, or why nothing can be imported. None if nothing differs."""
        item = self._items.get(place, self._named.get(place))
        try:
            change = self._change_of(place, item)
            return None if change is None else change.write()
        except InvalidChangeError as error:
            return error.message

    def _selected(self, items: dict[_Place, Mapping[str, Any]]) -> dict[_Place, Mapping[str, Any]]:
        """Returns the selected items, and keeps the segments that they name, and that are not."""
        keys = self._selection.keys
        self._keys = [*map(_key_in, items)]
        if keys is None:
            return items
        selected = {place: item for place, item in items.items() if place[1] in keys}
        named = [*selected.values()] if self._selection.has(RULES) else []
        for item in named:
            for place, _rule in names_in(item.get(RULES, item.get(CONDITIONS))):
                if place in items and place not in {*selected, *self._named}:
                    # What it names itself follows.
                    self._named[place] = items[place]
                    named.append(items[place])
        return selected

    def _read(self, everything: Collection[Kind]) -> list[_Place]:
        """Reads the rows of the items, and their users; of some kinds, all rows.

        Returns those that the document lacks.
        """
        selected = self._selection.keys or ()
        for kind in Kind:
            places = {*self._items, *self._named, *((kind, key) for key in selected)}
            keys = [key for of_kind, key in places if of_kind is kind]
            for row in _rows(kind, None if kind in everything else keys):
                self._rows[kind, row.key] = row
        self._read_users()
        return [place for place in self._rows if place not in {*self._items, *self._named}]

    def _require_in(self, known: Iterable[str]) -> None:
        """Notes the selected keys that are not known."""
        for key in sorted({*(self._selection.keys or ())}.difference(known)):
            similar = most_similar(key, self._keys)
            guess = "" if similar is None else say("; did you mean {name}?", name=repr(similar))
            self._problems.append(say("{key}: is not in the file{guess}", key=key, guess=guess))

    def _place_named(self) -> tuple[list[_Place], list[_Place]]:
        """Adds what rules name and does not exist to the items.

        Returns their places, and those of the segments that stay although they differ.
        """
        added = [place for place in self._named if place not in self._rows]
        segments = [place for place in self._named if place[0] is Kind.SEGMENT]
        kept = [place for place in segments if place not in added and self._difference(place)]
        # Written before what names them.
        self._items = {**{place: self._named[place] for place in reversed(added)}, **self._items}
        return added, kept

    def write(self, planned: Imported) -> Imported:
        """Writes what was planned. Raises ConflictError if a row has changed since it was read."""
        try:
            changed = self._write()
        except InvalidChangeError:
            # Again, in savepoints, to name every row that the database rejects.
            changed = self._write(savepoints=True)
        return replace(planned, changed=changed, undo=combined_undo(changed.values()))

    def _write(self, *, savepoints: bool = False) -> dict[_Place, Changed]:
        changed = dict[_Place, Changed]()
        with block_of_change():
            self._lock()
            with nullcontext() if savepoints else written_together():
                for place, change in self._changes.items():
                    with (
                        self._collected(place) if savepoints else nullcontext(),
                        db.atomic(savepoint=savepoints),
                    ):
                        changed[place] = change.write()
            self._raise_problems()
            # What a commit would check: a user may have been deleted meanwhile.
            with rejections(secret=True):
                db.connection.check_constraints()
            rows = {
                at: self._changes[at].row or cast("RowState", written.after).row
                for at, written in changed.items()
            }
            versions = _versions_of(rows) if has_history() else {}
            return {
                at: replace(written, version=versions.get(at)) for at, written in changed.items()
            }

    def _lock(self) -> None:
        """Locks the rows that differ, and compares them with those that were read.

        In the order of an undo, and of a change of a flag, which locks the segments of its rules.
        """
        to_lock, locked = {*self._changes}, dict[_Place, Row]()
        for change in self._changes.values():
            to_lock |= {
                name for name, _place in names_in(change.new_rules) if name[0] is Kind.SEGMENT
            }
        for kind in Kind:
            keys = [key for of_kind, key in to_lock if of_kind is kind]
            locked |= {(kind, row.key): row for row in _rows(kind, keys, lock=True)}
        # Again: what the changes need may be gone, and what they must not meet may be there.
        self._check()
        users = allowed_pks_of([row for (kind, _), row in locked.items() if kind is Kind.FLAG])
        for place, change in self._changes.items():
            row = locked.get(place)
            pk = row.pk if row and place[0] is Kind.FLAG else None
            if not change.is_as_read(row, users.get(pk, set())):
                text = say("{key} has changed while the import ran", key=place[1])
                self._conflicts.append(ConflictError(text, key=place[1]))
            self._changes[place] = replace(change, row=row)
        self._raise_problems(say("nothing was written; run it again"))

    def _check(self) -> None:
        """Raises all problems that the changes have with versions, keys, and what rules name."""
        changes = self._changes.items()
        rules = {place: change.new_rules for place, change in changes}
        new_rules = {place: new for place, new in rules.items() if new is not None}
        deleted = {place for place, change in changes if change.deletes}
        # Before what they need is read again.
        errors = rule_errors(new_rules)
        if any(kind is Kind.FLAG for kind, _key in deleted):
            needs_alone()
        # Not those that stay: they may be gone when the rows are locked.
        created = {place for place, change in changes if change.new}
        existing = created | existing_names(rules.values())
        uses = uses_by_name() if deleted else {}
        versions, owners = self._present_versions(), self._owners()
        for (kind, key), change in changes:
            with self._collected((kind, key)):
                present, expected = versions.get((kind, key)), change.version
                if change.row is not None and expected is not None and present != expected:
                    raise conflict_error(kind, key, change.row.pk, expected, present, "")
                if change.new is not None and (kind, key) in owners:
                    raise InvalidChangeError(key_is_taken(key, owners[kind, key]))
                if problem := missing_among(rules[kind, key], existing):
                    raise InvalidChangeError("{field}: {problem}", field=RULES, problem=problem)
                if (kind, key) in errors:
                    raise errors[kind, key]
                if change.deletes:
                    remaining_uses = [
                        use for use in uses[kind, key] if (use.kind, use.key) not in new_rules
                    ]
                    require_unused((kind, key), [*remaining_uses, *self._new_uses((kind, key))])
        self._raise_problems()

    def _new_uses(self, name: Name) -> Iterator[RuleUse]:
        """Yields the rows whose new rules name a segment or a flag."""
        for (kind, _key), change in self._changes.items():
            if name in dict(names_in(change.new_rules)):
                yield RuleUse(kind, change.row or change.new)

    def _present_versions(self) -> Mapping[_Place, int]:
        """Returns the versions of the rows whose version the file has. Raises NoHistoryError."""
        rows = {
            place: change.row
            for place, change in self._changes.items()
            if change.version is not None and change.row is not None
        }
        for kind in {kind for kind, _key in rows}:
            require_versions(kind)
        return _versions_of(rows)

    def _owners(self) -> dict[_Place, str]:
        """Returns what else has the keys of new flags and values, after the import."""
        freed = {place for place, change in self._changes.items() if change.deletes}
        new = [place for place, change in self._changes.items() if change.new is not None]
        owners = {(Kind.VALUE, key): Kind.FLAG.value for kind, key in new if kind is Kind.FLAG}
        for kind, other in ((Kind.FLAG, Kind.VALUE), (Kind.VALUE, Kind.FLAG)):
            keys = (key for of_kind, key in new if of_kind is kind and (other, key) not in freed)
            for batch in db.batches(keys):
                taken = taken_keys(kind.value, batch)
                owners |= {(kind, key): owner for key, owner in taken.items()}
        return owners

    @contextmanager
    def _collected(self, place: _Place) -> Iterator[None]:
        """Collects an error about a row."""
        try:
            yield
        except ConflictError as error:
            self._conflicts.append(error)
        except InvalidChangeError as error:
            self._problems.append(
                say("{place}: {problem}", place=_place(*place), problem=error.message)
            )

    def _raise_problems(self, advice: Sentence = _ADVICE) -> None:
        if self._problems:
            raise DocumentError(sorted(self._problems))
        if self._conflicts:
            text = joined((error.problem for error in self._conflicts), "\n")
            raise ConflictError(text, key=self._conflicts[0].key, advice=advice)

    def _change_of(self, place: _Place, item: Mapping[str, Any] | None) -> _RowChange | None:
        """Returns what makes a row like an item; None if it is. Without an item, deletes the row.

        Raises InvalidChangeError or ConflictError.
        """
        (kind, key), row = place, self._rows.get(place)
        # A value can have the primary key of a flag.
        pk = getattr(row, "pk", None) if kind is Kind.FLAG else None
        present = frozenset(self._allowed.get(pk, ()))
        if item is None:
            return _RowChange(kind, row, AllowedUsersChange(present=present), deletes=True)
        creates = place in self._named or self._selection.creates(kind, key)
        if row is None and not creates:
            self._left_out.append(place)
            return None
        version = None if self._ignore_versions else item.get(_VERSION)
        if type(version) is not int and version is not None:
            raise InvalidChangeError(
                "the version must be an integer, as `export --versions` writes it"
            )
        fields, declared = self._values(place, item, row), declaration(kind.model, key)
        if declared is not None:
            # The file may be of another release.
            fields = {name: new for name, new in fields.items() if name not in declared.owned}
        listed = cast("list[PrimaryKey]", fields.pop(ALLOWED, present))
        added = tuple(pk for pk in listed if pk not in present)
        users = AllowedUsersChange(added, in_order(present.difference(listed)), (), present)
        if row is not None:
            self._require_same_secrecy(place, item, row)
            fields = differing(row, cleaned(row, differing(row, fields)))
            change = _RowChange(kind, row, users, fields=fields, version=version)
            return change if fields or users else None
        if version is not None:
            raise ConflictError(
                say(
                    "{key} has version {version} in the file, but does not exist",
                    key=key,
                    version=str(version),
                ),
                key=key,
            )
        # A declared value has its default.
        is_required = kind is not Kind.VALUE or self._selection.has(VALUE)
        required = _REQUIRED.get(kind, {}) if is_required else {}
        new = new_row(kind, key, {**required, **fields})
        return _RowChange(kind, None, users, new)

    def _values(self, place: _Place, item: Mapping[str, Any], row: Row | None) -> dict[str, object]:
        """Returns the selected values of an item by the model's attributes, without masked ones."""
        (kind, key), fields, values = place, self._fields[place[0]], dict[str, object]()
        hidden = SECRET_FIELDS if kind is Kind.VALUE else ()
        is_hidden = not self._compare_secrets and (is_secret(row) or bool(item.get(SECRET)))
        for name, value in item.items():
            is_users = name == ALLOWED and kind is Kind.FLAG
            if not (is_users or name in fields or name == _VERSION):
                raise InvalidChangeError(
                    "a {kind} has no field {name}", kind=kind.value, name=repr(name)
                )
            if name == _VERSION or not self._takes(place, name, row):
                continue
            if is_users:
                values[ALLOWED] = self._user_pks(key, value)
            elif name not in hidden or not (is_hidden or value == MASK):
                values[fields[name].attname] = value
            elif row is None and value == MASK:
                raise InvalidChangeError(
                    "{field}: is masked, and there is no such value in the database; write "
                    "the real {field}",
                    field=name,
                )
            else:
                self._not_compared.setdefault(key, []).append(name)
        return values

    def _require_same_secrecy(self, place: _Place, item: Mapping[str, Any], row: Row) -> None:
        """Raises InvalidChangeError if a part of an item would make public what is secret here.

        Or the other way round: the history would store the new value.
        """
        is_part = not (place in self._named or self._selection.is_whole)
        # A text such as "False" is another one, too.
        if is_part and item.get(SECRET, is_secret(row)) is not is_secret(row):
            raise InvalidChangeError(
                "secret: is not the same in the file and here; import the whole value"
            )

    def _takes(self, place: _Place, name: str, row: Row | None) -> bool:
        """Whether a field of an item counts."""
        if place in self._named:
            # A flag that is named is created off.
            return place[0] is Kind.SEGMENT or _GROUP_OF.get(name) != _STATE
        return self._selection.has(name) or (name == SECRET and row is None)

    def _items_of(self, document: Mapping[str, Any]) -> Iterator[tuple[_Place, Mapping[str, Any]]]:
        for name in document.keys() - {_HEADER, _PARTIAL, *SECTIONS.values()}:
            self._problems.append(say("{name}: is not part of this format", name=name))
        for kind in self._sections:
            section = document[SECTIONS[kind]]
            if not isinstance(section, dict):
                self._problems.append(say("{place}: must be a mapping", place=SECTIONS[kind]))
                continue
            for key, item in sorted(section.items()):
                if isinstance(item, dict):
                    yield (kind, key), item
                else:
                    self._problems.append(
                        say("{place}: must be a mapping", place=_place(kind, key))
                    )

    def _read_users(self) -> None:
        """Reads the allowed users of the flags, and the users that the file lists."""
        flags = [row for (kind, _key), row in self._rows.items() if kind is Kind.FLAG]
        self._allowed = allowed_pks_of(flags)
        counts = self._selection.has(ALLOWED)
        lists = (item.get(ALLOWED) for item in self._items.values() if counts)
        entries = [*chain.from_iterable(entry for entry in lists if isinstance(entry, list))]
        table = allowed_user_table()
        names = {entry for entry in entries if isinstance(entry, str)}
        self._by_username, _shared = table.by_username(names)
        pks = {table.parse(key) for entry in entries if (key := _key_of_user(entry)) is not None}
        self._existing = table.existing(pks - {None})

    def _user_pks(self, flag: str, entries: object) -> list[PrimaryKey]:
        """Returns the users in the list of a flag, and notes those that are skipped.

        Raises InvalidChangeError if it is no such list, or if users are unknown.
        """
        table, listed = allowed_user_table(), entries if isinstance(entries, list) else [None]
        names = [entry for entry in listed if isinstance(entry, str) and entry]
        keys = [key for entry in listed if (key := _key_of_user(entry)) is not None]
        if len(names) + len(keys) < len(listed):
            raise InvalidChangeError(
                'allowed_users: must be a list of usernames, or of primary keys such as {"pk": 42}'
            )
        by_name, parsed = self._by_username, {key: table.parse(key) for key in keys}
        unknown = [repr(name) for name in names if name not in by_name]
        unknown += [repr(key) for key, pk in parsed.items() if pk not in self._existing]
        if unknown and not self._skip_unknown:
            raise InvalidChangeError(
                "allowed_users: not exactly one user is {users}; pass --skip-unknown to skip them",
                users=some(unknown),
            )
        if unknown:
            self._skipped[flag] = sorted(unknown)
        named = {by_name[name] for name in names if name in by_name}
        return sorted(named | self._existing.intersection(parsed.values()), key=str)


def _key_of_user(entry: object) -> int | str | None:
    """Returns the primary key in a list of users, in which a text by itself is a username."""
    if isinstance(entry, str):
        return None
    key = entry["pk"] if isinstance(entry, dict) and entry.keys() == {"pk"} else entry
    return key if isinstance(key, int | str) and not isinstance(key, bool) and key != "" else None


def _versions_of(rows: Mapping[_Place, Row]) -> dict[_Place, int]:
    """Returns the versions of rows. One query for each kind."""
    versions = dict[_Place, int]()
    for kind in {kind for kind, _key in rows}:
        pks = {place: str(row.pk) for place, row in rows.items() if place[0] is kind}
        newest = versions_of(kind, pks.values())
        versions |= {place: newest.get(pk, 0) for place, pk in pks.items()}
    return versions


def _plan_of(changed: Mapping[_Place, Changed]) -> str:
    """Returns a hash of what is written. It does not cover secret values."""
    written = [
        [kind.value, key, change.new is None, _shown(change), (change.old or {}).get(ALLOWED)]
        for (kind, key), change in changed.items()
    ]
    text = json.dumps(written, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _shown(change: Changed) -> object:
    """Returns the written values without secrets, which a hash could give away."""
    new = change.new if isinstance(change.new, dict) else {}
    return {name: None if change.hides(name) else value for name, value in new.items()}


def _key_in(place: _Place) -> str:
    return place[1]


def _place(kind: Kind, key: str) -> str:
    return f"{SECTIONS[kind]}.{key if key.isprintable() else ascii(key)}"
