"""Decides what an undo writes. Reads in a constant number of queries, and writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce

from flagstaff._tables.rows import PrimaryKey, Row, all_rows
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff.changes.allowed_users import AllowedUsersChange, in_order, users_to_change
from flagstaff.changes.changed import Changed
from flagstaff.changes.locking import read_rows
from flagstaff.changes.past import Item, RowId, RowVersion, instances_of, read_pasts
from flagstaff.changes.restore_version import (
    deleted_row,
    planned_recreation,
    restorable_fields,
)
from flagstaff.changes.row_changes import planned_change, planned_deletion
from flagstaff.changes.undoing.conflicts import Conflict, Obstacle, describe_conflicts, key_conflict
from flagstaff.changes.undoing.row import RowUndo, undone_row
from flagstaff.changes.undoing.selection import RowEvents
from flagstaff.exceptions import ConflictError, FlagstaffError
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import EntryRange, ever_secret

CONDITIONS = "conditions"


@dataclass(frozen=True)
class UndoneEvents:
    """What an undo does to events of one row."""

    kind: Kind
    key: str
    #: The primary key as the history stores it.
    pk: str
    #: The events, newest first.
    events: tuple[EntryRange, ...]
    #: What was or would be written; None if these events cannot be undone.
    changed: Changed | None = None
    #: Why they cannot be undone; None if they can.
    error: FlagstaffError | None = field(default=None, compare=False)
    #: The version that can be restored instead, if there is one.
    restore_to: int | None = field(default=None, compare=False)

    @property
    def problem(self) -> str:
        """Why the events cannot be undone, without an advice; empty if they can."""
        if self.error is None:
            return ""
        if isinstance(self.error, ConflictError):
            return self.error.problem
        return self.error.message

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of the events, newest first."""
        return tuple(event.last for event in self.events)


@dataclass(frozen=True)
class RowPlan:
    """What an undo does to one row."""

    item: Item
    #: The version for which this was decided.
    version: int
    #: The events that are undone together, newest first.
    events: tuple[EntryRange, ...]
    #: What they come to; None if nothing is undone.
    changed: Changed | None = None
    #: What cannot be undone.
    blocked: tuple[UndoneEvents, ...] = ()
    users: AllowedUsersChange = field(default_factory=AllowedUsersChange)
    #: A deleted row to insert, and the version that it returns to.
    inserted: tuple[Row, RowVersion] | None = None
    #: The key after the undo; None if there is no row then.
    key: str | None = None

    @property
    def written(self) -> Changed | None:
        """What the undo writes; None if it writes nothing."""
        return self.changed if self.changed is not None and self.changed.written else None

    @property
    def frees_its_key(self) -> bool:
        """Whether the undo makes the present key free for another row."""
        has_row = self.item.row is not None
        return self.written is not None and has_row and self.key != self.item.key

    @property
    def results(self) -> list[UndoneEvents]:
        """The events that are undone together, and those that cannot be undone."""
        if self.changed is None:
            return [*self.blocked]
        undone = self._events(self.events)
        return [replace(undone, key=self.changed.key, changed=self.changed), *self.blocked]

    def block(self, events: Sequence[EntryRange], why: Obstacle) -> RowPlan:
        """Returns the plan with events that cannot be undone."""
        blocked = replace(self._events(events), error=why.error, restore_to=why.restore_to)
        return replace(self, blocked=(*self.blocked, blocked))

    def refuse(self, error: FlagstaffError) -> RowPlan:
        """Returns the plan if nothing of the row can be undone."""
        kept = replace(
            self, changed=None, events=(), inserted=None, users=AllowedUsersChange(), key=None
        )
        return kept.block(self.events, Obstacle(error))

    def _events(self, events: Sequence[EntryRange]) -> UndoneEvents:
        return UndoneEvents(self.item.kind, self.item.key, self.item.pk, tuple(events))


