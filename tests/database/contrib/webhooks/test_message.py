"""The content of webhook messages."""

import base64
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.db import transaction
from django.test import override_settings

from flagstaff import acting_as, changes, experiments
from flagstaff.contrib.webhooks import deliver
from flagstaff.contrib.webhooks.delivering import signature_headers
from flagstaff.contrib.webhooks.message import create_message
from flagstaff.history import forget_user, prune
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.conditions import condition
from tests.support.fake_workers import FakeWorker
from tests.support.history import flag_history
from tests.support.segment_rules import rules
from tests.support.sql import rows
from tests.support.webhooks import SECRET, Webhook, assert_delivered, make_due, percents

pytestmark = pytest.mark.django_db(transaction=True)


def test_message_has_all_fields_of_the_event(hook: Webhook) -> None:
    alice = User.objects.create(username="alice")
    with acting_as(alice, reason="a quiet week", source="code"):
        changed = changes.flags.set_rollout("new_checkout", 50)
    assert_delivered(delivered=1, failed_attempts=0, pending=0, failed=0, last_error=None)
    [received] = hook.accepted
    message = received.json
    assert received.path == "/hooks/T0/B0/token"
    assert message["id"] == received.id
    assert message["type"] == "flag.changed"
    at = int(received.headers["webhook-timestamp"])
    assert abs(at - time.time()) < 60
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = signature_headers(received.id, at, received.body, [key])
    assert received.headers.items() >= signature.items()
    unknown = {"transaction_id": 0, "session_user": ""}
    assert message["data"] | unknown == unknown | {
        "key": "new_checkout",
        "kind": "flag",
        "version": changed.version,
        "summary": "rollout 5 → 50 %",
        "changes": {"rollout_percent": {"old": 5, "new": 50}},
        "added": 0,
        "removed": 0,
        "actor_name": "alice",
        "actor": str(alice.pk),
        "source": "code",
        "reason": "a quiet week",
        "link": None,
    }


def test_change_by_sql_names_the_database_user(hook: Webhook) -> None:
    psql = FakeWorker()
    psql.query("UPDATE flagstaff_featureflag SET rollout_percent = 7 WHERE key = 'search_v2'")
    psql.leave()
    assert_delivered(delivered=1)
    assert hook.accepted[0].data["actor"] is None
    assert hook.accepted[0].data["actor_name"].endswith("(database user)")


