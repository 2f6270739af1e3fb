"""What is committed is told to every receiver: once or more, and in order for each flag."""

from __future__ import annotations

import base64
import hashlib
import hmac
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import override_settings

from flagstaff import acting_as
from flagstaff._engine.impact import Difference
from flagstaff.changes import add_allowed_users, create, delete, disable, set_rollout, set_value
from flagstaff.exceptions import NoWebhooksError
from flagstaff.history import flag_history, forget_user, prune
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.webhooks import DeliveryReport, deliver, discard_failed, retry_failed
from flagstaff.webhooks.message import message_of
from tests.fake_workers import FakeWorker
from tests.webhooks import SECRET, Webhook, later

pytestmark = pytest.mark.django_db(transaction=True)


def rows(statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall()) if cursor.description else []


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


@pytest.fixture(autouse=True)
def shop() -> Iterator[None]:
    """Two flags, and nobody who is told of anything."""
    for key in ("new_checkout", "search_v2"):
        FeatureFlag.objects.create(key=key, enabled=True, rollout_percent=5)
    rows("TRUNCATE flagstaff_receiver, flagstaff_delivery")
    yield
    rows("TRUNCATE flagstaff_receiver, flagstaff_delivery")


@pytest.fixture(autouse=True)
def ops(shop: None, hook: Webhook) -> Iterator[None]:
    """One receiver, whose first tick was."""
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings()}}):
        deliver()
        yield


def told(**counts: Any) -> None:
    """What one tick does to the one receiver."""
    [found] = deliver()
    assert {name: getattr(found, name) for name in counts} == counts


def percents(hook: Webhook, key: str = "new_checkout") -> list[int]:
    """The rollouts that a receiver took, in their order."""
    data = [received.data for received in hook.taken]
    return [one["changes"]["rollout_percent"]["new"] for one in data if one["key"] == key]


@contextmanager
def ticking(gate: threading.Barrier | None = None) -> Iterator[None]:
    """A tick in another thread, which has ended when the block is left."""

    def run() -> None:
        if gate:
            gate.wait()
        try:
            deliver()
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


# What is told.


def test_change_is_told_with_all_that_is_known_of_it(hook: Webhook) -> None:
    alice = User.objects.create(username="alice")
    with acting_as(alice, reason="a quiet week", source="code"):
        changed = set_rollout("new_checkout", 50)
    told(delivered=1, failed_attempts=0, pending=0, failed=0, error=None)
    [received] = hook.taken
    message = received.json
    assert received.path == "/hooks/T0/B0/token"
    assert message["id"] == received.id
    assert message["type"] == "flag.changed"
    assert message["data"] | {"transaction_id": 0, "session_user": "", "impact": {}} == {
        "key": "new_checkout",
        "kind": "flag",
        "version": changed.version,
        "what": "rollout_percent 5 → 50",
        "changes": {"rollout_percent": {"old": 5, "new": 50}},
        "allowed": 0,
        "denied": 0,
        "who": "alice",
        "actor": str(alice.pk),
        "source": "code",
        "reason": "a quiet week",
        "session_user": "",
        "transaction_id": 0,
        "impact": {},
        "link": None,
    }


@pytest.mark.parametrize(
    ("before", "after", "gain", "lose"),
    [((True, 0), (True, 100), 20, 0), ((True, 100), (False, 100), 0, 20)],
)
def test_impact_is_how_many_users_notice(
    hook: Webhook, before: Any, after: Any, gain: int, lose: int
) -> None:
    User.objects.bulk_create(User(username=str(number)) for number in range(20))
    flags = FeatureFlag.objects.filter(key="new_checkout")
    flags.update(enabled=before[0], rollout_percent=before[1])
    flags.update(enabled=after[0], rollout_percent=after[1])
    told(delivered=2)
    assert hook.taken[-1].data["impact"] == {"users": 20, "gain": gain, "lose": lose}


