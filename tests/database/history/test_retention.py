"""What is deleted from the history: old entries, and the traces of a user."""

from contextlib import closing
from datetime import timedelta

import pytest
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
    segment_version,
    value_version,
)
from flagstaff.history.describe import describe_change
from flagstaff.models import Change, FeatureFlag
from tests.support.history import flag_history
from tests.support.shop import Shop
from tests.support.sql import rows

# Each change is a transaction of its own, as in production.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("empty_history")]


@pytest.mark.usefixtures("flag")
def test_prune_deletes_old_entries_and_keeps_versions_and_newer_entries(shop: Shop) -> None:
    shop.value()
    changes.flags.create("banner")
    changes.flags.delete("banner")
    segment = changes.segments.update(shop.segment().key, {"description": "DE"}).version
    for percent in (1, 2, 3):
        changes.flags.set_rollout("new_checkout", percent)
    version = flag_version("new_checkout")
    Change.objects.update(at=timezone.now() - timedelta(days=100))
    assert prune(timedelta(days=200)) == 0
    count = Change.objects.count()
    assert prune(timedelta(days=90)) == count - 3
    assert (flag_version("new_checkout"), segment_version("enterprise")) == (version, segment)
    assert value_version("payment_gateway")
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
    Change.objects.update(at=timezone.now() - timedelta(days=100))
    with closing(connection.copy()) as other, other.cursor() as cursor:
        other.set_autocommit(False)
        cursor.execute("SELECT FROM flagstaff_change ORDER BY id LIMIT 1 FOR UPDATE")
        rows("SET lock_timeout = '5s'")
        with CaptureQueriesContext(connection) as queries:
            # Of seven entries, the newest stays, too.
            assert prune(timedelta(days=90)) == 5
        rows("RESET lock_timeout")
    assert [query["sql"] for query in queries].count("COMMIT") == 4


@pytest.mark.usefixtures("flag")
def test_forget_user_removes_actor_and_allowed_user(shop: Shop) -> None:
    with acting_as(shop.user("alice")):
        changes.flags.allow("new_checkout", 2)
    with acting_as(shop.user("bob")):
        changes.flags.set_rollout("new_checkout", 50)
    shop.user("alice").delete()
    assert forget_user(1) == 3
    assert forget_user(1) == 0
    entries = list(Change.objects.values_list("actor", "old", "new"))
    assert "1" not in {actor for actor, _, _ in entries}
    assert not any(1 in side for _, *sides in entries for side in sides if isinstance(side, list))
    assert [event.actor for event in flag_history("new_checkout")].count("2") == 1
    newest = flag_history("new_checkout")[0]
    assert describe_change(newest) == "details were removed from the history"
