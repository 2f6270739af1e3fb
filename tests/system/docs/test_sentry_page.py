"""The code of the page on Sentry works, and its message is a real one."""

import json
import os
from typing import Any

import pytest

from flagstaff.contrib.webhooks.message import WebhookMessage, as_sentry
from flagstaff.contrib.webhooks.receivers import WEBHOOKS
from tests.conftest import RunIsolated
from tests.support.check_messages import check_messages
from tests.support.pages import code_of, names_of
from tests.unit.contrib.webhooks.test_webhooks import EVENT

PAGE = "how-to/other-tools.md"


def test_init_on_the_page_adds_the_integration_before_the_settings_exist(
    run_isolated: RunIsolated,
) -> None:
    [block] = code_of(PAGE, "python", having="FlagstaffIntegration")
    script = f"{block}\nprint([*sentry_sdk.get_client().integrations].count('flagstaff'))"
    environment = {"SENTRY_DSN": "https://key@sentry.example/1", "DJANGO_SETTINGS_MODULE": ""}
    assert run_isolated(script, **environment) == "1\n"


def test_receiver_on_the_page_is_valid(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setenv("SENTRY_FLAGS_URL", "https://sentry.io/api/0/organizations/shop/flags/")
    monkeypatch.setenv("SENTRY_FLAGS_SECRET", os.urandom(16).hex())
    settings.FLAGSTAFF = names_of(PAGE, "WEBHOOKS", "py", os=os)["FLAGSTAFF"]
    assert [receiver.format for receiver in WEBHOOKS.current()] == ["sentry"]
    assert check_messages("flagstaff") == []


def test_message_on_the_page_equals_a_real_one() -> None:
    [block] = code_of(PAGE, "json", having="meta")
    shown = json.loads(block)
    sent: Any = as_sentry(WebhookMessage(EVENT, "", "alice", None, is_by_user=True))
    assert sent["meta"] == shown["meta"]
    [record], [shown_record] = sent["data"], shown["data"]
    own = {"change_id": EVENT.version, "created_by": {"id": "1", "type": "id"}}
    assert record == shown_record | own