def test_message_comes_without_an_impact_that_cannot_be_counted(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("flagstaff.webhooks.impact.difference", refuse)
    set_rollout("new_checkout", 50)
    told(delivered=1)
    assert hook.taken[0].data["impact"] is None


def test_receivers_share_what_was_counted(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def counted(key: str, *states: object, timeout: float) -> Difference:
        asked.append(key)
        return Difference(20, 1, 0)

    monkeypatch.setattr("flagstaff.webhooks.impact.difference", counted)
    with Webhook() as other:
        both = {"ops": hook.settings(), "other": other.settings()}
        with override_settings(FLAGSTAFF={"WEBHOOKS": both}):
            deliver()
            set_rollout("new_checkout", 50)
            deliver()
        told = [webhook.taken[0].data["impact"] for webhook in (hook, other)]
    assert told == [{"users": 20, "gain": 1, "lose": 0}] * 2
    assert asked == ["new_checkout"]


def test_counting_ends_with_the_time_of_a_tick(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    now = 0.0

    def counted(key: str, *states: object, timeout: float) -> Difference:
        nonlocal now
        given.append(timeout)
        now += timeout
        return Difference(20, 1, 0)

    monkeypatch.setattr("flagstaff.webhooks.impact.difference", counted)
    monkeypatch.setattr("flagstaff.webhooks.impact.time", SimpleNamespace(monotonic=lambda: now))
    for percent in (10, 20, 30):
        set_rollout("new_checkout", percent)
    told(delivered=3)
    assert given == [3.0, 2.0]
    assert hook.taken[2].data["impact"] is None


def test_message_leads_to_the_page_of_the_admin(hook: Webhook) -> None:
    flag = FeatureFlag.objects.get(key="new_checkout")
    webhooks = {"ops": hook.settings()}
    with override_settings(FLAGSTAFF={"WEBHOOKS": webhooks, "SITE_URL": "https://shop.example/"}):
        set_rollout("new_checkout", 50)
        deliver()
    page = f"/admin/flagstaff/featureflag/{flag.pk}/change/"
    assert hook.taken[0].data["link"] == f"https://shop.example{page}"


def test_link_is_one_that_the_admin_reads_as_the_primary_key_it_is() -> None:
    set_rollout("new_checkout", 50)
    event = replace(flag_history("new_checkout")[0], object_pk="beta_25")
    with override_settings(FLAGSTAFF={"SITE_URL": "https://shop.example"}):
        link = message_of(event, None).link
    assert link
    assert unquote(link.split("/")[-3]) == "beta_25"


def test_signature_is_that_of_standard_webhooks(hook: Webhook) -> None:
    set_rollout("new_checkout", 50)
    deliver()
    [received] = hook.taken
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{received.id}.{received.headers['webhook-timestamp']}.{received.body.decode()}"
    digest = hmac.new(key, signed.encode(), hashlib.sha256).digest()
    assert received.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"
    assert abs(int(received.headers["webhook-timestamp"]) - time.time()) < 60


def test_what_one_transaction_did_to_a_flag_is_one_message(hook: Webhook) -> None:
    bob = User.objects.create(username="bob")
    with transaction.atomic():
        set_rollout("new_checkout", 50)
        add_allowed_users("new_checkout", bob.pk)
        set_rollout("search_v2", 60)
    told(delivered=2)
    first, second = (received.data for received in hook.taken)
    assert (first["key"], first["allowed"]) == ("new_checkout", 1)
    assert (second["key"], second["allowed"]) == ("search_v2", 0)
    assert first["transaction_id"] == second["transaction_id"]


def test_two_hands_in_one_transaction_are_two_messages(hook: Webhook) -> None:
    with transaction.atomic():
        for percent, name in ((10, "alice"), (20, "bob"), (30, "alice")):
            with acting_as(name):
                set_rollout("new_checkout", percent)
    told(delivered=3)
    assert [received.data["who"] for received in hook.taken] == ["alice", "bob", "alice"]
    assert percents(hook) == [10, 20, 30]


def test_flag_that_comes_and_goes_is_told(hook: Webhook) -> None:
    create("one_click")
    delete("one_click")
    create("one_click")
    told(delivered=3)
    types = [received.json["type"] for received in hook.taken]
    assert types == ["flag.created", "flag.deleted", "flag.created"]


def test_slack_gets_its_own_shape(hook: Webhook) -> None:
    channel = {"url": hook.url, "format": "slack"}
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": channel}}):
        with acting_as("<deploy>", reason="release 42"):
            set_rollout("new_checkout", 50)
        told(delivered=1)
    [received] = hook.taken
    assert received.json["text"] == "new_checkout: rollout_percent 5 → 50, by &lt;deploy&gt;"
    assert "webhook-signature" not in received.headers


def test_change_from_elsewhere_is_told_with_who_was_connected(hook: Webhook) -> None:
    psql = FakeWorker()
    psql.query("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'search_v2'")
    psql.leave()
    told(delivered=1)
    assert hook.taken[0].data["actor"] is None
    assert hook.taken[0].data["who"].endswith("(database user)")


# What is never told.


def test_receiver_that_is_new_is_told_nothing_from_before(hook: Webhook) -> None:
    set_rollout("new_checkout", 50)
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"new": hook.settings()}}):
        assert [one.delivered for one in deliver() if one.host] == [0]
        set_rollout("new_checkout", 60)
        assert [one.delivered for one in deliver() if one.host] == [1]


