"""Random sequences of changes and undos, compared with what the tables held at each time.

The expected state comes from copies of the rows before and after each transaction, cell by cell:
neither from the history nor from the code that undoes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from flagstaff import changes
from flagstaff.changes.undo import preview_undo, restore_row, undo
from flagstaff.exceptions import ConflictError, FlagstaffError, InvalidChangeError
from flagstaff.history.kinds import Kind
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.repeats import repeats
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
pytestmark = pytest.mark.django_db(transaction=True)

KEYS = ("a", "b", "c")
FLAG_COLUMNS = ("key", "enabled", "rollout_percent", "description")
VALUE_COLUMNS = ("key", "value", "description")
Id = tuple[Kind, str]
#: The cells of a row: its columns, and one for each allowed user. None if there is no row.
Cells = Mapping[str, Any] | None
State = dict[Id, dict[str, Any]]


def snapshot() -> State:
    flags: State = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id, key, enabled, rollout_percent, description FROM flagstaff_featureflag"
        )
        for pk, *columns in cursor.fetchall():
            flags[Kind.FLAG, str(pk)] = dict(zip(FLAG_COLUMNS, columns, strict=True))
        cursor.execute("SELECT featureflag_id, user_id FROM flagstaff_featureflag_allowed_users")
        for flag, user in cursor.fetchall():
            flags[Kind.FLAG, str(flag)][f"user {user}"] = True
        cursor.execute("SELECT id, key, value::text, description FROM flagstaff_keyvaluestore")
        for pk, *columns in cursor.fetchall():
            flags[Kind.VALUE, str(pk)] = dict(zip(VALUE_COLUMNS, columns, strict=True))
    return flags


def changed_cells(before: Cells, after: Cells) -> set[str]:
    if before is None or after is None:
        return set()
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@dataclass
class Step:
    """A transaction: the tables before and after it, and the entries that it wrote."""

    before: State
    after: State
    entries: list[Change]

    def rows(self) -> set[Id]:
        ids = self.before.keys() | self.after.keys()
        return {row for row in ids if self.before.get(row) != self.after.get(row)}

    def entries_of(self, row: Id) -> list[Change]:
        return [
            entry for entry in self.entries if (Kind.of(entry.relation), entry.object_pk) == row
        ]


@dataclass
class Expected:
    """One row as an undo must leave it."""

    cells: dict[str, Any] | None
    conflicts: int = 0
    touched: set[str] = field(default_factory=set)


def expected_row(row: Id, steps: list[Step], selected: set[int], present: Cells) -> Expected:
    """Takes a row back, one step after the other, from the newest one."""
    expected = Expected(None if present is None else dict(present))
    existence = recreated = False
    created: Cells = None
    for number in reversed(range(len(steps))):
        step = steps[number]
        before, after = step.before.get(row), step.after.get(row)
        if before == after:
            continue
        is_conflict = number not in selected
        if not is_conflict:
            try:
                expected.cells = taken_back(
                    expected, before, after, existence=existence, is_newest=not recreated
                )
            except ConflictError:
                expected.conflicts += 1
                is_conflict = True
        if is_conflict or (after is None and created is not None):
            users = {name for name in (before or after or ()) if name.startswith("user ")}
            expected.touched |= users if is_conflict and None in (before, after) else set()
            recreated = recreated or is_conflict
            if before is None:
                existence, created = True, after
            elif after is None:
                existence = True
                expected.touched |= changed_cells(before, created or before)
            else:
                expected.touched |= changed_cells(before, after)
    return expected


def taken_back(
    expected: Expected, before: Cells, after: Cells, *, existence: bool, is_newest: bool
) -> dict[str, Any] | None:
    cells = expected.cells
    if before is None:
        if cells is not None and not is_newest:
            raise ConflictError
        return None
    if after is None:
        if cells is not None:
            return cells
        if existence:
            raise ConflictError
        return dict(before)
    if cells is None:
        raise ConflictError
    result = dict(cells)
    for name in changed_cells(before, after):
        if cells.get(name) == before.get(name):
            continue
        if name in expected.touched or cells.get(name) != after.get(name):
            raise ConflictError
        result[name] = before.get(name)
    return {name: value for name, value in result.items() if value is not None}


class World:
    """Three keys, three users, and everything that happened."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.users = [user.pk for user in User.objects.order_by("pk")]
        self.steps: list[Step] = []
        self.counts = {"undone": 0, "conflicts": 0, "restored": 0}

    def run(self, action: Callable[[], object]) -> None:
        before, newest = snapshot(), newest_entry()
        try:
            with transaction.atomic():
                action()
        except (InvalidChangeError, IntegrityError):
            # The key is taken.
            assert snapshot() == before
            return
        entries = list(Change.objects.filter(pk__gt=newest).order_by("pk"))
        self.steps.append(Step(before, snapshot(), entries))

    def change(self) -> None:
        actions = [self._change() for _ in range(self.random.choice((1, 1, 1, 2)))]

        def run() -> None:
            rows = set()
            for row, action in actions:
                # An event with two changes of a cell is not one step.
                if row not in rows:
                    rows.add(row)
                    action()

        self.run(run)

    def _change(self) -> tuple[Any, Callable[[], object]]:
        draw = self.random
        key = draw.choice(KEYS)
        flag = FeatureFlag.objects.filter(key=key).first()
        value = KeyValueStore.objects.filter(key=f"value {key}").first()
        if draw.random() < 0.3:
            return f"value {key}", self._change_of_value(key, value)
        if flag is None:
            users = draw.sample(self.users, draw.randrange(3))
            return key, lambda: changes.flags.create(key, enabled=True, allowed_users=users)
        return key, self._change_of_flag(flag, key)

    def _change_of_value(self, key: str, value: KeyValueStore | None) -> Callable[[], object]:
        draw, name = self.random, f"value {key}"
        if value is None:
            return lambda: KeyValueStore.objects.create(key=name, value=[1])
        new = draw.choice((1, 1.0, True, "x", {"a": [1, 2.5]}))
        return draw.choice(
            (
                lambda: changes.values.set(name, new),
                lambda: rows(
                    "UPDATE flagstaff_keyvaluestore SET value = '10.5', description = %s"
                    " WHERE id = %s",
                    draw.choice("xyz"),
                    value.pk,
                ),
                value.delete,
            )
        )

    def _change_of_flag(self, flag: FeatureFlag, key: str) -> Callable[[], object]:
        draw = self.random
        percent, user, pk = draw.choice((0, 10, 50)), draw.choice(self.users), flag.pk
        renamed = draw.choice(KEYS)
        free = not FeatureFlag.objects.filter(key=renamed).exists()
        return draw.choice(
            (
                lambda: changes.flags.set_rollout(key, percent),
                lambda: FeatureFlag.objects.filter(pk=pk).update(enabled=not flag.enabled),
                lambda: changes.flags.enable(key),
                lambda: changes.flags.disable(key),
                lambda: rows(
                    "UPDATE flagstaff_featureflag SET rollout_percent = %s, description = %s"
                    " WHERE id = %s",
                    percent,
                    draw.choice("xyz"),
                    pk,
                ),
                lambda: flag.allowed_users.add(user),
                lambda: flag.allowed_users.remove(user),
                lambda: changes.flags.update(
                    key, {"description": "d", "allowed_users": self.users}
                ),
                lambda: (
                    rows("UPDATE flagstaff_featureflag SET key = %s WHERE id = %s", renamed, pk)
                    if free
                    else None
                ),
                lambda: changes.flags.delete(key),
                lambda: delete_by_sql(pk),
            )
        )

    def undo(self) -> None:
        """Undoes some of the steps, wholly or for one row, and compares."""
        draw, present = self.random, snapshot()
        numbers = [number for number, step in enumerate(self.steps) if step.rows()]
        if not numbers:
            return
        numbers = numbers[-draw.choice((1, 3, 8, 30)) :]
        if draw.random() < 0.7:
            numbers = draw.sample(numbers, draw.randint(1, min(3, len(numbers))))
        rows = {row for number in numbers for row in self.steps[number].rows()}
        if draw.random() < 0.4:
            rows = {draw.choice(sorted(rows, key=str))}
        entries = [
            entry
            for number in numbers
            for row in rows
            for entry in self.steps[number].entries_of(row)
        ]
        expected = {
            row: expected_row(row, self.steps, self._selected(row, numbers), present.get(row))
            for row in rows
        }
        self._compare(present, entries, expected, skip=draw.random() < 0.5)

    def _selected(self, row: Id, numbers: list[int]) -> set[int]:
        return {number for number in numbers if self.steps[number].entries_of(row)}

    def _compare(
        self, present: State, entries: list[Change], expected: dict[Id, Expected], *, skip: bool
    ) -> None:
        newest, steps = newest_entry(), self.steps
        shown = {one.id: one for one in preview_undo(entries)}
        assert (snapshot(), newest_entry()) == (present, newest), "a preview writes"
        try:
            done = undo(entries, skip_conflicts=skip)
        except ConflictError:
            assert snapshot() == present, "a refused undo writes"
            assert not skip
            taken = has_taken_key(present, expected)
            assert taken or any(one.conflicts for one in expected.values()), "no real conflict"
            assert any(one.conflicts for one in shown.values())
            self.counts["conflicts"] += 1
            return
        except InvalidChangeError:
            # Two rows exchange their keys, which the database refuses.
            assert snapshot() == present
            assert len([row for row in expected if row in present]) > 1
            return
        after = snapshot()
        refused = {one.id for one in done if one.changed is None}
        for row in present.keys() | after.keys() | expected.keys():
            if row in refused and has_taken_key(present, expected):
                assert after.get(row) == present.get(row)
            elif row in expected:
                assert after.get(row) == expected[row].cells, row
            else:
                assert after.get(row) == present.get(row), "another row was changed"
        if not skip:
            assert not any(one.conflicts for one in expected.values()), "a conflict was lost"
        for one in done:
            state = one.after.row
            assert (one.id in after) == (state is not None)
            assert len(shown[one.id].conflicts) == len(one.conflicts)
        entries = list(Change.objects.filter(pk__gt=newest).order_by("pk"))
        steps.append(Step(present, after, entries))
        self.counts["undone"] += 1

    def restore(self) -> None:
        """Restores one row to a step, after which it must be as it was then."""
        draw, present = self.random, snapshot()
        number = draw.randrange(len(self.steps))
        step = self.steps[number]
        rows = [row for row in step.rows() if row in step.after]
        if not rows:
            return
        row = draw.choice(sorted(rows, key=str))
        # The key finds the row if it has the key, or was the last one that had it.
        keys = {cells["key"] for other, cells in present.items() if other[0] is row[0]}
        owner = present.get(row)
        if owner is None and step.after[row]["key"] in keys:
            return
        key = self._last_key(row) if owner is None else owner["key"]
        newest = newest_entry()
        try:
            restore_row(row[0], key, to=step.entries_of(row)[-1].pk)
        except FlagstaffError:
            assert snapshot() == present
            return
        assert snapshot() == {**present, row: step.after[row]}
        entries = list(Change.objects.filter(pk__gt=newest).order_by("pk"))
        self.steps.append(Step(present, snapshot(), entries))
        self.counts["restored"] += 1

    def _last_key(self, row: Id) -> str:
        key: str = next(s.before[row]["key"] for s in reversed(self.steps) if row in s.before)
        return key


