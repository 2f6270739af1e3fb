"""Retry delays, signatures and the Slack format. None of them needs a database."""

from base64 import b64decode
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from flagstaff.contrib.webhooks.delivering import retry_delay, signature_headers
from flagstaff.contrib.webhooks.http import pause_of
from flagstaff.contrib.webhooks.message import WebhookMessage, as_slack
from flagstaff.history import Difference, Event, Users

NOW = datetime(2026, 11, 20, 8, 17, tzinfo=timezone.utc)
EVENT = Event(
    entries=(),
    version=7,
    at=NOW,
    transaction_id=1,
    kind="flag",
    key="new_checkout",
    object_pk="1",
    action="change",
    differences=(Difference("rollout_percent", 5, 50),),
    added=Users(),
    removed=Users(),
    actor="1",
    source="admin",
    reason=None,
    session_user="shop",
    role="shop",
    application_name="",
)
MESSAGE = WebhookMessage(EVENT, "rollout 5 → 50 %", "alice", None)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 5), (2, 10), (5, 80), (11, 3600), (9999, 3600)]
)
def test_retry_delay_doubles_up_to_an_hour(attempts: int, seconds: float) -> None:
    assert retry_delay(attempts) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 30),
        ("7", 30),
        (" 120 ", 120),
        ("999999999999999999999", 3600),
        ("Fri, 20 Nov 2026 08:18:00 GMT", 30),
        ("-5", 30),
        ("\u0667", 30),
    ],
)
def test_pause_is_at_least_30_seconds_and_at_most_an_hour(
    header: str | None, seconds: float
) -> None:
    assert pause_of(header) == seconds


def test_signature_matches_the_example_of_the_specification() -> None:
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    message_id = "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert signature_headers(message_id, 1614265330, body, [key]) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_message_has_a_signature_for_each_key() -> None:
    def signature(*keys: bytes) -> str:
        return signature_headers("a", 1, b"{}", keys)["webhook-signature"]

    assert signature(b"1", b"2") == f"{signature(b'1')} {signature(b'2')}"
    unsigned = signature_headers("a", 1, b"{}", [])
    assert unsigned == {"webhook-id": "a", "webhook-timestamp": "1"}


def block_texts(body: Any) -> list[str]:
    blocks = [block.get("text") or block["elements"][0] for block in body["blocks"]]
    # Verbatim: Slack makes no link or mention of a plain word.
    assert {(text["type"], text["verbatim"]) for text in blocks} == {("mrkdwn", True)}
    return [text["text"] for text in blocks]


def test_slack_message_has_a_notification_and_blocks() -> None:
    event = replace(EVENT, reason="a quiet week")
    body = as_slack(replace(MESSAGE, event=event, link="https://shop.example/1/"))
    assert body["text"] == "new_checkout: rollout 5 → 50 %, by alice"
    assert block_texts(body) == [
        "*<https://shop.example/1/|new_checkout>*  rollout 5 → 50 %",
        "> a quiet week",
        "by alice  ·  source: admin",
    ]


def test_slack_message_contains_no_link_or_mention_of_a_user() -> None:
    event = replace(EVENT, key="a&b", reason="<!channel> <https://evil.example|here>\n> more")
    message = replace(MESSAGE, event=event, summary='value 1 → "<@U1>"', actor_name="<b>")
    body = as_slack(message)
    assert body["text"] == 'a&amp;b: value 1 → "&lt;@U1&gt;", by &lt;b&gt;'
    texts = block_texts(body)
    assert texts[0].startswith("*a&amp;b*")
    assert texts[1] == "> &lt;!channel&gt; &lt;https://evil.example|here&gt; &gt; more"
    assert not [text for text in texts if "<" in text]


def test_slack_message_with_long_texts_is_cut() -> None:
    long = "&" * 10_000
    event = replace(EVENT, key=long, reason=long, source=long)
    message = replace(MESSAGE, event=event, summary=long, actor_name=long)
    texts = block_texts(as_slack(message))
    assert [len(text) < 3000 for text in texts] == [True, True, True]
    assert texts[0].endswith("&amp;…")