def test_change_that_is_rolled_back_is_never_told(hook: Webhook) -> None:
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET enabled = false WHERE key = 'search_v2'")
    told(delivered=0, pending=0)
    other.query("ROLLBACK")
    told(delivered=0, pending=0)
    other.leave()


def test_secret_value_is_told_of_and_not_told(hook: Webhook) -> None:
    KeyValueStore.objects.create(key="mail_password", value="hunter2", secret=True)
    set_value("mail_password", "hunter3")
    deliver()
    assert hook.taken[-1].json["type"] == "value.changed"
    changes = hook.taken[-1].data["changes"]
    assert changes["value"] == {"old": None, "new": None, "secret": True}
    assert not [received for received in hook.taken if b"hunter" in received.body]


def test_allow_list_is_told_as_a_number(hook: Webhook) -> None:
    pks = [User.objects.create(pk=pk, username=str(pk)).pk for pk in (7100001, 7100002)]
    add_allowed_users("new_checkout", pks)
    deliver()
    assert hook.taken[0].data["allowed"] == 2
    assert b"710000" not in hook.taken[0].body


def test_what_was_pruned_is_not_told_and_said_so(hook: Webhook) -> None:
    hook.says(500)
    set_rollout("new_checkout", 50)
    set_rollout("new_checkout", 60)
    told(delivered=0, pending=2)
    prune(timedelta(0))
    hook.says(200)
    later()
    # The newest entry is the flag's version, and stays.
    told(delivered=1, expired=1, pending=0)
    assert percents(hook) == [60]


def test_user_who_was_forgotten_is_in_no_message_that_still_waits(hook: Webhook) -> None:
    gone = User.objects.create(pk=7100003, username="gone")
    hook.stop()
    with acting_as(gone):
        add_allowed_users("new_checkout", gone.pk)
    told(failed_attempts=1)
    gone.delete()
    forget_user(7100003)
    [[kept]] = rows("SELECT string_agg(to_jsonb(d)::text, '') FROM flagstaff_delivery AS d")
    assert "7100003" not in kept
    hook.start()
    later()
    deliver()
    assert len(hook.taken) == 2
    assert not [received for received in hook.taken if b"7100003" in received.body]


# Commits in another order than changes.


def test_change_that_commits_last_is_told_though_its_number_is_lower(hook: Webhook) -> None:
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'search_v2'")
    set_rollout("new_checkout", 50)
    told(delivered=1, pending=0)
    told(delivered=0, pending=0)
    other.query("COMMIT")
    other.leave()
    told(delivered=1, pending=0)
    told(delivered=0, pending=0)
    first, second = (received.data for received in hook.taken)
    assert (first["key"], second["key"]) == ("new_checkout", "search_v2")
    assert first["version"] > second["version"]


def test_change_that_commits_last_is_told_though_its_transaction_began_last_too(
    hook: Webhook,
) -> None:
    early, late = FakeWorker(), FakeWorker()
    for one in (early, late):
        one.query("BEGIN")
        one.query("SELECT pg_current_xact_id()")
    late.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'search_v2'")
    early.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'new_checkout'")
    early.query("COMMIT")
    told(delivered=1, pending=0)
    late.query("COMMIT")
    early.leave()
    late.leave()
    told(delivered=1, pending=0)
    told(delivered=0, pending=0)
    assert [received.data["key"] for received in hook.taken] == ["new_checkout", "search_v2"]


