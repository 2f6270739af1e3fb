"""Random sequences of changes and undos, compared with what the tables held at each time.

The expected state comes from copies of the rows before and after each transaction, cell by cell:
neither from the history nor from the code that undoes.
"""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from flagstaff import changes
from flagstaff._tables.rows import Kind
from flagstaff.changes.undo import preview_undo, undo
from flagstaff.exceptions import ConflictError, InvalidChangeError
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.history import newest_entry
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


class Expected:
    """One row as an undo must leave it, taken back step by step from the newest one."""

    def __init__(self, row: Id, steps: list[Step], selected: set[int], present: Cells) -> None:
        self.columns, self.users = split(present)
        self.touched: set[str] = set()
        self.created: Cells = None
        self.is_lost = self.is_conflict = False
        #: The entries that a later undo has taken back, which created the row again.
        self.brought_back: set[int] = set()
        try:
            self.walk(row, steps, selected)
        except ConflictError:
            self.is_conflict = True
            self.columns, self.users = split(present)

    def walk(self, row: Id, steps: list[Step], selected: set[int]) -> None:
        for number in reversed(range(len(steps))):
            before, after = steps[number].before.get(row), steps[number].after.get(row)
            entries = steps[number].entries_of(row)
            if before == after:
                continue
            if number not in selected or self.brought_back & {entry.pk for entry in entries}:
                self.keep(before, after, entries)
            else:
                self.take_back(before, after)
        if self.is_lost or (self.columns is None and self.users):
            raise ConflictError

    @property
    def cells(self) -> Cells:
        return None if self.columns is None else {**self.columns, **dict.fromkeys(self.users, True)}

    def keep(self, before: Cells, after: Cells, entries: list[Change]) -> None:
        (old, old_users), (new, new_users) = split(before), split(after)
        self.touched |= old_users ^ new_users
        if old is None:
            self.touched.add("existence")
            self.created = new
            self.brought_back |= {pk for entry in entries for pk in entry.undone}
        elif new is None:
            self.touched |= {"existence"} | changed_cells(old, self.created or old)
        else:
            self.touched |= changed_cells(old, new)

    def take_back(self, before: Cells, after: Cells) -> None:
        (old, old_users), (new, new_users) = split(before), split(after)
        if new is None:
            if self.columns is not None or "existence" in self.touched:
                raise ConflictError
            self.columns = dict(old or {})
        changed = (old_users - new_users - self.users) | ((new_users - old_users) & self.users)
        if changed & self.touched:
            raise ConflictError
        self.users ^= changed
        if old is None:
            if self.columns is not None and self.touched:
                raise ConflictError
            self.columns, self.users, self.is_lost = None, set(), False
        elif new is not None:
            self._take_back_columns(old, new)

    def _take_back_columns(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        for name in changed_cells(old, new):
            if self.columns is None:
                self.is_lost = True
            elif self.columns[name] != old[name]:
                if name in self.touched or self.columns[name] != new[name]:
                    raise ConflictError
                self.columns[name] = old[name]


def split(cells: Cells) -> tuple[dict[str, Any] | None, set[str]]:
    """The columns, and the cells of the allowed users."""
    if cells is None:
        return None, set()
    users = {name for name in cells if name.startswith("user ")}
    return {name: cells[name] for name in cells.keys() - users}, users


class World:
    """Three keys, three users, and everything that happened."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.users = [user.pk for user in User.objects.order_by("pk")]
        self.steps: list[Step] = []
        self.counts: Counter[str] = Counter()

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
                lambda: rows(
                    "DELETE FROM flagstaff_featureflag_allowed_users WHERE featureflag_id = %s; "
                    "DELETE FROM flagstaff_featureflag WHERE id = %s",
                    pk,
                    pk,
                ),
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
            row: Expected(row, self.steps, self._selected(row, numbers), present.get(row))
            for row in rows
        }
        self._compare(present, entries, expected, skip=draw.random() < 0.5)

    def _selected(self, row: Id, numbers: list[int]) -> set[int]:
        return {number for number in numbers if self.steps[number].entries_of(row)}

    def _compare(
        self, present: State, entries: list[Change], expected: dict[Id, Expected], *, skip: bool
    ) -> None:
        newest, steps = newest_entry(), self.steps
        shown = {preview.id: preview for preview in preview_undo(entries)}
        assert (snapshot(), newest_entry()) == (present, newest), "a preview writes"
        try:
            done = undo(entries, skip_conflicts=skip)
        except ConflictError:
            assert snapshot() == present, "a refused undo writes"
            assert not skip
            taken = has_taken_key(present, expected)
            assert taken or any(row_after.is_conflict for row_after in expected.values()), (
                "no real conflict"
            )
            assert any(preview.problem for preview in shown.values())
            self.counts["conflicts"] += 1
            return
        except InvalidChangeError:
            # Two rows exchange their keys, or get the same one, which the database refuses.
            assert snapshot() == present
            assert len(expected) > 1
            return
        after = snapshot()
        refused = {undone.id for undone in done if undone.changed is None}
        for row in present.keys() | after.keys() | expected.keys():
            if row in refused and has_taken_key(present, expected):
                assert after.get(row) == present.get(row)
            elif row in expected:
                assert after.get(row) == expected[row].cells, row
            else:
                assert after.get(row) == present.get(row), "another row was changed"
        if not skip:
            assert not any(row_after.is_conflict for row_after in expected.values()), (
                "a conflict was lost"
            )
        for undone in done:
            state = undone.after.row
            assert (undone.id in after) == (state is not None)
            assert bool(shown[undone.id].problem) is bool(undone.problem)
        entries = list(Change.objects.filter(pk__gt=newest).order_by("pk"))
        steps.append(Step(present, after, entries))
        self.counts["undone"] += 1


def has_taken_key(present: State, expected: dict[Id, Expected]) -> bool:
    after = {**present, **{row: row_after.cells for row, row_after in expected.items()}}
    keys = [(row[0], cells["key"]) for row, cells in after.items() if cells is not None]
    return len(keys) > len(set(keys))


@pytest.mark.timeout(repeats(3_600, 300))
@pytest.mark.thorough
def test_random_changes_are_undone_exactly_or_refused() -> None:
    for name in ("ana", "bob", "eve"):
        User.objects.create(username=name)
    counts: Counter[str] = Counter()
    for seed in range(repeats(400, 6)):
        FeatureFlag.objects.all().delete()
        KeyValueStore.objects.all().delete()
        world = World(seed)
        try:
            for _ in range(14):
                world.change()
                if world.random.random() < 0.4:
                    world.undo()
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
        counts += world.counts
    assert min(counts["undone"], counts["conflicts"]) > 2
