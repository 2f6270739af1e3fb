"""Imports the flags, switches and samples of waffle: plans, then writes in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from django.db import transaction
from django.db.models.functions import Now

from flagstaff import serialization
from flagstaff._attribution.context import from_source
from flagstaff._tables.rows import Row, all_rows
from flagstaff._tables.user_lookup import batches
from flagstaff._taken_keys import taken_keys
from flagstaff._words.similar import most_similar
from flagstaff.changes import Undo
from flagstaff.changes.allowed_users import allowed_pks_of
from flagstaff.compat.converting import Converted, Status, convert
from flagstaff.compat.differences import forget_missing_flags
from flagstaff.compat.merging import (
    RowName,
    State,
    Undone,
    merge,
    merged_state,
    refuse_collisions,
    refused,
    row_name,
    same,
    state_of,
    without_undone,
)
from flagstaff.compat.models import SOURCE, WaffleRow
from flagstaff.compat.names import key_of
from flagstaff.compat.rows import SourceRow, read_rows
from flagstaff.conf import conf
from flagstaff.exceptions import DocumentError, FlagstaffError
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.versions import all_entries, has_history
from flagstaff.serialization.document import Document, Problem, UserRef
from flagstaff.serialization.fields import exported_fields, serialize
from flagstaff.serialization.messages import UNKNOWN_USERS
from flagstaff.serialization.plan import Plan, Step, names_of_users
from flagstaff.serialization.plan import read_rows as read_flags
from flagstaff.serialization.user_references import find_users
from flagstaff.validators import KEY_MAX_LENGTH


@dataclass(frozen=True)
class Choices:
    """What a caller decides about an import."""

    #: The names to import; None imports all.
    names: frozenset[str] | None = None
    #: Written to all flags, unless it is None.
    client_side: bool | None = None
    #: Write the other rows if some are refused.
    skip_refused: bool = False
    #: Write the values of waffle over changes here, and over flags that do not come from waffle.
    overwrite: bool = False
    skip_unknown_users: bool = False


@dataclass(frozen=True)
class Gone:
    """A row that was imported earlier, and that waffle does not have any more."""

    kind: str
    name: str
    #: The key of its flag, which still exists.
    key: str


@dataclass(frozen=True)
class WafflePlan:
    """What an import would write, and the status of each row that was read."""

    rows: tuple[Converted, ...]
    #: The changes of flags.
    plan: Plan
    gone: tuple[Gone, ...]
    #: What is then stored as last written.
    written: tuple[WaffleRow, ...]
    #: Stored rows of what neither waffle nor flagstaff has any more.
    forgotten: tuple[WaffleRow, ...]

    @property
    def counts(self) -> Mapping[Status, int]:
        """The number of rows by status, of all statuses."""
        found = Counter(row.status for row in self.rows)
        return {status: found[status] for status in Status}

    @cached_property
    def steps(self) -> Mapping[str, Step]:
        """The changes by the key of the flag."""
        return {step.key: step for step in self.plan.steps}


@dataclass(frozen=True)
class WaffleImport:
    """The result of an import."""

    plan: WafflePlan
    #: False if a row was refused, so that nothing was written.
    is_done: bool
    #: Undoes the changes of flags; None without a change.
    undo: Undo | None = None


def import_waffle(choices: Choices, *, expect_plan: str | None = None) -> WaffleImport:
    """Imports in one transaction: all or nothing.

    Writes nothing if a row is refused, unless `skip_refused`. Raises ConflictError if the plan's
    fingerprint is not `expect_plan`, and InvalidChangeError.
    """
    with transaction.atomic(using=conf.database), from_source(SOURCE):
        plan = plan_import(choices, lock=True)
        if plan.counts[Status.REFUSED] and not choices.skip_refused:
            return WaffleImport(plan, is_done=False)
        imported = serialization.apply(_document(plan.rows), expect_plan=expect_plan)
        _store(plan)
    return WaffleImport(plan, is_done=True, undo=imported.undo)


def plan_import(choices: Choices, *, lock: bool = False) -> WafflePlan:
    """Returns what an import would write. Queries, but writes nothing.

    `lock` locks the flags until the transaction ends. Raises FlagstaffError for a name that waffle
    does not have.
    """
    rows = [*read_rows()]
    if lock:
        # First the flags, as the mirror: then the rows of waffle are as new as what it has written.
        _read_flags(_keys(rows, choices.names), lock=True)
        rows = [*read_rows()]
    written = {(row.kind, row.name): row for row in all_rows(WaffleRow).order_by("kind", "name")}
    _require_names(choices, rows, written)
    converted = _chosen(_without_collisions(_converted(rows, choices), written), choices)
    converted, skipped = _with_existing_users(converted, choices)
    merging = _Merging(converted, written, choices)
    merged, plan = _valid(merging.rows())
    merged = [merging.with_other_flag(one) for one in merged]
    plan = replace(plan, skipped_users=skipped)
    stored = _to_store(converted, merged, written)
    gone, forgotten = _gone(rows, written, choices)
    return WafflePlan(
        tuple(merged),
        plan,
        tuple(Gone(row.kind, row.name, row.key) for row in gone),
        tuple(stored),
        tuple(forgotten),
    )


def _converted(rows: Iterable[SourceRow], choices: Choices) -> list[Converted]:
    return [_with_storable_name(convert(row, client_side=choices.client_side)) for row in rows]


def _with_storable_name(converted: Converted) -> Converted:
    if converted.item is None or 0 < len(converted.row.name) <= KEY_MAX_LENGTH:
        return converted
    return refused(
        converted,
        f"its name has {len(converted.row.name):,} characters; rename it in waffle: a name has 1 "
        f"to {KEY_MAX_LENGTH} characters",
    )


def _require_names(choices: Choices, rows: Iterable[SourceRow], written: Iterable[RowName]) -> None:
    known = {*(row.name for row in rows), *(name for _kind, name in written)}
    for name in sorted((choices.names or frozenset()) - known):
        similar = most_similar(name, sorted(known))
        advice = f"; did you mean {similar!r}?" if similar else ""
        raise FlagstaffError(f"waffle has no flag, switch or sample {name!r}{advice}")


def _chosen(converted: Iterable[Converted], choices: Choices) -> list[Converted]:
    names = choices.names
    return [one for one in converted if names is None or one.row.name in names]


def _without_collisions(
    converted: Sequence[Converted], written: Mapping[RowName, WaffleRow]
) -> list[Converted]:
    owners = {place: row.key for place, row in written.items()}
    return refuse_collisions(converted, owners, taken_keys("flag", (one.key for one in converted)))


def _with_existing_users(
    converted: Sequence[Converted], choices: Choices
) -> tuple[list[Converted], tuple[str, ...]]:
    """Returns the rows without users who do not exist, or refused; and the skipped users."""
    refs = {ref for one in converted if one.item for ref in one.item.users or ()}
    unknown = refs - find_users(refs).pks.keys()
    if not unknown:
        return list(converted), ()
    skips = choices.skip_unknown_users
    found = [_without_users(one, unknown, skips=skips) for one in converted]
    return found, tuple(sorted(map(str, unknown))) if skips else ()


def _without_users(one: Converted, unknown: Collection[UserRef], *, skips: bool) -> Converted:
    missing = [ref for ref in (one.item.users or () if one.item else ()) if ref in unknown]
    if one.item is None or not missing:
        return one
    if not skips:
        return refused(one, UNKNOWN_USERS(names=names_of_users(missing)))
    users = tuple(ref for ref in one.item.users or () if ref not in unknown)
    return replace(one, item=replace(one.item, users=users))


def _valid(rows: Sequence[Converted]) -> tuple[list[Converted], Plan]:
    """Returns the rows, of which those that no flag can hold are refused, and the plan."""
    try:
        return list(rows), serialization.diff(_document(rows))
    except DocumentError as error:
        problems = error.problems
    by_key: dict[object, list[str]] = {}
    for problem in problems:
        by_key.setdefault(_key_of(problem), []).append(_text_of(problem))
    checked = [refused(one, *by_key[one.key]) if one.key in by_key else one for one in rows]
    return checked, serialization.diff(_document(checked))


def _key_of(problem: Problem) -> object:
    _section, key, *_ = problem.path
    return key


def _text_of(problem: Problem) -> str:
    _section, _key, *field = problem.path
    return ": ".join([*map(str, field[:1]), problem.text])


def _document(rows: Iterable[Converted]) -> Document:
    items = (row.item for row in rows if row.item is not None)
    return Document(tuple(items), frozenset({Kind.FLAG}))


def _gone(
    rows: Sequence[SourceRow], written: Mapping[RowName, WaffleRow], choices: Choices
) -> tuple[list[WaffleRow], list[WaffleRow]]:
    """Returns the stored rows that waffle does not have any more: with a flag, and without."""
    present = {row_name(row) for row in rows}
    keys = _keys(rows)
    gone = [
        row
        for place, row in written.items()
        if place not in present and (choices.names is None or row.name in choices.names)
    ]
    # Another row of waffle may have the key now.
    existing = {row.key for row in _read_flags(one.key for one in gone)} - keys
    return (
        [row for row in gone if row.key in existing],
        [row for row in gone if row.key not in existing],
    )


def _keys(rows: Iterable[SourceRow], names: Collection[str] | None = None) -> set[str]:
    """Returns the keys of rows; with `names`, of those that have one of these names."""
    return {key_of(row.kind, row.name) for row in rows if names is None or row.name in names}


def _read_flags(keys: Iterable[str], *, lock: bool = False) -> list[Row]:
    return [*read_flags(Kind.FLAG, sorted({*keys}), lock=lock)]


# What was last written, beside the flags as they are now.


class _Merging:
    """The rows beside what was written of them, and the flags of their keys, read once."""

    def __init__(
        self,
        rows: Sequence[Converted],
        written: Mapping[RowName, WaffleRow],
        choices: Choices,
    ) -> None:
        self._rows = rows
        self._overwrite = choices.overwrite
        owned = {
            row_name(one.row): one.key
            for one in rows
            if (row := written.get(row_name(one.row))) is not None and row.has_written(one.key)
        }
        self._owned = owned
        self._written = {key: _state_of_row(written[name]) for name, key in owned.items()}
        flags = {row.key: row for row in _read_flags(one.key for one in rows)}
        allowed = allowed_pks_of(flags.values())
        self._flags = flags
        self._present = {
            key: State(_fields(row), frozenset(map(str, allowed[row.pk])))
            for key, row in flags.items()
        }

    def rows(self) -> list[Converted]:
        """Returns the rows with what has to be written of them."""
        undone = self._undone()
        return [
            merge(
                one,
                self._base(one.key, undone),
                self._present.get(one.key),
                overwrite=self._overwrite,
            )
            for one in self._rows
        ]

    def with_other_flag(self, one: Converted) -> Converted:
        """Returns the row; if it is refused, with a note about another flag of its key."""
        is_other = one.key in self._present and row_name(one.row) not in self._owned
        if one.status is not Status.REFUSED or one.row.overridden or not is_other:
            return one
        text = f"until then, SERVE returns the result of the flag {one.key} for this {one.row.kind}"
        return replace(one, notes=(*one.notes, text))

    def _base(self, key: str, undone: Mapping[str, Undone]) -> State | None:
        written, present = self._written.get(key), self._present.get(key)
        if written is None or key not in undone:
            return written
        if present is None:
            return None if undone[key].fields else written
        return without_undone(written, present, undone[key])

    def _undone(self) -> dict[str, Undone]:
        """Returns what undos took back of the flags that are not as they were written."""
        keys = {key for key, state in self._written.items() if self._is_other(key, state)}
        if not keys or not has_history():
            return {}
        by_pk = {str(self._flags[key].pk): key for key in keys if key in self._flags}
        by_pk |= _deleted(keys - self._flags.keys())
        entries = all_entries().filter(relation__in=Kind.FLAG.relations)
        events: dict[str, list[Event]] = {pk: [] for pk in by_pk}
        for pks in batches(by_pk):
            of_flags = entries.filter(object_pk__in=pks)
            for event in events_among(Kind.FLAG, of_flags, all_users=True):
                events[event.object_pk].append(event)
        found = {by_pk[pk]: undone_parts(some) for pk, some in events.items()}
        return {key: undone for key, undone in found.items() if undone is not None}

    def _is_other(self, key: str, written: State) -> bool:
        present = self._present.get(key)
        if present is None:
            return True
        users = written.users
        is_other = any(
            not same(value, present.fields.get(name)) for name, value in written.fields.items()
        )
        return is_other or (users is not None and users != present.users)


def undone_parts(newest_first: Sequence[Event]) -> Undone | None:
    """Returns what the events of a flag took back of changes that came from waffle.

    None if nothing was. The newest event of a field, or of a user, decides. Queries nothing.
    """
    from_waffle = [event.version for event in newest_first if event.source == SOURCE]
    of_fields: dict[str, bool] = {}
    of_users: dict[str, bool] = {}
    for event in newest_first:
        takes_back = any(
            first <= version <= last for first, last in event.undoes for version in from_waffle
        )
        for difference in event.differences:
            of_fields.setdefault(difference.field, takes_back)
        for pk in (*event.added.pks, *event.removed.pks):
            of_users.setdefault(str(pk), takes_back)
    fields = frozenset(name for name, is_undone in of_fields.items() if is_undone)
    users = frozenset(pk for pk, is_undone in of_users.items() if is_undone)
    return Undone(fields, users) if fields or users else None


def _deleted(keys: Collection[str]) -> dict[str, str]:
    """Returns the keys of deleted flags by the primary key of the row that last had each."""
    newest = (
        all_entries()
        .filter(relation=Kind.FLAG.row_relation, key__in=keys)
        .order_by("key", "-id")
        .distinct("key")
    )
    return {entry.object_pk: entry.key for entry in newest if entry.new is None}


def _fields(row: Row) -> dict[str, object]:
    return {name: serialize(field, row) for name, field in exported_fields(Kind.FLAG).items()}


def _state_of_row(row: WaffleRow) -> State:
    return State(row.fields, frozenset(row.users))


def _to_store(
    converted: Iterable[Converted],
    merged: Iterable[Converted],
    written: Mapping[RowName, WaffleRow],
) -> list[WaffleRow]:
    """Returns what is to be stored of the rows that are written, as far as it differs."""
    stored = []
    for before, after in zip(converted, merged, strict=True):
        if after.item is None:
            continue
        old = written.get(row_name(before.row))
        is_same_flag = old is not None and old.has_written(before.key)
        theirs = state_of(before)
        state = merged_state(theirs, _state_of_row(old) if old and is_same_flag else None)
        users = sorted(state.users or ())
        if (
            old is not None
            and is_same_flag
            and not old.problem
            and same([old.fields, old.users], [state.fields, users])
        ):
            continue
        kind, name = row_name(before.row)
        stored.append(
            WaffleRow(
                kind=kind,
                name=name,
                key=before.key,
                fields=dict(state.fields),
                users=users,
                at=Now(),
            )
        )
    return stored


def _store(plan: WafflePlan) -> None:
    stored = WaffleRow._base_manager.using(conf.database)
    stored.filter(pk__in=[row.pk for row in plan.forgotten]).delete()
    stored.bulk_create(
        plan.written,
        update_conflicts=True,
        unique_fields=("kind", "name"),
        update_fields=("key", "fields", "users", "problem", "at"),
    )
    forget_missing_flags((row.kind, row.name) for row in plan.written)
