"""Messages about actions that wait."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings

from flagstaff import changes
from flagstaff.contrib.webhooks import deliver
from flagstaff.contrib.webhooks.models import Delivery
from flagstaff.models import WaitingAction
from tests.support.terminals import run
from tests.support.waiting import ask, make_due, run_jobs
from tests.support.webhooks import Webhook

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("plain_terminal")]
LINE = "release new_checkout"


@pytest.fixture(autouse=True)
def people(_configured: None) -> None:
    for name in ("ana", "bob"):
        User.objects.create_superuser(name)


def received(hook: Webhook) -> list[Any]:
    deliver()
    messages = [
        message.json for message in hook.accepted if message.json["type"].startswith("waiting.")
    ]
    hook.accepted.clear()
    return messages


def test_what_happens_to_an_action_is_sent(hook: Webhook) -> None:
    waiting = ask(f"{LINE} --request --reason launch")
    [asked] = received(hook)
    assert (asked["id"], asked["type"]) == (f"ops-waiting-{waiting.pk}-asked", "waiting.asked")
    data = asked["data"]
    assert (data["what"], data["state"]) == ("Release new_checkout to everybody", "approval")
    assert (data["asked_by_name"], data["reason"], data["link"]) == ("ana", "launch", None)
    assert "arguments" not in data
    run(f"waiting approve {waiting.pk} --as bob --yes")
    run_jobs()
    assert [message["type"] for message in received(hook)] == ["waiting.approved", "waiting.done"]


def test_action_that_fails_or_is_refused_says_why(hook: Webhook) -> None:
    refused, _failed = ask(f"{LINE} --request"), ask(LINE)
    run(f"waiting refuse {refused.pk} --as bob --reason sale")
    changes.flags.set_rollout("new_checkout", 6)
    make_due()
    run_jobs()
    messages = received(hook)
    by_type = {message["type"]: message["data"] for message in messages}
    assert [*by_type] == ["waiting.asked", "waiting.refused", "waiting.failed"]
    assert by_type["waiting.refused"]["result"] == "sale"
    assert by_type["waiting.refused"]["ended_by_name"] == "bob"
    assert "changed rollout of new_checkout at" in by_type["waiting.failed"]["result"]


def test_slack_gets_a_sentence_and_sentry_nothing(hook: Webhook) -> None:
    receivers = {
        "chat": hook.settings(format="slack"),
        "sentry": hook.settings(format="sentry", secret="s" * 32),
    }
    with override_settings(FLAGSTAFF={"WEBHOOKS": receivers}):
        ask(f"{LINE} --request")
        deliver()
    [message] = hook.accepted
    text = "Release new_checkout to everybody: asked, waits for approval, by ana"
    assert message.json["text"] == text


def test_message_of_an_action_that_will_not_run_any_more_says_so(hook: Webhook) -> None:
    receivers = {"chat": hook.settings(format="slack")}
    with override_settings(FLAGSTAFF={"WEBHOOKS": receivers}):
        ask(LINE)
        changes.flags.set_rollout("new_checkout", 6)
        deliver()
    [message] = hook.accepted
    assert "asked, will not run: " in message.json["text"]


def test_kill_that_cancels_an_action_sends_nothing_of_it(hook: Webhook) -> None:
    changes.flags.disable("new_checkout")
    ask(LINE)
    received(hook)
    run("kill new_checkout")
    assert WaitingAction.objects.get().state == "cancelled"
    assert received(hook) == []


def test_queue_that_cannot_be_written_stops_no_action(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_more: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(Delivery, "__init__", fail)
    waiting = ask(LINE)
    assert waiting.state == "waiting"


def test_action_that_retention_has_deleted_expires(hook: Webhook) -> None:
    ask(LINE)
    WaitingAction.objects.all().delete()
    assert received(hook) == []
    assert not Delivery.objects.exists()
