"""What is deleted from the history: old entries, and the traces of a user."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flagstaff import acting_as, changes
from flagstaff.history import (
    Difference,
    flag_version,
    forget_user,
    prune,
    retention,
    value_version,
)
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, FeatureFlag, KeyValueStore
from tests.support.flag_fixtures import flag, gateway
from tests.support.history import flag_history
from tests.support.sql import rows

__all__ = ["flag", "gateway"]

# Each change is a transaction of its own, as in production.
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("empty_history"),
]


def age(days: int, version: int | None) -> None:
    """Makes all entries up to this version look old."""
    Change.objects.filter(id__lte=version).update(at=timezone.now() - timedelta(days=days))


def test_prune_deletes_old_entries_and_keeps_versions_and_newer_entries(
    flag: FeatureFlag, gateway: KeyValueStore
) -> None:
    changes.flags.create("banner")
    changes.flags.delete("banner")
    for percent in (1, 2, 3):
        changes.flags.set_rollout("new_checkout", percent)
    version = flag_version("new_checkout")
    age(100, version)
    assert prune(timedelta(days=200)) == 0
    count = Change.objects.count()
    assert prune(timedelta(days=90)) == count - 2
    assert flag_version("new_checkout") == version
    assert value_version("gateway")
    assert prune(timedelta(days=90)) == 0
    changes.flags.set_rollout("new_checkout", 4)
    assert prune(timedelta(days=90)) == 1
    [left] = flag_history("new_checkout")
    assert left.differences == (Difference("rollout_percent", 3, 4),)


def test_prune_commits_each_batch_and_leaves_locked_entries(
    flag: FeatureFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_BATCH", 2)
    Change.objects.all().delete()
    for percent in range(1, 8):
        changes.flags.set_rollout("new_checkout", percent)
    age(100, flag_version("new_checkout"))
    with closing(connection.copy()) as other, other.cursor() as cursor:
        other.set_autocommit(False)
        cursor.execute("SELECT FROM flagstaff_change ORDER BY id LIMIT 1 FOR UPDATE")
        rows("SET lock_timeout = '5s'")
        with CaptureQueriesContext(connection) as queries:
            # Of seven entries, the newest stays, too.
            assert prune(timedelta(days=90)) == 5
        rows("RESET lock_timeout")
    assert [one["sql"] for one in queries].count("COMMIT") == 4


def test_forget_user_removes_actor_and_allowed_user(
    flag: FeatureFlag, alice: User, bob: User
) -> None:
    with acting_as(alice):
        changes.flags.allow("new_checkout", bob)
    with acting_as(bob):
        changes.flags.set_rollout("new_checkout", 50)
    pk = alice.pk
    alice.delete()
    assert forget_user(pk) == 3
    assert forget_user(pk) == 0
    entries = list(Change.objects.values_list("actor", "old", "new"))
    assert str(pk) not in {actor for actor, _, _ in entries}
    assert not any(pk in side for _, *sides in entries for side in sides if isinstance(side, list))
    assert [event.actor for event in flag_history("new_checkout")].count(str(bob.pk)) == 1
    newest = flag_history("new_checkout")[0]
    assert describe_change(newest) == "details were removed from the history"
