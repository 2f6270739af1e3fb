"""Deliveries to receivers that fail: retries, pauses, order, and giving up."""

import random
import time
from typing import Any
from unittest.mock import Mock

import pytest
from django.test import override_settings

from flagstaff import changes
from flagstaff.contrib.webhooks import deliver, discard_failed, retry_failed
from flagstaff.models import FeatureFlag
from tests.support.sql import rows
from tests.support.webhooks import Webhook, assert_delivered, deliver_in_thread, make_due, percents
from tools.limits import seconds

pytestmark = pytest.mark.django_db(transaction=True)


def test_receiver_back_after_an_outage_gets_its_messages_in_order(hook: Webhook) -> None:
    hook.stop()
    for percent in (10, 20, 30):
        changes.flags.set_rollout("new_checkout", percent)
    # One attempt, then the receiver is paused.
    assert_delivered(delivered=0, failed_attempts=1, pending=3, last_error="Connection refused")
    assert_delivered(failed_attempts=0, pending=3)
    hook.start()
    make_due()
    assert_delivered(delivered=3, pending=0)
    assert percents(hook) == [10, 20, 30]


def test_refused_message_blocks_only_its_flag_and_is_repeated_with_its_id(hook: Webhook) -> None:
    hook.respond = lambda received: (500 if received.data["key"] == "new_checkout" else 204, {})
    for percent in (10, 20):
        for key in ("new_checkout", "search_v2"):
            changes.flags.set_rollout(key, percent)
    assert_delivered(delivered=2, failed_attempts=1, pending=2, last_error="status 500")
    assert percents(hook, "search_v2") == [10, 20]
    hook.respond_with(200)
    make_due()
    assert_delivered(delivered=2, pending=0)
    assert percents(hook) == [10, 20]
    refused, repeated, _ = (
        request for request in hook.received if request.data["key"] == "new_checkout"
    )
    assert (refused.id, refused.json) == (repeated.id, repeated.json)


def test_message_that_crashes_the_receiver_blocks_only_its_flag(hook: Webhook) -> None:
    # The response of a proxy whose server crashed on the message.
    hook.respond_with(503)
    changes.flags.set_rollout("new_checkout", 10)
    changes.flags.set_rollout("search_v2", 20)
    for _ in range(2):
        make_due()
        assert_delivered(failed_attempts=1, pending=2)
    hook.respond = lambda received: (503 if received.data["key"] == "new_checkout" else 200, {})
    changes.flags.set_rollout("search_v2", 30)
    make_due()
    deliver()
    make_due()
    assert_delivered(failed_attempts=1, pending=1)
    assert percents(hook, "search_v2") == [20, 30]


def test_redirect_is_not_followed(hook: Webhook) -> None:
    with Webhook() as target:
        hook.respond_with(307, Location=target.url)
        changes.flags.set_rollout("new_checkout", 10)
        assert_delivered(delivered=0, failed_attempts=1, pending=1, last_error="status 307")
        assert target.received == []


