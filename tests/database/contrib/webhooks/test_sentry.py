"""Messages in the format of Sentry's generic provider."""

import hmac
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from flagstaff import acting_as, changes
from flagstaff.contrib.webhooks import deliver
from tests.support.conditions import condition
from tests.support.fake_workers import FakeWorker
from tests.support.segment_rules import rules
from tests.support.webhooks import Webhook, assert_delivered, make_due

SECRET = "0123456789abcdef0123456789abcdef"

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _sentry(_configured: None, hook: Webhook) -> Iterator[None]:
    options = {"url": hook.url, "secret": SECRET, "format": "sentry"}
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": options}}):
        yield


def records(hook: Webhook) -> list[Any]:
    """Delivers all messages, and returns the records of all accepted ones."""
    deliver()
    return [record for received in hook.accepted for record in received.data]


def test_message_has_one_record_and_the_signature_of_its_body(hook: Webhook) -> None:
    alice = User.objects.create(username="alice", email="alice@example.com")
    with acting_as(alice, reason="a quiet week"):
        changed = changes.flags.set_rollout("new_checkout", 50)
    assert_delivered(delivered=1)
    [received] = hook.accepted
    signature = hmac.new(SECRET.encode(), received.body, "sha256").hexdigest()
    assert received.headers["x-sentry-signature"] == signature
    assert received.headers["content-type"] == "application/json"
    assert not [name for name in received.headers if name.startswith("webhook-")]
    at = datetime.fromisoformat(received.data[0]["created_at"])
    assert abs(at - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert received.json == {
        "meta": {"version": 1},
        "data": [
            {
                "action": "updated",
                "change_id": changed.version,
                "created_at": at.isoformat(timespec="seconds"),
                "created_by": {"id": str(alice.pk), "type": "id"},
                "flag": "new_checkout",
            }
        ],
    }


def test_created_and_deleted_flags_have_their_actions(hook: Webhook) -> None:
    changes.flags.create("one_click")
    changes.flags.delete("one_click")
    actions_and_flags = [(record["action"], record["flag"]) for record in records(hook)]
    assert actions_and_flags == [("created", "one_click"), ("deleted", "one_click")]


def test_retried_message_has_the_same_records(hook: Webhook) -> None:
    hook.respond_with(500)
    changes.flags.set_rollout("new_checkout", 50)
    assert_delivered(failed_attempts=1)
    hook.respond_with(200)
    make_due()
    assert_delivered(delivered=1)
    first, second = (received.data for received in hook.received)
    assert first == second


def test_names_and_addresses_of_people_are_never_sent(hook: Webhook) -> None:
    for key, actor in (("a", "alice"), ("b", "alice@example.com")):
        with acting_as(actor, source="command"):
            changes.flags.create(key)
    psql = FakeWorker()
    psql.query("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'search_v2'")
    psql.leave()
    actors = [tuple(record["created_by"].values()) for record in records(hook)]
    assert actors == [("command", "name"), ("command", "name"), ("database", "name")]
    assert not [received for received in hook.accepted if b"alice" in received.body]


def test_changed_conditions_of_a_segment_have_a_record_for_each_flag(hook: Webhook) -> None:
    changes.segments.create("team", [condition("is_staff", "in", True)])
    keys = [f"f{number:02}" for number in range(52)]
    for key in keys:
        changes.flags.create(key, rules=rules("team"))
    # A busy machine sends forty messages in the usual time.
    deliver(seconds=600)
    hook.accepted.clear()
    changes.segments.update("team", {"conditions": [condition("is_superuser", "in", True)]})
    sent = records(hook)
    assert [record["flag"] for record in sent] == keys
    assert {record["action"] for record in sent} == {"updated"}
    # Sentry keeps one of the records of a request that have the same id.
    ids = {record["change_id"] for record in sent}
    assert len(ids) == len(keys)
    assert all(0 < number < 2**63 for number in ids)


def test_events_that_change_no_result_are_not_sent(hook: Webhook) -> None:
    changes.values.create("limit", 3)
    changes.segments.create("team", [condition("is_staff", "in", True)])
    changes.flags.update("new_checkout", {"description": "The new page", "owner": "shop"})
    changes.segments.update("team", {"description": "Everyone"})
    assert_delivered(delivered=0, pending=0, failed=0, expired=0)
    assert hook.received == []


def test_added_allowed_user_is_a_change_without_the_user(hook: Webhook) -> None:
    changes.flags.allow("new_checkout", User.objects.create(pk=7100001, username="bob").pk)
    assert [record["flag"] for record in records(hook)] == ["new_checkout"]
    assert b"710000" not in hook.accepted[0].body


def test_key_that_is_too_long_for_sentry_is_not_sent(hook: Webhook) -> None:
    changes.flags.create("a" * 101)
    changes.flags.create("a" * 100)
    assert [record["flag"] for record in records(hook)] == ["a" * 100]
