"""Two writers on one flag, who look first and then change what they saw."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import acting_as
from flagstaff.changes import (
    Changed,
    add_allowed_users,
    create,
    disable,
    enable,
    remove_allowed_users,
    set_rollout,
    update,
)
from flagstaff.exceptions import ConflictError
from flagstaff.history import flag_version
from flagstaff.models import Change, FeatureFlag
from tests.repeats import repeats

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(1800)]

# TWO_WRITERS=10000 says how many; so many take a quarter of an hour.
CHANGES = int(os.environ.get("TWO_WRITERS") or repeats(1_000, 200))
KEY = "new_checkout"


class Writer(threading.Thread):
    """Looks, and then changes what it saw."""

    def __init__(self, name: str, users: list[int], count: int) -> None:
        super().__init__(name=name)
        self.users, self.count = users, count
        #: The version that each change saw, and the one that it made.
        self.made: list[tuple[int, int]] = []
        self.refused: list[ConflictError] = []
        self.same = 0
        self.error: BaseException | None = None
        self.chance = random.Random(name)

    def run(self) -> None:
        try:
            while len(self.made) + len(self.refused) + self.same < self.count:
                self.change()
        except BaseException as error:  # noqa: BLE001 (told by the test)
            self.error = error
        finally:
            connection.close()

    def change(self) -> None:
        seen = flag_version(KEY)
        assert seen is not None
        # At times more than once over the same version: the second must be refused.
        for _ in range(self.chance.choice([1, 1, 2])):
            self.attempt(seen)

    def attempt(self, seen: int) -> None:
        try:
            with acting_as(self.name):
                changed = self.something(seen)
        except ConflictError as error:
            self.refused.append(error)
            return
        if changed.written:
            self.made.append((seen, changed.version or 0))
        else:
            self.same += 1

    def something(self, seen: int) -> Changed:
        chance, people = self.chance, self.chance.sample(self.users, 2)
        changes: list[Callable[[], Changed]] = [
            lambda: chance.choice((enable, disable))(KEY, expect_version=seen),
            lambda: set_rollout(KEY, chance.randint(0, 100), expect_version=seen),
            lambda: add_allowed_users(KEY, people, expect_version=seen),
            lambda: remove_allowed_users(KEY, people, expect_version=seen),
            lambda: update(KEY, {"description": str(chance.random())}, expect_version=seen),
        ]
        return chance.choice(changes)()


def test_nothing_is_lost_and_every_refusal_is_right() -> None:
    Change.objects.all().delete()
    crowd = User.objects.bulk_create([User(username=f"guest{n}") for n in range(8)])
    create(KEY)
    born = flag_version(KEY)
    users = [user.pk for user in crowd]
    writers = [Writer(name, users, CHANGES // 2) for name in ("ana", "ben")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.error for writer in writers] == [None, None]
    made = sorted(pair for writer in writers for pair in writer.made)
    refused = [error for writer in writers for error in writer.refused]

    # Each change stands on the one before it, with nobody's in between.
    versions = [born, *(version for _, version in made)]
    assert [expected for expected, _ in made] == versions[:-1]
    assert flag_version(KEY) == versions[-1]

    # All of them are in the history, by the right hand.
    told = dict(Change.objects.filter(id__gt=born).values_list("id", "actor"))
    for writer in writers:
        assert {told[version] for _, version in writer.made} == {writer.name}
    assert len(told) == len(made)

    # A refusal was of a version that was old, for one that was there.
    assert refused
    assert all((error.expected or 0) < (error.actual or 0) for error in refused)
    assert {error.actual for error in refused} | {error.expected for error in refused} <= {
        *versions
    }
    assert all(error.newer[0].version == error.actual for error in refused)

    # And the flag is what its history says.
    newest: Any = Change.objects.filter(relation="f").latest("id").new
    flag = FeatureFlag.objects.get()
    assert (flag.enabled, flag.rollout_percent, flag.description) == (
        *(newest["enabled"], newest["rollout_percent"]),
        newest["description"],
    )
    assert len(made) + len(refused) + sum(writer.same for writer in writers) >= CHANGES