@pytest.mark.thorough
def test_random_failures_keep_the_order_of_each_flag(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each retry is due at once, in the same run.
    monkeypatch.setattr("flagstaff.contrib.webhooks.delivering.retry_delay", lambda _: 0.0)
    monkeypatch.setattr("flagstaff.contrib.webhooks.http.pause_of", lambda _: 0.0)
    dice = random.Random(20_261_120)
    statuses: list[int] = []

    def fail_at_random(_: Any) -> tuple[int, dict[str, str]]:
        if len(statuses) < 60 and dice.random() < 0.8:
            statuses.append(dice.choice((500, 502, 404, 503, 429, 302)))
            return statuses[-1], {}
        return 200, {}

    hook.respond = fail_at_random
    written: dict[str, list[int]] = {"new_checkout": [], "search_v2": []}
    for percent in range(10, 40):
        key = dice.choice(list(written))
        written[key].append(percent)
        FeatureFlag.objects.filter(key=key).update(rollout_percent=percent)
        if dice.random() < 0.3:
            deliver()
    assert_delivered(pending=0)
    assert len(statuses) == 60
    assert {key: percents(hook, key) for key in written} == written
    assert len({received.id for received in hook.accepted}) == len(hook.accepted)


def test_hanging_receiver_costs_one_timeout_per_run(hook: Webhook) -> None:
    hook.hangs.set()
    for percent in range(10, 20):
        changes.flags.set_rollout("new_checkout", percent)
    began = time.monotonic()
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": hook.settings(timeout=0.3)}}):
        assert_delivered(failed_attempts=1, pending=10, last_error="no response within 0.3 s")
    assert time.monotonic() - began < seconds(3)
    assert len(hook.received) == 1


def test_hanging_receiver_does_not_delay_another(hook: Webhook) -> None:
    hook.hangs.set()
    with Webhook() as other:
        both = {"ops": hook.settings(timeout=2), "other": other.settings()}
        with override_settings(FLAGSTAFF={"WEBHOOKS": both}):
            deliver()
            changes.flags.set_rollout("new_checkout", 10)
            with deliver_in_thread():
                assert other.requested.wait(5)
                assert hook.requested.wait(5)
                # The other has its message while the first still hangs.
                assert len(other.received) == 1
                hook.released.set()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_pauses_the_receiver(hook: Webhook, status: int) -> None:
    hook.respond_with(status, Retry_After="600")
    changes.flags.set_rollout("new_checkout", 10)
    changes.flags.set_rollout("search_v2", 10)
    assert_delivered(failed_attempts=1, pending=2, last_error=f"status {status}")
    [[pause]] = rows(
        "SELECT extract(epoch FROM paused_until - now()) FROM flagstaff_webhooks_position"
    )
    assert 590 <= pause <= 600
    assert_delivered(failed_attempts=0, pending=2)


def test_status_410_gives_up_at_once_and_can_be_discarded(hook: Webhook) -> None:
    hook.respond_with(410)
    changes.flags.set_rollout("new_checkout", 10)
    assert_delivered(failed_attempts=1, pending=0, failed=1, last_error="status 410")
    assert discard_failed() == 1
    assert_delivered(failed=0, pending=0)


def test_message_refused_for_three_days_is_given_up_and_can_be_retried(hook: Webhook) -> None:
    hook.respond_with(500)
    changes.flags.set_rollout("new_checkout", 10)
    assert_delivered(failed_attempts=1, pending=1, failed=0)
    rows("UPDATE flagstaff_webhooks_delivery SET queued_at = queued_at - interval '3 days'")
    make_due()
    assert_delivered(failed_attempts=1, pending=0, failed=1)
    make_due()
    assert_delivered(failed_attempts=0, failed=1)
    assert len(hook.received) == 2
    # It blocks nothing.
    hook.respond_with(200)
    changes.flags.set_rollout("new_checkout", 20)
    assert_delivered(delivered=1, failed=1)
    assert retry_failed() == 1
    assert_delivered(delivered=1, failed=0)
    assert percents(hook) == [20, 10]


def test_sender_killed_after_sending_sends_again_when_its_claim_expires(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes.flags.set_rollout("new_checkout", 10)
    changes.flags.set_rollout("new_checkout", 20)
    with monkeypatch.context() as patch:
        patch.setattr("flagstaff.contrib.webhooks.delivering.delete", Mock(side_effect=SystemExit))
        with pytest.raises(SystemExit):
            deliver()
    assert_delivered(delivered=0, pending=2)
    rows("UPDATE flagstaff_webhooks_delivery SET claim_expires_at = now() - interval '1 second'")
    assert_delivered(delivered=2, pending=0)
    assert percents(hook) == [10, 10, 20]
    assert hook.accepted[0].id == hook.accepted[1].id