def test_entries_that_another_server_numbered_are_no_part_of_an_open_transaction(
    hook: Webhook,
) -> None:
    other = FakeWorker()
    other.query("BEGIN")
    other.query("UPDATE flagstaff_featureflag SET rollout_percent = 8 WHERE key = 'search_v2'")
    [(number,)] = other.query("SELECT pg_current_xact_id()::text::bigint")
    rows("UPDATE flagstaff_change SET transaction_id = %s", number)
    set_rollout("new_checkout", 50)
    told(delivered=1, pending=0)
    other.query("COMMIT")
    other.leave()
    told(delivered=1, pending=0)
    told(delivered=0, pending=0)
    assert [received.data["key"] for received in hook.taken] == ["new_checkout", "search_v2"]


@pytest.mark.parametrize("shift", [1_000_000_000, -1_000_000_000])
def test_history_of_another_server_is_not_told_again_and_what_is_new_is(
    hook: Webhook, shift: int
) -> None:
    set_rollout("new_checkout", 50)
    deliver()
    # A dump was read by a server whose transactions have other numbers.
    rows("UPDATE flagstaff_change SET transaction_id = transaction_id + %s", shift)
    rows("UPDATE flagstaff_receiver SET open_then = ARRAY[1, 2, 3]")
    told(delivered=0, pending=0)
    set_rollout("new_checkout", 60)
    told(delivered=1, pending=0)
    assert percents(hook) == [50, 60]


# Receivers that do not do as they should.


def test_receiver_that_is_down_is_told_when_it_is_back_in_order(hook: Webhook) -> None:
    hook.stop()
    for percent in (10, 20, 30):
        set_rollout("new_checkout", percent)
    # It is asked once, and then left alone.
    told(delivered=0, failed_attempts=1, pending=3, failed=0, error="connection refused")
    told(failed_attempts=0, pending=3)
    hook.start()
    later()
    told(delivered=3, pending=0)
    assert percents(hook) == [10, 20, 30]


def test_receiver_that_fails_keeps_only_the_same_flag_waiting(hook: Webhook) -> None:
    hook.answer = lambda got: (500 if got.data["key"] == "new_checkout" else 204, {})
    set_rollout("new_checkout", 10)
    set_rollout("search_v2", 10)
    set_rollout("new_checkout", 20)
    set_rollout("search_v2", 20)
    told(delivered=2, failed_attempts=1, pending=2, error="status 500")
    assert percents(hook, "search_v2") == [10, 20]
    hook.says(200)
    later()
    told(delivered=2, pending=0)
    assert percents(hook) == [10, 20]


def test_message_that_a_receiver_falls_over_keeps_no_other_flag_waiting(hook: Webhook) -> None:
    # As a proxy answers, whose program has died of what it was sent.
    hook.says(503)
    set_rollout("new_checkout", 10)
    set_rollout("search_v2", 20)
    for _ in range(2):
        later()
        told(failed_attempts=1, pending=2)
    hook.answer = lambda received: (503 if received.data["key"] == "new_checkout" else 200, {})
    set_rollout("search_v2", 30)
    later()
    deliver()
    later()
    told(failed_attempts=1, pending=1)
    assert percents(hook, "search_v2") == [20, 30]


def test_message_has_the_same_id_at_each_attempt(hook: Webhook) -> None:
    hook.says(500)
    set_rollout("new_checkout", 10)
    deliver()
    hook.says(200)
    later()
    deliver()
    first, second = hook.received
    assert first.id == second.id
    assert first.json == second.json


def test_receiver_that_hangs_costs_its_timeout_once(hook: Webhook) -> None:
    hook.hangs.set()
    for percent in range(10, 20):
        set_rollout("new_checkout", percent)
    began = time.monotonic()
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings(timeout=0.3)}}):
        told(delivered=0, failed_attempts=1, pending=10, error="no answer within 0.3 s")
    assert time.monotonic() - began < 3
    assert len(hook.received) == 1


def test_receiver_that_is_down_keeps_no_other_waiting(hook: Webhook) -> None:
    hook.hangs.set()
    with Webhook() as other:
        both = {"ops": hook.settings(timeout=2), "other": other.settings()}
        with override_settings(FLAGSTAFF={"WEBHOOKS": both}):
            deliver()
            set_rollout("new_checkout", 10)
            with ticking():
                assert other.asked.wait(5)
                assert hook.asked.wait(5)
                # One has it, and the other still hangs.
                assert len(other.received) == 1
                hook.released.set()


