"""The delivery queue: each committed event once, whatever the order of commits and runs."""

import threading

import pytest
from django.db import connection, transaction
from django.test import override_settings

from flagstaff import changes
from flagstaff.contrib.webhooks import DeliveryReport, deliver
from flagstaff.exceptions import NoHistoryError
from flagstaff.models import FeatureFlag
from tests.support.fake_workers import FakeWorker
from tests.support.sql import rows
from tests.support.webhooks import Webhook, assert_delivered, deliver_in_thread, percents

pytestmark = pytest.mark.django_db(transaction=True)


def test_new_receiver_gets_no_earlier_changes(hook: Webhook) -> None:
    changes.flags.set_rollout("new_checkout", 50)
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"new": hook.settings()}}):
        assert [report.delivered for report in deliver() if report.host] == [0]
        changes.flags.set_rollout("new_checkout", 60)
        assert [report.delivered for report in deliver() if report.host] == [1]


def test_removed_receiver_is_reported_and_gets_nothing(hook: Webhook) -> None:
    hook.stop()
    changes.flags.set_rollout("new_checkout", 10)
    deliver()
    with override_settings(FLAGSTAFF={}):
        assert deliver() == [DeliveryReport("ops", "", pending=1, last_error="Connection refused")]


def test_change_of_a_table_that_is_not_watched_is_not_sent(hook: Webhook) -> None:
    # As the former table of a project that has moved to other models.
    rows(
        "CREATE TABLE former (id bigint, key text); "
        "CREATE TRIGGER flagstaff_history_insert_v1 "
        "AFTER INSERT ON former REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION flagstaff_row_history_v1('f', 'id', 'key', '')"
    )
    try:
        rows("INSERT INTO former VALUES (1, 'new_checkout')")
        changes.flags.set_rollout("new_checkout", 60)
        assert_delivered(delivered=1, pending=0)
        assert percents(hook) == [60]
    finally:
        rows("DROP TABLE former")


def test_rolled_back_change_is_never_sent() -> None:
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'search_v2'")
    assert_delivered(delivered=0, pending=0)
    other.query("ROLLBACK")
    assert_delivered(delivered=0, pending=0)
    other.leave()


def test_late_commit_with_a_lower_entry_id_is_sent(hook: Webhook) -> None:
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'search_v2'")
    changes.flags.set_rollout("new_checkout", 50)
    assert_delivered(delivered=1, pending=0)
    assert_delivered(delivered=0, pending=0)
    other.query("COMMIT")
    other.leave()
    assert_delivered(delivered=1, pending=0)
    assert_delivered(delivered=0, pending=0)
    first, second = (received.data for received in hook.accepted)
    assert (first["key"], second["key"]) == ("new_checkout", "search_v2")
    assert first["version"] > second["version"]


def test_late_commit_of_the_newest_transaction_is_sent(hook: Webhook) -> None:
    early, late = FakeWorker(), FakeWorker()
    for session in (early, late):
        session.query("BEGIN")
        session.query("SELECT pg_current_xact_id()")
    late.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'search_v2'")
    early.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'new_checkout'")
    early.query("COMMIT")
    assert_delivered(delivered=1, pending=0)
    late.query("COMMIT")
    early.leave()
    late.leave()
    assert_delivered(delivered=1, pending=0)
    assert_delivered(delivered=0, pending=0)
    assert [received.data["key"] for received in hook.accepted] == ["new_checkout", "search_v2"]


# A history that comes from another server.


@pytest.mark.parametrize("shift", [1_000_000_000, -1_000_000_000])
def test_restored_history_is_not_sent_again_and_new_changes_are(hook: Webhook, shift: int) -> None:
    changes.flags.set_rollout("new_checkout", 50)
    deliver()
    # A dump was restored on a server with other transaction numbers.
    rows("UPDATE flagstaff_change SET transaction_id = transaction_id + %s", shift)
    rows("UPDATE flagstaff_webhooks_position SET open_transactions = '[1, 2, 3]'")
    assert_delivered(delivered=0, pending=0)
    changes.flags.set_rollout("new_checkout", 60)
    assert_delivered(delivered=1, pending=0)
    assert percents(hook) == [50, 60]


def test_concurrent_runs_send_each_change_once(hook: Webhook) -> None:
    for percent in range(10, 40):
        changes.flags.set_rollout(("new_checkout", "search_v2")[percent % 2], percent)
    gate = threading.Barrier(3)
    with deliver_in_thread(gate), deliver_in_thread(gate), deliver_in_thread(gate):
        pass
    deliver(seconds=600)
    assert len({received.id for received in hook.accepted}) == len(hook.accepted) == 30
    assert percents(hook) == list(range(10, 40, 2))
    assert percents(hook, "search_v2") == list(range(11, 40, 2))


def test_change_during_a_run_waits_for_no_lock_and_sends_nothing(hook: Webhook) -> None:
    hook.hangs.set()
    changes.flags.set_rollout("new_checkout", 10)
    with deliver_in_thread():
        assert hook.requested.wait(5)
        # Any wait for a lock would fail.
        rows("SET lock_timeout = '1ms'")
        changes.flags.disable("new_checkout")
        FeatureFlag.objects.filter(key="new_checkout").update(rollout_percent=11)
        idle = "state LIKE 'idle in%' AND datname = current_database()"
        assert rows(f"SELECT pid FROM pg_stat_activity WHERE {idle}") == []
        assert len(hook.received) == 1
        hook.released.set()


@pytest.mark.parametrize("names", [[], ["ops"], ["ops", "deploys"]])
def test_run_inside_a_transaction_is_refused(hook: Webhook, names: list[str]) -> None:
    webhooks = {name: hook.settings() for name in names}
    with (
        override_settings(FLAGSTAFF={"WEBHOOKS": webhooks}),
        pytest.raises(RuntimeError),
        transaction.atomic(),
    ):
        deliver()


def test_run_on_another_database_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    with pytest.raises(NoHistoryError) as error:
        deliver()
    assert str(error.value) == (
        'history is not available in database "default"; use PostgreSQL and run "manage.py migrate"'
    )
