"""Compares a document with the database, and checks what needs the database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from django.utils.translation import override

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.optional_fields import RULES, flag_model, value_rule_fields
from flagstaff._tables.rows import Fields, PrimaryKey, Row, all_rows
from flagstaff._tables.user_lookup import batches
from flagstaff._words.rule_parts import named_segments
from flagstaff._words.text import Text, joined, marked, some
from flagstaff.changes.allowed_users import ALLOWED, allowed_pks_of
from flagstaff.changes.fields import differing
from flagstaff.changes.locking import raise_errors, require_version
from flagstaff.changes.segment_use import other_rules_by_segment, rules_of_rows
from flagstaff.conf import conf
from flagstaff.exceptions import ConflictError, DocumentError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.history.events import Difference, Users, difference
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import SECTIONS, Document, Item, UserRef
from flagstaff.serialization.existing_kinds import existing_kinds
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.problems import Problems
from flagstaff.serialization.user_references import find_users, usernames_of
from flagstaff.serialization.validation import check_changed, check_new, parsed_fields

_UNKNOWN_USERS = marked("no user has {names}; pass --skip-unknown to skip them")
_SHARED_USERS = marked("several users have {names}; pass --skip-unknown to skip them")

_NO_USERS = Users()


@dataclass(frozen=True)
class Step:
    """What an import does to one flag, value or segment, in the shape of a history event."""

    kind: Literal["flag", "value", "segment"]
    key: str
    action: Literal["create", "change", "delete"]
    #: The changed fields, without secret values.
    differences: tuple[Difference, ...] = ()
    added: Users = _NO_USERS
    removed: Users = _NO_USERS
    #: The values to write, by the attributes of the model.
    fields: Fields = field(default_factory=dict, repr=False)
    #: All allowed users; None leaves them unchanged.
    users: tuple[PrimaryKey, ...] | None = field(default=None, repr=False)

    def as_dict(
        self, usernames: Mapping[str, str] | None = None, *, limit: int | None = None
    ) -> dict[str, Any]:
        """Returns the step as a dict for JSON, without secret values.

        `limit` is the length of each value in the summary; None shows whole values.
        """
        return {
            "kind": self.kind,
            "key": self.key,
            "action": self.action,
            "differences": [asdict(changed_field) for changed_field in self.differences],
            "added": list(self.added.pks),
            "removed": list(self.removed.pks),
            "summary": describe_change(self, usernames, limit=limit),
        }


@dataclass(frozen=True)
class Plan:
    """What an import would change."""

    #: Segments, flags, values, by key.
    steps: tuple[Step, ...]
    #: How many flags, values and segments are already as in the file.
    unchanged: int
    #: The users of the file who do not exist, as text.
    skipped_users: tuple[str, ...] = ()
    #: The usernames of the added and removed users, by their primary keys as text.
    usernames: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """A hash that identifies the plan. It does not cover secret values."""
        # Untranslated: the summaries are in the active language.
        with override(None):
            steps = [step.as_dict() for step in self.steps]
        text = json.dumps(steps, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def diff(
    document: Document,
    *,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    lock: bool = False,
) -> Plan:
    """Returns what importing a document would change. Queries, but writes nothing.

    Rows that are not in the document stay; with `delete_missing` they are deleted, if the document
    has their section. `lock` locks the rows until the transaction ends. Raises DocumentError with
    all problems, ConflictError if a row to be changed has another version than the document, and
    InvalidChangeError for `delete_missing` with a partial document.
    """
    if delete_missing and document.partial:
        raise InvalidChangeError(
            "the file was exported with some keys only; import it without --delete-missing"
        )
    comparison = _Comparison(document, delete_missing=delete_missing, lock=lock)
    if not skip_unknown_users:
        comparison.report_unknown_users()
    steps = [*comparison.steps_of_items(), *comparison.deletions()]
    comparison.check_segments(steps)
    if document.problems.found:
        raise DocumentError(document.problems.in_order())
    if not ignore_versions:
        _check_versions(comparison.versioned(steps))
    order = [kind.value for kind in SECTIONS]
    steps.sort(key=lambda step: (order.index(step.kind), step.key))
    changed_users = {pk for step in steps for pk in (*step.added.pks, *step.removed.pks)}
    usernames = {str(pk): name for pk, name in usernames_of(changed_users).items()}
    unchanged = len(comparison.items) - sum(step.action != "delete" for step in steps)
    return Plan(tuple(steps), unchanged, tuple(comparison.unknown_users()), usernames)


class _Comparison:
    """The items of a document beside their rows and users, which are read once."""

    def __init__(self, document: Document, *, delete_missing: bool, lock: bool) -> None:
        self._problems = document.problems
        self._deleted_kinds = document.kinds if delete_missing else frozenset()
        self.items = {(item.kind, item.key): item for item in document.items}
        self._rows = self._load_rows(lock=lock)
        flags = [row for (kind, _), row in self._rows.items() if kind is Kind.FLAG]
        self._allowed = allowed_pks_of(flags)
        self._users = find_users(ref for item in document.items for ref in item.users or ())

    def _load_rows(self, *, lock: bool) -> dict[tuple[Kind, str], Row]:
        by_kind_and_key: dict[tuple[Kind, str], Row] = {}
        kinds, named = existing_kinds(), set[str]().union(*map(_segments_of, self.items.values()))
        if Kind.SEGMENT not in kinds and any(kind is Kind.SEGMENT for kind, _ in self.items):
            self._problems.add(
                (SECTIONS[Kind.SEGMENT],),
                Text(
                    'this database has no table of segments; run "manage.py migrate", or remove '
                    "the section"
                ),
            )
        # In the order of `Kind`, because changes of a flag lock it before its segments.
        for kind in (kind for kind in Kind if kind in kinds):
            keys = {key for item_kind, key in self.items if item_kind is kind}
            keys |= named if kind is Kind.SEGMENT else set()
            keys_to_read = None if kind in self._deleted_kinds else sorted(keys)
            for row in read_rows(kind, keys_to_read, lock=lock):
                if by_kind_and_key.setdefault((kind, row.key), row) is not row:
                    text = Text(
                        "several {kinds} have the key {key}; delete all but one",
                        kinds=SECTIONS[kind],
                        key=repr(row.key),
                    )
                    raise FlagstaffError(text)
        return by_kind_and_key

    def report_unknown_users(self) -> None:
        shared = self._users.shared
        for item in self.items.values():
            unknown = [ref for ref in item.users or () if ref not in self._users.pks]
            self._report(item, _UNKNOWN_USERS, [ref for ref in unknown if ref not in shared])
            self._report(item, _SHARED_USERS, [ref for ref in unknown if ref in shared])

    def unknown_users(self) -> list[str]:
        refs = {ref for item in self.items.values() for ref in item.users or ()}
        return sorted(str(ref) for ref in refs if ref not in self._users.pks)

    def steps_of_items(self) -> Iterator[Step]:
        for item in self.items.values():
            row = self._rows.get((item.kind, item.key))
            fields = parsed_fields(item, row, self._problems)
            users = self._user_pks(item)
            if row is None:
                check_new(item, fields, self._problems)
                yield _creation(item, fields, users)
            elif step := self._change(item, row, fields, users):
                yield step

    def deletions(self) -> Iterator[Step]:
        for (kind, key), row in self._rows.items():
            if kind in self._deleted_kinds and (kind, key) not in self.items:
                sides = (
                    (name, serialize(model_field, row), None)
                    for name, model_field in exported_fields(kind).items()
                )
                differences = _differences(sides, secret=is_secret(row))
                removed = _as_users(self._allowed.get(row.pk, ()) if kind is Kind.FLAG else ())
                yield Step(kind.value, key, "delete", differences, removed=removed)

    def check_segments(self, steps: Iterable[Step]) -> None:
        """Reports rules of the file that name no segment, and deleted segments that rules name."""
        steps = list(steps)
        deleted = {step.key for step in steps if (step.kind, step.action) == ("segment", "delete")}
        existing = {key for kind, key in (*self._rows, *self.items) if kind is Kind.SEGMENT}
        for step in steps:
            if item := self.items.get((Kind(step.kind), step.key)):
                _check_named(item, step.fields, existing, deleted, self._problems)
        written = {
            (Kind(step.kind), step.key)
            for step in steps
            if step.action == "delete" or RULES in step.fields
        }
        _check_unused(deleted, written, self._problems)

    def versioned(self, steps: Iterable[Step]) -> list[tuple[Item, Row | None]]:
        """Returns the items of these steps that have a version, each with its row."""
        places = [(Kind(step.kind), step.key) for step in steps]
        pairs = [
            (self.items[place], self._rows.get(place)) for place in places if place in self.items
        ]
        return [(item, row) for item, row in pairs if item.version is not None]

    def _change(
        self, item: Item, row: Row, fields: Fields, users: tuple[PrimaryKey, ...] | None
    ) -> Step | None:
        fields = differing(row, fields)
        check_changed(item, row, fields, self._problems)
        present = self._allowed.get(row.pk, set()) if item.kind is Kind.FLAG else set()
        new_users = present if users is None else set(users)
        if not fields and new_users == present:
            return None
        sides = (
            (name, serialize(model_field, row), item.fields[name])
            for name, model_field in exported_fields(item.kind).items()
            if model_field.attname in fields
        )
        secret = is_secret(row) or item.fields.get("secret") is True
        return Step(
            item.kind.value,
            item.key,
            "change",
            _differences(sides, secret=secret and item.kind is Kind.VALUE),
            added=_as_users(new_users - present),
            removed=_as_users(present - new_users),
            fields=fields,
            users=users if new_users != present else None,
        )

    def _user_pks(self, item: Item) -> tuple[PrimaryKey, ...] | None:
        if item.users is None:
            return None
        pks = {self._users.pks[ref] for ref in item.users if ref in self._users.pks}
        return tuple(sorted(pks, key=str))

    def _report(self, item: Item, template: str, refs: list[UserRef]) -> None:
        if refs:
            self._problems.add((*item.path, ALLOWED), Text(template, names=names_of_users(refs)))


def names_of_users(refs: Iterable[UserRef]) -> Text:
    """Returns users of a file as a value of a message."""
    by_name = [str(ref) for ref in refs if ref.name]
    by_pk = [str(ref) for ref in refs if not ref.name]
    names, keys = (
        Text("the username {names}", names=joined(by_name)),
        Text("the primary key {keys}", keys=joined(by_pk)),
    )
    if by_name and by_pk:
        return Text("{names} or {keys}", names=names, keys=keys)
    return names if by_name else keys


def read_rows(kind: Kind, keys: list[str] | None, *, lock: bool) -> Iterator[Row]:
    """Yields the rows of these keys, or all, by key: two imports lock in the same order."""
    rows = all_rows(kind.model).exclude(key=None).order_by("key")
    rows = rows.select_for_update() if lock else rows
    if keys is None:
        yield from rows
        return
    for batch in batches(keys):
        yield from rows.filter(key__in=batch)


def _creation(item: Item, fields: Fields, users: tuple[PrimaryKey, ...] | None) -> Step:
    sides = (
        (name, None, item.fields[name])
        for name in exported_fields(item.kind)
        if name in item.fields
    )
    secret = item.kind is Kind.VALUE and item.fields.get("secret") is True
    differences, added = _differences(sides, secret=secret), _as_users(users or ())
    return Step(item.kind.value, item.key, "create", differences, added, fields=fields, users=users)


def _differences(
    sides: Iterable[tuple[str, object, object]], *, secret: bool
) -> tuple[Difference, ...]:
    return tuple(difference(name, old, new, secret=secret) for name, old, new in sides)


def _as_users(pks: Collection[PrimaryKey]) -> Users:
    return Users(len(pks), tuple(sorted(pks, key=str)))


# Refuses to overwrite changes that are newer than the file.


def _check_versions(pairs: Iterable[tuple[Item, Row | None]]) -> None:
    """Raises one ConflictError for all rows whose version differs from the file's. Queries."""
    raise_errors(error for item, row in pairs if (error := _conflict(item, row)))


