"""Threads that undo, rename, create, delete and toggle the same rows: nothing is lost."""

import json
import os
import random
from collections import Counter
from threading import Event, Lock

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError

from flagstaff import changes
from flagstaff._tables.database import DEADLOCK, sqlstate
from flagstaff.changes import undo
from flagstaff.changes.undo import entries_of_versions
from flagstaff.exceptions import FlagstaffError
from flagstaff.models import Change, FeatureFlag, KeyValueStore, Segment
from tests.support.concurrency import in_threads
from tests.support.shop import GERMAN
from tests.support.sql import rows

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

THREADS = 20
SECONDS = float(os.environ.get("FLAGSTAFF_TEST_SECONDS", "5"))
TABLES = {"f": "flagstaff_featureflag", "k": "flagstaff_keyvaluestore", "s": "flagstaff_segment"}
KEYS = [f"row_{number}" for number in range(6)]


class Torture:
    """What the threads do, and how often each of it succeeded."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.stop, self.lock = Event(), Lock()
        self.users = [User.objects.create(username=f"user{number}").pk for number in range(4)]

    def run(self, seed: int) -> None:
        draw = random.Random(seed)
        while not self.stop.is_set():
            name = draw.choice(
                ("undo", "undo", "undo several", "create", "delete", "write", "segment")
            )
            try:
                getattr(self, f"_{name.replace(' ', '_')}")(draw)
                result = name
            except FlagstaffError:
                result = f"{name} refused"
            except OperationalError as error:
                # PostgreSQL may end a change in the place of an undo, which would be retried.
                if sqlstate(error) != DEADLOCK:
                    raise
                result = f"{name} deadlock"
            with self.lock:
                self.counts[result] += 1

    def _undo(self, draw: random.Random, count: int = 1) -> None:
        newest = Change.objects.newest().values_list("pk", flat=True)[:30]
        chosen = draw.sample([*newest], min(count, len(newest)))
        undo(entries_of_versions(chosen), skip_conflicts=draw.random() < 0.5)

    def _undo_several(self, draw: random.Random) -> None:
        self._undo(draw, 6)

    def _create(self, draw: random.Random) -> None:
        changes.flags.create(draw.choice(KEYS), allowed_users=draw.sample(self.users, 2))

    def _delete(self, draw: random.Random) -> None:
        changes.flags.delete(draw.choice(KEYS))

    def _write(self, draw: random.Random) -> None:
        key = draw.choice(KEYS)
        rule = {"conditions": [{"segment": draw.choice(("one", "two"))}], "rollout_percent": 5}
        draw.choice(
            (
                lambda: changes.flags.enable(key),
                lambda: changes.flags.disable(key),
                lambda: changes.flags.set_rollout(key, draw.randrange(100)),
                lambda: changes.flags.update(key, {"owner": draw.choice("abc"), "rules": [rule]}),
                lambda: changes.flags.update(key, {"allowed_users": draw.sample(self.users, 2)}),
                lambda: changes.flags.update(key, {"key": draw.choice(KEYS)}),
                lambda: changes.values.set("limit", draw.randrange(100)),
            )
        )()

    def _segment(self, draw: random.Random) -> None:
        text = draw.choice("abc")
        changes.segments.update(draw.choice(("one", "two")), {"description": text})


def stored() -> dict[tuple[str, str], object]:
    """The rows, and the allowed users."""
    of_rows = " UNION ALL ".join(
        f"SELECT '{relation}', id::text, (to_jsonb(t) - 'changed_at')::text FROM {table} AS t"
        for relation, table in TABLES.items()
    )
    of_users = (
        "SELECT 'm', featureflag_id::text, jsonb_agg(user_id ORDER BY user_id)::text"
        f" FROM {TABLES['f']}_allowed_users GROUP BY featureflag_id"
    )
    stored_rows = rows(f"{of_rows} UNION ALL {of_users}")
    return {(relation, pk): json.loads(text) for relation, pk, text in stored_rows}


def replayed() -> dict[tuple[str, str], object]:
    """The rows and the allowed users as the entries add up to them."""
    rows_now: dict[tuple[str, str], object] = {}
    users: dict[str, set[int]] = {}
    for entry in Change.objects.order_by("pk"):
        if entry.relation == "m":
            of_flag = users.setdefault(entry.object_pk, set())
            assert of_flag.issuperset(entry.old), "a removal that was not there"
            assert of_flag.isdisjoint(entry.new), "an addition that was there"
            users[entry.object_pk] = of_flag - {*entry.old} | {*entry.new}
            continue
        place = entry.relation, entry.object_pk
        before = rows_now.get(place)
        assert _without_times(entry.old) == before, "a change that no entry has"
        rows_now[place] = _without_times(entry.new)
    lists = {("m", pk): sorted(of_flag) for pk, of_flag in users.items() if of_flag}
    return {place: row for place, row in rows_now.items() if row is not None} | lists


def _without_times(row: object) -> object:
    return row and {name: cell for name, cell in dict(row).items() if name != "changed_at"}  # type: ignore[call-overload]


def deadlocks() -> int:
    """How many deadlocks PostgreSQL has ended in this database, also those that were retried."""
    rows("SELECT pg_stat_force_next_flush()")
    [[count]] = rows("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)


def test_twenty_threads_lose_nothing_and_hardly_deadlock() -> None:
    FeatureFlag.objects.all().delete()
    KeyValueStore.objects.all().delete()
    Segment.objects.all().delete()
    Change.objects.all().delete()
    for key in ("one", "two"):
        changes.segments.create(key, [GERMAN])
    changes.values.create("limit", 1)
    for key in KEYS:
        changes.flags.create(key)
    torture, before = Torture(), deadlocks()

    def end() -> None:
        torture.stop.wait(SECONDS)
        torture.stop.set()

    in_threads(end, *((lambda seed=seed: torture.run(seed)) for seed in range(THREADS)))
    counts, total = torture.counts, sum(torture.counts.values())
    assert min(counts["undo"], counts["undo several"]) > 0
    # All that stands was recorded, and all that was recorded stands.
    assert replayed() == stored()
    assert deadlocks() - before <= max(1, total / 2_000)