@dataclass(frozen=True)
class UndoPlan:
    """What an undo of several events does, and what is in its way."""

    rows: tuple[RowPlan, ...]
    #: Why nothing can be undone, if it is not about single rows.
    refusal: FlagstaffError | None = None
    #: The rows that the database has refused to write, and why.
    refused: Mapping[RowId, FlagstaffError] = field(default_factory=dict)

    @property
    def events(self) -> list[UndoneEvents]:
        """All events: those that are undone together, and those that cannot be undone."""
        return [undone for row in self.rows for undone in row.results]

    @property
    def errors(self) -> list[FlagstaffError]:
        """Why events cannot be undone."""
        return [undone.error for undone in self.events if undone.error is not None]

    @property
    def versions(self) -> list[int]:
        """The versions of the rows for which this was decided."""
        return [row.version for row in self.rows]

    @property
    def undone(self) -> frozenset[int]:
        """The versions of the events that are undone."""
        return frozenset(
            version for undone in self.events if undone.changed for version in undone.versions
        )

    @property
    def written(self) -> list[tuple[Kind, Changed]]:
        """What is written, with the kind of each row."""
        return [(row.item.kind, row.written) for row in self.rows if row.written is not None]

    @property
    def effects(self) -> list[tuple[Kind, Changed]]:
        """What is written, with the segments by key."""
        without_segments = [
            (kind, changed) for kind, changed in self.written if kind is not Kind.SEGMENT
        ]
        return [*without_segments, *((Kind.SEGMENT, changed) for changed in self.segments)]

    @property
    def segments(self) -> list[Changed]:
        """What happens to the conditions of each key of a segment: rules name keys, not rows."""
        before, after = dict[str, dict[str, object]](), dict[str, dict[str, object]]()
        for plan in self.rows:
            if plan.item.kind is not Kind.SEGMENT or plan.written is None:
                continue
            row = plan.item.row
            if row is not None:
                before[plan.item.key] = {CONDITIONS: getattr(row, CONDITIONS)}
            if plan.key is not None:
                present = plan.inserted[0] if plan.inserted else row
                new = plan.written.new or {}
                conditions = new.get(CONDITIONS, getattr(present, CONDITIONS))
                after[plan.key] = {CONDITIONS: conditions}
        return [
            Changed(key, "", before.get(key), after.get(key), written=True)
            for key in dict.fromkeys([*before, *after])
        ]


def plan_undo(
    selected: Sequence[RowEvents],
    *,
    whole: bool = False,
    lock: bool = False,
    refused: Mapping[RowId, FlagstaffError] | None = None,
) -> UndoPlan:
    """Returns what an undo of these events does. With `lock`, the rows stay locked.

    With `whole`, a row is left as it is if it has any newer change. `refused` are rows that the
    database has refused to write as planned.
    """
    undos = _undos(selected, whole=whole, lock=lock)
    plans = _as_written(undos)
    for check in (_without_obstacles, _without_taken_keys):
        plans = check(plans, undos)
    errors = refused or {}
    rows = tuple(
        plan.refuse(errors[plan.item.id]) if plan.written and plan.item.id in errors else plan
        for plan in plans
    )
    return UndoPlan(rows, refused=errors)


def _undos(selected: Sequence[RowEvents], *, whole: bool, lock: bool) -> list[RowUndo]:
    """The states that the undo leads to."""
    locked = [row_events.row for row_events in selected]
    rows = read_rows([*locked, *_locked_too(locked)], lock=lock)
    items = {row_events.row: _item(row_events, rows.get(row_events.row)) for row_events in selected}
    pasts = read_pasts(
        (
            items[row_events.row],
            {bound for first, last in row_events.events for bound in (first - 1, last)},
        )
        for row_events in selected
    )
    return [
        undone_row(pasts[row_events.row], row_events.events, whole=whole) for row_events in selected
    ]


def _locked_too(locked: Iterable[RowId]) -> list[RowId]:
    """Segments that are locked in the order of keys, as by a change of rules that name them.

    The rules that an undo writes may name any of them. Locked later than the segments that it
    writes, they could deadlock with such a change.
    """
    kinds = {row.kind for row in locked}
    if kinds.isdisjoint({Kind.FLAG, Kind.VALUE}) or Kind.SEGMENT not in kinds:
        return []
    pks = all_rows(Kind.SEGMENT.model).values_list("pk", flat=True)
    return [RowId(Kind.SEGMENT, str(pk)) for pk in pks]


def _item(selected: RowEvents, row: Row | None) -> Item:
    kind, pk = selected.row
    return Item(kind, selected.key if row is None else row.key, pk, row)


def _as_written(undos: Sequence[RowUndo]) -> list[RowPlan]:
    """What is written to reach the states, if nothing is in the way."""
    instances = {
        kind: instances_of(
            kind,
            (version for undo in undos if undo.kind is kind for version in undo.versions_taken),
        )
        for kind in {undo.kind for undo in undos}
    }
    new_users = {pk for undo in undos for pk in undo.users - undo.past.present.users}
    existing = allowed_user_table().existing(new_users) if new_users else set[PrimaryKey]()
    values = [undo.past.item.pk for undo in undos if undo.kind is Kind.VALUE]
    secret = ever_secret(values) if values else ()
    plans = []
    for undo in undos:
        plan = _row_plan(undo, instances[undo.kind], existing)
        if plan.changed is not None and undo.kind is Kind.VALUE and undo.past.item.pk in secret:
            plan = replace(plan, changed=replace(plan.changed, secret=True))
        plans.append(plan)
    return plans


