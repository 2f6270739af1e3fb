"""A document and the database → what would change. Checks what only the database can tell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from django.db.models import QuerySet

from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import all_rows
from flagstaff._tables.users import batches
from flagstaff.changes.allowed_users import ALLOWED
from flagstaff.changes.fields import differing
from flagstaff.exceptions import DocumentError, FlagstaffError, InvalidChangeError
from flagstaff.history.describe import describe_change
from flagstaff.history.events import Difference, Users
from flagstaff.history.kinds import Kind
from flagstaff.serialization.conflicts import refuse_newer
from flagstaff.serialization.document import SECTIONS, Document, Entry, UserRef
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.users import Known, allow_lists, known, names
from flagstaff.serialization.validation import check_new, check_present, wanted_fields

__all__ = ["Plan", "Step", "diff"]


_NOBODY = Users()


@dataclass(frozen=True)
class Step:
    """What is to become of one flag or value, as an event of the history says it."""

    kind: Literal["flag", "value"]
    key: str
    action: Literal["create", "change", "delete"]
    #: The fields; a secret value is in none of them.
    differences: tuple[Difference, ...] = ()
    added: Users = _NOBODY
    removed: Users = _NOBODY
    #: What is to be written, by the attributes of the model.
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: The whole allow-list; None leaves it as it is.
    users: tuple[Any, ...] | None = field(default=None, repr=False)

    def as_dict(self, names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The same as JSON can hold it, without what is secret."""
        told = {name: getattr(self, name) for name in ("kind", "key", "action")}
        differences = [asdict(one) for one in self.differences]
        users = {"added": list(self.added.pks), "removed": list(self.removed.pks)}
        return {
            **told,
            "differences": differences,
            **users,
            "summary": describe_change(self, names),
        }