def _conflict(item: Item, row: Row | None) -> ConflictError | None:
    if row is None:
        message = Text(
            "{key} has version {version} in the file, but does not exist; pass --ignore-versions "
            "to create it",
            key=item.key,
            version=str(item.version),
        )
        return ConflictError(message, key=item.key, expected=item.version)
    try:
        require_version(
            item.kind,
            item.key,
            row.pk,
            item.version,
            Text("export again, or pass --ignore-versions to overwrite the changes"),
        )
    except ConflictError as error:
        return error
    return None


# The segments that the rules of a file name, and the rules that name deleted segments.


def _segments_of(item: Item) -> set[str]:
    """Returns the keys of the segments that the rules of an item of the file name."""
    return {key for key, _place in _named(item.kind, item.fields)}


def _check_named(
    item: Item,
    fields: Fields,
    existing: Collection[str],
    deleted: Collection[str],
    problems: Problems,
) -> None:
    """Adds a problem for each segment that the fields to write name and that will not exist."""
    path = (*item.path, RULES)
    if problems.exists_at(path):
        return
    places: dict[str, Text] = {}
    for key, place in _named(item.kind, fields):
        places.setdefault(key, place)
    for key, place in places.items():
        if key in deleted:
            problems.add(
                path,
                Text(
                    "{place} names the segment {key}, which --delete-missing would delete, "
                    "because the file does not have it; add it to the section `segments`",
                    place=place,
                    key=repr(key),
                ),
            )
        elif key in existing:
            continue
        else:
            problems.add(
                path,
                Text(
                    "{place} names the segment {key}, which is neither in the file nor in the "
                    "database; add it to the section `segments`",
                    place=place,
                    key=repr(key),
                ),
            )