def _row_plan(
    undo: RowUndo, instances: Mapping[int, Row], existing: Collection[PrimaryKey]
) -> RowPlan:
    item = undo.past.item
    plan = RowPlan(item, undo.past.version, tuple(undo.undone), key=item.key)
    if not plan.events:
        return plan
    try:
        if undo.row is None:
            return _without_row(plan, undo)
        users = users_to_change(
            undo.past.present.users, in_order(undo.users), skip_unknown=True, existing=existing
        )
        if undo.base is not None:
            return _with_new_row(plan, undo, undo.base, instances, users)
        return _with_fields(plan, undo, instances, users)
    except FlagstaffError as error:
        return plan.refuse(error)


def _without_row(plan: RowPlan, undo: RowUndo) -> RowPlan:
    """The row is deleted, if it exists."""
    row = plan.item.row
    if row is None:
        return _unchanged(plan)
    users = undo.past.present.users if undo.kind is Kind.FLAG else None
    return replace(plan, key=None, changed=replace(planned_deletion(row, users), written=True))


def _with_new_row(
    plan: RowPlan,
    undo: RowUndo,
    version: RowVersion,
    instances: Mapping[int, Row],
    users: AllowedUsersChange,
) -> RowPlan:
    """The row is created again."""
    row = deleted_row(undo.kind, version, instances)
    for name, value in _taken_fields(undo, instances):
        setattr(row, name, value)
    changed = replace(planned_recreation(row, version, users), written=True)
    return replace(plan, key=row.key, users=users, inserted=(row, version), changed=changed)


def _with_fields(
    plan: RowPlan, undo: RowUndo, instances: Mapping[int, Row], users: AllowedUsersChange
) -> RowPlan:
    """Some fields and users return to earlier ones."""
    row = plan.item.row
    if row is None:
        return _unchanged(plan)
    changed = planned_change(row, dict(_taken_fields(undo, instances)), users)
    if not changed.new:
        return replace(plan, changed=replace(changed, version=plan.version))
    key = changed.new.get("key", row.key)
    return replace(plan, key=key, users=users, changed=replace(changed, written=True))


def _unchanged(plan: RowPlan) -> RowPlan:
    changed = Changed(plan.item.key, "", {}, {}, written=False, version=plan.version)
    return replace(plan, changed=changed)


def _taken_fields(undo: RowUndo, instances: Mapping[int, Row]) -> Iterator[tuple[str, object]]:
    """The fields that have to be written, by attname, in the order of the model."""
    for model_field in restorable_fields(undo.kind):
        version = undo.taken.get(str(model_field.column))
        if version is not None and version.entry is not None:
            yield model_field.attname, getattr(instances[version.entry], model_field.attname)


def _without_obstacles(plans: Sequence[RowPlan], undos: Sequence[RowUndo]) -> list[RowPlan]:
    """Adds the events that cannot be undone."""
    conflicts = [
        reason for undo in undos for _run, reason in undo.blocked if isinstance(reason, Conflict)
    ]
    obstacles = iter(describe_conflicts(conflicts))
    return [
        reduce(
            lambda plan, blocked: plan.block(blocked[0], _obstacle_of(blocked[1], obstacles)),
            undo.blocked,
            plan,
        )
        for plan, undo in zip(plans, undos, strict=True)
    ]


def _obstacle_of(why: FlagstaffError | Conflict, obstacles: Iterator[Obstacle]) -> Obstacle:
    return next(obstacles) if isinstance(why, Conflict) else Obstacle(why)


def _without_taken_keys(plans: Sequence[RowPlan], undos: Sequence[RowUndo]) -> list[RowPlan]:
    """Refuses to create rows whose key another row has, and keeps after the whole undo."""
    taken: set[tuple[Kind, str]] = set()
    for kind in {plan.item.kind for plan in plans if plan.inserted}:
        same_kind = [plan for plan in plans if plan.item.kind is kind]
        keys = [plan.key for plan in same_kind if plan.inserted]
        # A concurrent call may have inserted the same row, which is not another row.
        own = [plan.item.pk for plan in same_kind if plan.inserted or plan.frees_its_key]
        other_rows = all_rows(kind.model).filter(key__in=keys).exclude(pk__in=own)
        taken |= {(kind, key) for key in other_rows.values_list("key", flat=True)}
    return [
        plan.refuse(key_conflict(plan.item.kind, plan.key, undo.past.version))
        if plan.inserted and plan.key is not None and (plan.item.kind, plan.key) in taken
        else plan
        for plan, undo in zip(plans, undos, strict=True)
    ]