def has_taken_key(present: State, expected: dict[Id, Expected]) -> bool:
    after = {**present, **{row: one.cells for row, one in expected.items()}}
    keys = [(row[0], cells["key"]) for row, cells in after.items() if cells is not None]
    return len(keys) > len(set(keys))


def newest_entry() -> int:
    return Change.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def delete_by_sql(pk: int) -> None:
    rows("DELETE FROM flagstaff_featureflag_allowed_users WHERE featureflag_id = %s", pk)
    rows("DELETE FROM flagstaff_featureflag WHERE id = %s", pk)


def sequences(count: int, first: int = 0) -> Iterator[tuple[int, World]]:
    for seed in range(first, first + count):
        FeatureFlag.objects.all().delete()
        KeyValueStore.objects.all().delete()
        yield seed, World(seed)


def run_sequences(count: int, first: int = 0) -> dict[str, int]:
    for name in ("ana", "bob", "eve"):
        User.objects.get_or_create(username=name)
    totals: dict[str, int] = {}
    for seed, world in sequences(count, first):
        try:
            for _ in range(14):
                world.change()
                if world.random.random() < 0.4:
                    world.undo()
                if world.random.random() < 0.1:
                    world.restore()
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        for name, number in world.counts.items():
            totals[name] = totals.get(name, 0) + number
    return totals


@pytest.mark.timeout(repeats(3_600, 300))
def test_random_changes_are_undone_exactly_or_refused() -> None:
    totals = run_sequences(repeats(400, 12))
    assert min(totals.values()) > 2