def test_receiver_that_asks_for_rest_in_nonsense_is_a_failure_like_others(hook: Webhook) -> None:
    hook.says(503, Retry_After="Fri, 20 Nov 99999999999999999999 08:18:00 GMT")
    set_rollout("new_checkout", 10)
    told(failed_attempts=1, pending=1, error="status 503")


def test_redirect_is_not_followed(hook: Webhook) -> None:
    with Webhook() as elsewhere:
        hook.says(307, Location=elsewhere.url)
        set_rollout("new_checkout", 10)
        told(delivered=0, failed_attempts=1, pending=1, error="status 307")
        assert elsewhere.received == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_receiver_that_asks_for_rest_has_it(hook: Webhook, status: int) -> None:
    hook.says(status, Retry_After="600")
    set_rollout("new_checkout", 10)
    set_rollout("search_v2", 10)
    told(failed_attempts=1, pending=2, error=f"status {status}")
    [[seconds]] = rows(
        "SELECT extract(epoch FROM paused_until - now())::int FROM flagstaff_receiver"
    )
    assert 590 <= seconds <= 600
    told(failed_attempts=0, pending=2)


def test_project_without_time_zones_is_no_other(hook: Webhook, settings: Any) -> None:
    settings.USE_TZ = False
    hook.says(503, Retry_After="Fri, 20 Nov 2099 08:18:00 GMT")
    set_rollout("new_checkout", 10)
    told(failed_attempts=1, pending=1, error="status 503")
    at = datetime.fromisoformat(hook.received[0].json["timestamp"])
    assert abs(at - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_receiver_that_says_gone_is_not_asked_again(hook: Webhook) -> None:
    hook.says(410)
    set_rollout("new_checkout", 10)
    told(failed_attempts=1, pending=0, failed=1, error="status 410")


def give_up() -> None:
    """Let what waits have waited for three days."""
    rows("UPDATE flagstaff_delivery SET taken_at = taken_at - interval '3 days'")


def test_message_that_nobody_takes_for_three_days_is_given_up_and_named(hook: Webhook) -> None:
    hook.says(500)
    set_rollout("new_checkout", 10)
    told(failed_attempts=1, pending=1, failed=0)
    give_up()
    later()
    told(failed_attempts=1, pending=0, failed=1)
    later()
    told(failed_attempts=0, failed=1)
    assert len(hook.received) == 2


def test_what_was_given_up_blocks_nobody_and_can_be_sent_again(hook: Webhook) -> None:
    hook.says(500)
    set_rollout("new_checkout", 10)
    deliver()
    give_up()
    later()
    told(failed=1)
    hook.says(200)
    set_rollout("new_checkout", 20)
    told(delivered=1, failed=1)
    assert retry_failed() == 1
    told(delivered=1, failed=0)
    assert percents(hook) == [20, 10]


def test_what_was_given_up_can_be_forgotten(hook: Webhook) -> None:
    hook.says(410)
    set_rollout("new_checkout", 10)
    told(failed=1)
    assert discard_failed() == 1
    told(failed=0, pending=0)


def test_receiver_that_is_killed_in_the_middle_has_every_message(hook: Webhook) -> None:
    answers = iter([200, 200, 500])

    def then_down(_: Any) -> tuple[int, dict[str, str]]:
        return next(answers), {}

    hook.answer = then_down
    for percent in range(10, 20):
        set_rollout("new_checkout", percent)
    told(delivered=2, failed_attempts=1, pending=8)
    hook.stop()
    later()
    told(delivered=0, failed_attempts=1, pending=8)
    hook.says(200)
    hook.start()
    later()
    told(delivered=8, pending=0)
    assert percents(hook) == list(range(10, 20))


def test_sender_that_dies_after_sending_sends_again_when_its_claim_is_over(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*arguments: object) -> None:
        raise Killed

    set_rollout("new_checkout", 10)
    set_rollout("new_checkout", 20)
    with monkeypatch.context() as patch:
        patch.setattr("flagstaff.webhooks.send.mark_delivered", die)
        with pytest.raises(Killed):
            deliver()
    told(delivered=0, pending=2)
    rows("UPDATE flagstaff_delivery SET claimed_until = now() - interval '1 second'")
    told(delivered=2, pending=0)
    assert percents(hook) == [10, 10, 20]
    assert hook.taken[0].id == hook.taken[1].id


def test_random_failures_leave_every_flag_in_order(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flagstaff.webhooks.impact._is_counted", lambda _: False)
    # What is due again is due at once, and in the same tick.
    monkeypatch.setattr("flagstaff.webhooks.send.wait", lambda *_: 0.0)
    dice = random.Random(20_261_120)
    failed: list[int] = []

    def as_the_dice_say(_: Any) -> tuple[int, dict[str, str]]:
        if len(failed) < 60 and dice.random() < 0.8:
            failed.append(dice.choice((500, 502, 404, 503, 429, 302)))
            return failed[-1], {}
        return 200, {}

    hook.answer = as_the_dice_say
    made: dict[str, list[int]] = {"new_checkout": [], "search_v2": []}
    for percent in range(10, 40):
        key = dice.choice(list(made))
        made[key].append(percent)
        FeatureFlag.objects.filter(key=key).update(rollout_percent=percent)
        if dice.random() < 0.3:
            deliver()
    told(pending=0)
    assert len(failed) == 60
    assert {key: percents(hook, key) for key in made} == made
    assert len({received.id for received in hook.taken}) == len(hook.taken)


# Ticks, and toggles, side by side.


def test_two_ticks_at_once_tell_each_change_once(hook: Webhook) -> None:
    for percent in range(10, 40):
        set_rollout(("new_checkout", "search_v2")[percent % 2], percent)
    gate = threading.Barrier(3)
    with ticking(gate), ticking(gate), ticking(gate):
        pass
    deliver()
    assert len({received.id for received in hook.taken}) == len(hook.taken) == 30
    assert percents(hook) == list(range(10, 40, 2))
    assert percents(hook, "search_v2") == list(range(11, 40, 2))


BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def test_tick_that_loses_a_race_tries_again_where_transactions_are_stricter(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook.stop()
    set_rollout("new_checkout", 10)
    strict = {"options": "-c default_transaction_isolation=serializable"}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", strict)
    other = FakeWorker()
    other.query("BEGIN")
    tick_of_another = "UPDATE flagstaff_receiver SET failures = failures + 1"
    monkeypatch.setattr(
        "flagstaff.webhooks.send.mark_failure", lambda *_, **__: other.query(tick_of_another)
    )
    with ticking():
        while rows(BLOCKED) != [(1,)]:
            pass
        other.query("COMMIT")
    other.leave()
    # Both have counted.
    assert rows("SELECT failures FROM flagstaff_receiver") == [(2,)]


def test_toggle_waits_for_no_tick_and_sends_nothing(hook: Webhook) -> None:
    hook.hangs.set()
    set_rollout("new_checkout", 10)

    with ticking():
        assert hook.asked.wait(5)
        # Not even for a moment.
        rows("SET lock_timeout = '1ms'")
        disable("new_checkout")
        FeatureFlag.objects.filter(key="new_checkout").update(rollout_percent=11)
        held = "state LIKE 'idle in%' AND datname = current_database()"
        assert rows(f"SELECT pid FROM pg_stat_activity WHERE {held}") == []
        assert len(hook.received) == 1
        hook.released.set()


@pytest.mark.parametrize("names", [[], ["ops"], ["ops", "deploys"]])
def test_tick_within_a_transaction_is_refused(hook: Webhook, names: list[str]) -> None:
    webhooks = {name: hook.settings() for name in names}
    with (
        override_settings(FLAGSTAFF={"WEBHOOKS": webhooks}),
        pytest.raises(RuntimeError),
        transaction.atomic(),
    ):
        deliver()


def test_there_is_nothing_to_tell_from_on_other_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "vendor", "sqlite")
    with pytest.raises(NoWebhooksError) as error:
        deliver()
    assert str(error.value) == (
        'database "default" has no outbox: it is kept on PostgreSQL, and "manage.py migrate" '
        "makes its tables"
    )


def test_receiver_that_left_the_settings_is_named_and_told_nothing(hook: Webhook) -> None:
    hook.stop()
    set_rollout("new_checkout", 10)
    deliver()
    with override_settings(FLAGSTAFF={}):
        assert deliver() == [DeliveryReport("ops", "", pending=1)]