def _check_unused(
    deleted: Collection[str], written: Collection[tuple[Kind, str]], problems: Problems
) -> None:
    """Adds a problem for each segment to delete that rules of the database name.

    `written` are the flags and values that the import deletes, or whose rules it writes.
    """
    if not deleted:
        return
    named: dict[str, list[str]] = {key: [] for key in sorted(deleted)}
    for flag, _pk, rules in rules_of_rows(Kind.FLAG):
        for key in {key for key, _place in named_segments(rules)} & named.keys():
            if (Kind.FLAG, flag) not in written:
                named[key].append(repr(flag))
    for key, owners in other_rules_by_segment().items():
        if key in named:
            named[key] += (
                f"{owner.model._meta.verbose_name} {owner.key!r}"
                for owner in owners
                if owner.model is not conf.value_model or (Kind.VALUE, owner.key) not in written
            )
    for key, users in named.items():
        if users:
            text = Text(
                "the file does not have {key}, so --delete-missing would delete it, but the rules "
                "of {users} name it; add it, or change these rules",
                key=repr(key),
                users=some(users),
            )
            problems.add((SECTIONS[Kind.SEGMENT],), text)


def _named(kind: Kind, fields: Fields) -> Iterator[tuple[str, Text]]:
    models = {
        Kind.FLAG: lambda: flag_model().fields,
        Kind.VALUE: lambda: value_rule_fields(conf.value_model),
    }
    if kind in models and RULES in models[kind]():
        yield from named_segments(fields.get(RULES))
