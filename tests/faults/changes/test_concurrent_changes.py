"""Two concurrent writers of one flag, each with the version that it read."""

import os
import threading
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import acting_as, changes
from flagstaff.changes import Changed
from flagstaff.exceptions import ConflictError
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag
from tests.support.repeats import repeats

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

# TWO_WRITERS=10000 runs more changes, in about 15 minutes.
CHANGES = int(os.environ.get("TWO_WRITERS") or repeats(1_000, 200))
KEY = "new_checkout"


class Writer(threading.Thread):
    """Reads the version, and then changes the flag if it still has this version."""

    def __init__(self, name: str, users: list[int], count: int) -> None:
        super().__init__(name=name)
        self.users, self.count = users, count
        #: The version that each change expected, and the version that it made.
        self.written: list[tuple[int, int]] = []
        self.conflicts: list[ConflictError] = []
        self.unchanged = 0
        self.error: BaseException | None = None
        self.random = Random(name)

    def run(self) -> None:
        try:
            while len(self.written) + len(self.conflicts) + self.unchanged < self.count:
                self.change()
        except BaseException as error:  # noqa: BLE001 (the test reports it)
            self.error = error
        finally:
            connection.close()

    def change(self) -> None:
        version = flag_version(KEY)
        assert version is not None
        # Sometimes twice with the same version: the second must be a conflict.
        for _ in range(self.random.choice([1, 1, 2])):
            self.attempt(version)

    def attempt(self, version: int) -> None:
        try:
            with acting_as(self.name):
                changed = self.random_change(version)
        except ConflictError as error:
            self.conflicts.append(error)
            return
        if changed.written:
            self.written.append((version, changed.version or 0))
        else:
            self.unchanged += 1

    def random_change(self, version: int) -> Changed:
        random, users = self.random, self.random.sample(self.users, 2)
        several: list[Callable[[], Changed]] = [
            lambda: random.choice((changes.flags.enable, changes.flags.disable))(
                KEY, expect_version=version
            ),
            lambda: changes.flags.set_rollout(KEY, random.randint(0, 100), expect_version=version),
            lambda: changes.flags.allow(KEY, users, expect_version=version),
            lambda: changes.flags.disallow(KEY, users, expect_version=version),
            lambda: changes.flags.update(
                KEY, {"description": str(random.random())}, expect_version=version
            ),
        ]
        return random.choice(several)()


@pytest.mark.smoke
def test_concurrent_changes_are_written_once_or_raise_conflict() -> None:
    Change.objects.all().delete()
    created = User.objects.bulk_create([User(username=f"guest{n}") for n in range(8)])
    changes.flags.create(KEY)
    first = flag_version(KEY)
    users = [user.pk for user in created]
    writers = [Writer(name, users, CHANGES // 2) for name in ("ana", "ben")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.error for writer in writers] == [None, None]
    written = sorted(pair for writer in writers for pair in writer.written)
    conflicts = [error for writer in writers for error in writer.conflicts]

    # Each change was written over the one before it, with no other in between.
    versions = [first, *(version for _, version in written)]
    assert [expected for expected, _ in written] == versions[:-1]
    assert flag_version(KEY) == versions[-1]

    # All of them are in the history, with their actor.
    actors = dict(Change.objects.filter(id__gt=first).values_list("id", "actor"))
    for writer in writers:
        assert {actors[version] for _, version in writer.written} == {writer.name}
    assert len(actors) == len(written)

    # Each conflict expected an old version and names an existing newer one.
    assert conflicts
    assert all((error.expected or 0) < (error.actual or 0) for error in conflicts)
    assert {error.actual for error in conflicts} | {error.expected for error in conflicts} <= {
        *versions
    }
    newest_events: list[Any] = [error.newer[0] for error in conflicts]
    assert [event.version for event in newest_events] == [error.actual for error in conflicts]

    # The flag is what its history says.
    newest: Any = Change.objects.filter(relation="f").latest("id").new
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent, flag.description) == (
        *(newest["enabled"], newest["rollout_percent"]),
        newest["description"],
    )
    assert len(written) + len(conflicts) + sum(writer.unchanged for writer in writers) >= CHANGES