@dataclass(frozen=True)
class Plan:
    """What an import changes."""

    #: Flags, then values, by key.
    steps: tuple[Step, ...]
    #: How many are so already.
    same: int
    #: Users of the file who are not here, in words.
    left_out: tuple[str, ...] = ()
    #: The names of the users that come and go, by the text of their primary keys.
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Stands for this difference, and for no other; of secret values it knows nothing."""
        told = json.dumps([step.as_dict() for step in self.steps], sort_keys=True, default=str)
        return hashlib.sha256(told.encode()).hexdigest()[:12]


def diff(
    document: Document,
    *,
    delete_missing: bool = False,
    skip_unknown_users: bool = False,
    ignore_versions: bool = False,
    lock: bool = False,
) -> Plan:
    """What would change if a document were taken in. Writes nothing.

    What is not in the document is left alone; with `delete_missing` it goes, within the sections
    that the document has. Raises DocumentError with all that is wrong, ConflictError where what
    would change has another version than the document says, and InvalidChangeError where a
    document of some keys alone is to delete the others. `lock` keeps the rows until the transaction
    ends.
    """
    if delete_missing and document.partial:
        raise InvalidChangeError(
            "the file was exported with some keys alone, so that what it lacks is not to be deleted"
        )
    look = _Look(document, delete_missing=delete_missing, lock=lock)
    if not skip_unknown_users:
        look.tell_unknown_users()
    steps = [*look.of_entries(), *look.of_the_missing()]
    if document.problems.found:
        raise DocumentError(document.problems.in_order())
    if not ignore_versions:
        refuse_newer(look.versions_of([(Kind(step.kind), step.key) for step in steps]))
    steps.sort(key=lambda step: (step.kind, step.key))
    moved = {pk for step in steps for pk in (*step.added.pks, *step.removed.pks)}
    called = {str(pk): name for pk, name in names(moved).items()}
    same = len(look.entries) - sum(step.action != "delete" for step in steps)
    return Plan(tuple(steps), same, tuple(look.left_out()), called)


class _Look:
    """The rows and the users that a document is about, read once."""

    def __init__(self, document: Document, *, delete_missing: bool, lock: bool) -> None:
        self._problems = document.problems
        self._kinds = document.kinds if delete_missing else frozenset()
        self.entries = {(one.kind, one.key): one for one in document.entries}
        self._rows: dict[tuple[Kind, str], Any] = {}
        for kind in Kind:
            keys = sorted(key for of, key in self.entries if of is kind)
            wanted = None if kind in self._kinds else keys
            for row in _rows(kind, wanted, lock=lock):
                if self._rows.setdefault((kind, row.key), row) is not row:
                    raise FlagstaffError(f"several {SECTIONS[kind]} have the key {row.key!r}")
        flags = [row for (kind, _), row in self._rows.items() if kind is Kind.FLAG]
        self._allowed = allow_lists(flags)
        self._people: Known = known(ref for one in document.entries for ref in one.users or ())

    def tell_unknown_users(self) -> None:
        for entry in self.entries.values():
            unknown = [ref for ref in entry.users or () if ref not in self._people.pks]
            self._tell(entry, "no user has", [u for u in unknown if u not in self._people.shared])
            self._tell(entry, "several have", [u for u in unknown if u in self._people.shared])

    def left_out(self) -> list[str]:
        refs = {ref for one in self.entries.values() for ref in one.users or ()}
        return sorted(str(ref) for ref in refs if ref not in self._people.pks)

    def of_entries(self) -> Iterator[Step]:
        for entry in self.entries.values():
            row = self._rows.get((entry.kind, entry.key))
            fields = wanted_fields(entry, row, self._problems)
            users = self._users(entry)
            if row is None:
                check_new(entry, fields, self._problems)
                yield _created(entry, fields, users)
            elif step := self._changed(entry, row, fields, users):
                yield step

    def of_the_missing(self) -> Iterator[Step]:
        for (kind, key), row in self._rows.items():
            if kind in self._kinds and (kind, key) not in self.entries:
                sides = (
                    (name, serialize(one, row), None) for name, one in exported_fields(kind).items()
                )
                told = _told(sides, secret=is_secret(row))
                removed = _as_users(self._allowed.get(row.pk, ()) if kind is Kind.FLAG else ())
                yield Step(kind.value, key, "delete", told, removed=removed)

    def versions_of(self, about: list[tuple[Kind, str]]) -> list[tuple[Entry, Any]]:
        """Those of the entries that say a version, each with its row, or None."""
        told = [(self.entries[one], self._rows.get(one)) for one in about if one in self.entries]
        return [(entry, row) for entry, row in told if entry.version is not None]

    def _changed(
        self, entry: Entry, row: Any, fields: dict[str, Any], users: tuple[Any, ...] | None
    ) -> Step | None:
        fields = differing(row, fields)
        check_present(entry, row, fields, self._problems)
        present = self._allowed.get(row.pk, set()) if entry.kind is Kind.FLAG else set()
        wanted = present if users is None else set(users)
        if not fields and wanted == present:
            return None
        sides = (
            (name, serialize(one, row), entry.fields[name])
            for name, one in exported_fields(entry.kind).items()
            if one.attname in fields
        )
        secret = is_secret(row) or entry.fields.get("secret") is True
        added, removed = _as_users(wanted - present), _as_users(present - wanted)
        told = _told(sides, secret=secret and entry.kind is Kind.VALUE)
        moved = users if wanted != present else None
        return Step(entry.kind.value, entry.key, "change", told, added, removed, fields, moved)

    def _users(self, entry: Entry) -> tuple[Any, ...] | None:
        if entry.users is None:
            return None
        found = {self._people.pks[ref] for ref in entry.users if ref in self._people.pks}
        return tuple(sorted(found, key=str))

    def _tell(self, entry: Entry, told: str, refs: list[UserRef]) -> None:
        if refs:
            named, by_pk = ([ref for ref in refs if bool(ref.name) is way] for way in (True, False))
            parts = [f"the username {', '.join(map(str, named))}"] if named else []
            parts += [f"the primary key {', '.join(map(str, by_pk))}"] if by_pk else []
            text = f"{told} {' or '.join(parts)}; --skip-unknown-users goes on without"
            self._problems.add((*entry.path, ALLOWED), text)


def _rows(kind: Kind, keys: list[str] | None, *, lock: bool) -> Iterator[Any]:
    """By key, so that two imports lock in the same order."""
    rows: QuerySet[Any] = all_rows(kind.model).exclude(key=None).order_by("key")
    rows = rows.select_for_update() if lock else rows
    if keys is None:
        yield from rows
        return
    for some in batches(keys):
        yield from rows.filter(key__in=some)


def _created(entry: Entry, fields: dict[str, Any], users: tuple[Any, ...] | None) -> Step:
    sides = (
        (name, None, entry.fields[name])
        for name in exported_fields(entry.kind)
        if name in entry.fields
    )
    secret = entry.kind is Kind.VALUE and entry.fields.get("secret") is True
    told, added = _told(sides, secret=secret), _as_users(users or ())
    return Step(entry.kind.value, entry.key, "create", told, added, fields=fields, users=users)


def _told(sides: Iterator[tuple[str, Any, Any]], *, secret: bool) -> tuple[Difference, ...]:
    return tuple(
        Difference(name, None, None, secret=True)
        if secret and name == "value"
        else Difference(name, old, new)
        for name, old, new in sides
    )


def _as_users(pks: Any) -> Users:
    return Users(len(pks), tuple(sorted(pks, key=str)))