def test_message_without_use_tz_has_an_aware_timestamp(hook: Webhook, settings: Any) -> None:
    settings.USE_TZ = False
    hook.respond_with(503, Retry_After="60")
    changes.flags.set_rollout("new_checkout", 10)
    assert_delivered(failed_attempts=1, pending=1, last_error="status 503")
    at = datetime.fromisoformat(hook.received[0].json["timestamp"])
    assert abs(at - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_slack_receiver_gets_the_slack_format(hook: Webhook) -> None:
    channel = {"url": hook.url, "format": "slack"}
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": channel}}):
        with acting_as("<deploy>", reason="release 42"):
            changes.flags.set_rollout("new_checkout", 50)
        assert_delivered(delivered=1)
    [received] = hook.accepted
    assert received.json["text"] == "new_checkout: rollout 5 → 50 %, by &lt;deploy&gt;"
    assert "webhook-signature" not in received.headers


def test_changes_of_one_flag_in_one_transaction_are_one_message(hook: Webhook) -> None:
    pks = [User.objects.create(pk=pk, username=str(pk)).pk for pk in (7100001, 7100002)]
    with transaction.atomic():
        changes.flags.set_rollout("new_checkout", 50)
        changes.flags.allow("new_checkout", pks)
        changes.flags.set_rollout("search_v2", 60)
    assert_delivered(delivered=2)
    first, second = (received.data for received in hook.accepted)
    # Allowed users are only counted.
    assert (first["key"], first["added"]) == ("new_checkout", 2)
    assert b"710000" not in hook.accepted[0].body
    assert (second["key"], second["added"]) == ("search_v2", 0)
    assert first["transaction_id"] == second["transaction_id"]


def test_changes_of_two_actors_in_one_transaction_are_separate_messages(hook: Webhook) -> None:
    with transaction.atomic():
        for percent, name in ((10, "alice"), (20, "bob"), (30, "alice")):
            with acting_as(name):
                changes.flags.set_rollout("new_checkout", percent)
    changes.flags.create("one_click")
    changes.flags.delete("one_click")
    assert_delivered(delivered=5)
    names = [received.data["actor_name"] for received in hook.accepted][:3]
    assert names == ["alice", "bob", "alice"]
    assert percents(hook) == [10, 20, 30]
    types = [received.json["type"] for received in hook.accepted]
    assert types == [*["flag.changed"] * 3, "flag.created", "flag.deleted"]


def test_changed_segment_names_what_uses_it(hook: Webhook) -> None:
    changes.segments.create("team", [condition("is_staff", "in", True)])
    for key in ("new_checkout", "search_v2"):
        changes.flags.update(key, {"rules": rules("team"), "rollout_percent": 0})
    experiments.create("price", rules=rules("team"))
    assert_delivered(delivered=3)
    with acting_as("ana", reason="pilot"):
        changes.segments.update("team", {"conditions": [condition("is_authenticated", "in", True)]})
    changes.segments.update("team", {"description": "All"})
    assert_delivered(delivered=2)
    received = hook.accepted[3]
    assert received.json["type"] == "segment.changed"
    data = received.data
    about = [data[name] for name in ("kind", "key", "actor", "reason")]
    assert about == ["segment", "team", "ana", "pilot"]
    assert (data["flags"], data["experiments"]) == (["new_checkout", "search_v2"], ["price"])
    assert list(data["changes"]) == ["conditions"]


def test_slack_message_about_a_segment_has_at_most_ten_keys(hook: Webhook) -> None:
    changes.segments.create("team", [condition("is_staff", "in", True)])
    for number in range(12):
        changes.flags.create(f"f{number:02}", rules=rules("team"))
    deliver(seconds=600)
    channel = {"url": hook.url, "format": "slack"}
    with override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": channel}}):
        changes.segments.update("team", {"description": "y"})
        deliver()
    details = hook.accepted[-1].json["blocks"][-1]["elements"][0]["text"]
    assert "used by f00, f01" in details
    assert "and 2 more" in details


def test_link_with_site_url_leads_to_the_admin_page() -> None:
    flag = FeatureFlag.objects.get(key="new_checkout")
    changes.flags.set_rollout("new_checkout", 50)
    event = flag_history("new_checkout")[0]
    with override_settings(FLAGSTAFF={"SITE_URL": "https://shop.example/"}):
        page = f"/admin/flagstaff/featureflag/{flag.pk}/change/"
        assert create_message(event).link == f"https://shop.example{page}"
        # A primary key is quoted as the admin does.
        link = create_message(replace(event, object_pk="beta_25")).link
    assert link
    assert unquote(link.split("/")[-3]) == "beta_25"


def test_secret_value_is_never_in_a_message(hook: Webhook) -> None:
    KeyValueStore.objects.create(key="mail_password", value="hunter2", secret=True)
    changes.values.set("mail_password", "hunter3")
    deliver()
    assert hook.accepted[-1].json["type"] == "value.changed"
    listed = hook.accepted[-1].data["changes"]
    assert listed["value"] == {"old": None, "new": None, "secret": True}
    assert not [received for received in hook.accepted if b"hunter" in received.body]


def test_rules_of_a_value_are_in_a_message_unless_it_is_secret(hook: Webhook) -> None:
    german = [{"conditions": [condition("country", "in", "DE")], "value": "hunter2"}]
    KeyValueStore.objects.create(key="mail_host", value="a")
    KeyValueStore.objects.create(key="mail_password", value="a", secret=True)
    deliver()
    changes.values.update("mail_host", {"rules": german})
    changes.values.update("mail_password", {"rules": german})
    deliver()
    shown, masked = (hook.accepted[at].data for at in (-2, -1))
    assert shown["changes"] == {"rules": {"old": [], "new": german}}
    assert shown["summary"] == 'rules added rule 1: "hunter2" if country is "DE"'
    assert masked["changes"] == {"rules": {"old": None, "new": None, "secret": True}}
    assert b"hunter2" not in hook.accepted[-1].body


def test_pruned_event_expires_and_is_reported(hook: Webhook) -> None:
    hook.respond_with(500)
    changes.flags.set_rollout("new_checkout", 50)
    changes.flags.set_rollout("new_checkout", 60)
    assert_delivered(delivered=0, pending=2)
    prune(timedelta(0))
    hook.respond_with(200)
    make_due()
    # The newest entry is the flag's version, and stays.
    assert_delivered(delivered=1, expired=1, pending=0)
    assert percents(hook) == [60]


def test_forgotten_user_is_not_in_pending_messages(hook: Webhook) -> None:
    user = User.objects.create(pk=7100003, username="gone")
    hook.stop()
    with acting_as(user):
        changes.flags.allow("new_checkout", user.pk)
    assert_delivered(failed_attempts=1)
    user.delete()
    forget_user(7100003)
    [[stored]] = rows(
        "SELECT string_agg(to_jsonb(d)::text, '') FROM flagstaff_webhooks_delivery AS d"
    )
    assert "7100003" not in stored
    hook.start()
    make_due()
    deliver()
    assert len(hook.accepted) == 2
    assert not [received for received in hook.accepted if b"7100003" in received.body]
