"""The code of the page on webhooks works, and its message is a real one."""

import json
import os
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection

from flagstaff import changes
from flagstaff._attribution import acting_as
from flagstaff.contrib.webhooks import deliver
from flagstaff.contrib.webhooks.receivers import WEBHOOKS
from flagstaff.models import FeatureFlag
from tests.support.check_messages import check_messages
from tests.support.pages import code_of, names_of
from tests.support.sql import rows
from tests.support.webhooks import SECRET, Received, Webhook

PAGE = "how-to/webhooks.md"


@pytest.fixture
def received(transactional_db: None, settings: Any) -> Received:
    """The request that a receiver gets for the change on the page."""
    alice = User.objects.create(username="alice")
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=5)
    with Webhook() as hook, connection.cursor() as cursor:
        webhooks = {"deploys": hook.settings()}
        settings.FLAGSTAFF = {"WEBHOOKS": webhooks, "SITE_URL": "https://shop.example"}
        cursor.execute("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
        deliver()
        with acting_as(alice, reason="a quiet week", source="admin"):
            changes.flags.set_rollout("new_checkout", 50)
        deliver()
        cursor.execute("TRUNCATE flagstaff_webhooks_position, flagstaff_webhooks_delivery")
    [received] = hook.accepted
    return received


def names_in(document: dict[str, Any]) -> list[str]:
    """Returns the keys of a document and of the documents inside it."""
    inner = [document[name] for name in document if isinstance(document[name], dict)]
    return [*document, *(name for member in inner for name in names_in(member))]


def test_message_on_the_page_equals_a_real_one(received: Received) -> None:
    [block] = code_of(PAGE, "json")
    shown, sent = json.loads(block), received.json
    assert names_in(sent) == names_in(shown)
    assert sent["id"].startswith("deploys-")
    equal = ("key", "kind", "summary", "changes", "added", "removed", "actor_name", "source")
    for name in (*equal, "reason"):
        assert sent["data"][name] == shown["data"][name]


def test_signature_check_on_the_page_accepts_only_authentic_requests(received: Received) -> None:
    is_authentic = names_of(PAGE, "def is_authentic")["is_authentic"]
    assert is_authentic(received.headers, received.body, SECRET)
    assert not is_authentic(received.headers, received.body + b" ", SECRET)
    assert not is_authentic(received.headers, received.body, SECRET.replace("c2", "c3"))
    assert not is_authentic({**received.headers, "webhook-id": "b"}, received.body, SECRET)
    assert not is_authentic(received.headers, received.body, SECRET, tolerance=-1)


def test_created_secret_is_valid(capsys: pytest.CaptureFixture[str], settings: Any) -> None:
    names_of(PAGE, "import secrets")
    secret = capsys.readouterr().out.strip()
    settings.FLAGSTAFF = {"WEBHOOKS": {"ops": {"url": "https://a.example", "secret": secret}}}
    assert [len(key) for key in WEBHOOKS.current()[0].secrets] == [32]


def test_settings_on_the_page_are_valid(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("FLAGS_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.slack.example/T0")
    settings.FLAGSTAFF = names_of(PAGE, "SITE_URL", "py", os=os)["FLAGSTAFF"]
    assert [receiver.name for receiver in WEBHOOKS.current()] == ["deploys", "ops-channel"]
    assert check_messages("flagstaff") == []


@pytest.mark.django_db
@pytest.mark.parametrize("statements", code_of(PAGE, "sql"))
def test_sql_of_the_page_runs(statements: str) -> None:
    rows(statements)
