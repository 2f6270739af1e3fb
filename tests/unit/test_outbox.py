"""What needs no database: waits, Slack's shape, signatures, and one request over HTTP."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flagstaff.conf.receivers import Receiver
from flagstaff.history import Difference, Event, Users
from flagstaff.webhooks.http import Answer, UnreachableError, post
from flagstaff.webhooks.message import Message
from flagstaff.webhooks.retry import asked_for, wait
from flagstaff.webhooks.sign import signed
from flagstaff.webhooks.slack import as_slack
from tests.certificates import Certificate, authority
from tests.webhooks import Webhook

NOW = datetime(2026, 11, 20, 8, 17, tzinfo=timezone.utc)
EVENT = Event(
    version=7,
    first=7,
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
MESSAGE = Message(EVENT, "rollout_percent 5 → 50", "alice", None, None)


# Waits.


@pytest.mark.parametrize(("attempts", "limit"), [(1, 5), (2, 10), (5, 80), (11, 3600), (999, 3600)])
def test_wait_is_drawn_up_to_a_limit_that_doubles(attempts: int, limit: float) -> None:
    drawn = [wait(attempts) for _ in range(500)]
    assert 1 <= min(drawn) <= max(drawn) <= limit
    assert max(drawn) > limit * 0.9
    assert min(drawn) < limit * 0.1 + 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("7", 7),
        (" 120 ", 120),
        ("999999999999999999999", 3600),
        ("Fri, 20 Nov 2026 08:18:00 GMT", 60),
        ("Fri, 20 Nov 2026 08:18:00 -0000", 60),
        ("Fri, 20 Nov 2026 08:16:00 GMT", 0),
        ("Sat, 20 Nov 2027 08:16:00 GMT", 3600),
        ("-5", 0),
        ("soon", 0),
        ("Fri, 20 Nov 99999999999999999999 08:18:00 GMT", 0),
        ("Fri, 20 Nov 2026 08:18:00 +99999999999999999999", 0),
        ("\u0667", 0),
    ],
)
def test_what_a_receiver_asks_for_is_granted_for_an_hour_at_most(
    header: str | None, seconds: float
) -> None:
    assert asked_for(header, NOW) == seconds


# Signatures.


def test_signature_is_the_one_of_the_specifications_example() -> None:
    key = b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, [key]) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_key_signs_while_one_is_replaced() -> None:
    [one, other] = (signed("a", 1, b"{}", [key])["webhook-signature"] for key in (b"1", b"2"))
    assert signed("a", 1, b"{}", [b"1", b"2"])["webhook-signature"] == f"{one} {other}"


def test_without_a_key_nothing_is_signed() -> None:
    assert signed("a", 1, b"{}", []) == {"webhook-id": "a", "webhook-timestamp": "1"}


# Slack.


def texts(shape: Any) -> list[str]:
    """What stands in the blocks."""
    blocks = [block.get("text") or block["elements"][0] for block in shape["blocks"]]
    # Verbatim: no plain word becomes a link or a call.
    assert {(text["type"], text["verbatim"]) for text in blocks} == {("mrkdwn", True)}
    return [text["text"] for text in blocks]


def test_slack_is_told_in_a_line_and_in_blocks() -> None:
    impact = {"users": 12_000, "gain": 5_400, "lose": 0}
    event = replace(EVENT, reason="a quiet week")
    shape = as_slack(replace(MESSAGE, event=event, impact=impact, link="https://shop.example/1/"))
    assert shape["text"] == "new_checkout: rollout_percent 5 → 50, by alice"
    assert texts(shape) == [
        "*<https://shop.example/1/|new_checkout>*  rollout_percent 5 → 50",
        "> a quiet week",
        "by alice  ·  through admin  ·  5,400 gain it of 12,000 users",
    ]


def test_slack_takes_nothing_that_was_typed_for_a_link_or_a_call() -> None:
    event = replace(EVENT, key="a&b", reason="<!channel> <https://evil.example|here>\n> more")
    shape = as_slack(replace(MESSAGE, event=event, what='value 1 → "<@U1>"', who="<b>"))
    assert shape["text"] == 'a&amp;b: value 1 → "&lt;@U1&gt;", by &lt;b&gt;'
    told = texts(shape)
    assert told[0].startswith("*a&amp;b*")
    assert told[1] == "> &lt;!channel&gt; &lt;https://evil.example|here&gt; &gt; more"
    assert not [text for text in told if "<" in text]


def test_slack_is_told_no_more_than_it_takes() -> None:
    long = "&" * 10_000
    event = replace(EVENT, key=long, reason=long, source=long)
    impact = {"users": 12_000_000, "gain": 5_400_000, "lose": 5_400_000}
    shape = as_slack(replace(MESSAGE, event=event, what=long, who=long, impact=impact))
    assert [len(text) < 3000 for text in texts(shape)] == [True, True, True]
    assert texts(shape)[0].endswith("&amp;…")


# HTTP.


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def to(url: str, timeout: float = 5) -> Receiver:
    return Receiver("ops", url, timeout=timeout)


def failure(receiver: Receiver) -> str:
    with pytest.raises(UnreachableError) as error:
        post(receiver, b"{}", {})
    assert error.value.__cause__ is None
    return str(error.value)


def test_post_gives_the_answer(hook: Webhook) -> None:
    hook.says(503, Retry_After="7")
    assert post(to(f"{hook.url}?a=b"), b'{"a": 1}', {"X-A": "b"}) == Answer(503, "7")
    [received] = hook.received
    assert (received.path, received.json) == ("/hooks/T0/B0/token?a=b", {"a": 1})
    assert received.headers["host"] == f"127.0.0.1:{hook.port}"
    assert received.headers["x-a"] == "b"


def test_post_to_nobody_is_refused(hook: Webhook) -> None:
    hook.stop()
    assert failure(to(hook.url)) == "connection refused"


def test_post_to_a_host_that_nobody_knows() -> None:
    assert failure(to("http://hooks.invalid/")) == "the host is not known"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def answered_by(listener: socket.socket, answer: Any, scheme: str = "http") -> Receiver:
    """A receiver whose one connection is treated so, in a thread that ends with it."""

    def serve() -> None:
        link, _ = listener.accept()
        with link:
            answer(link)

    threading.Thread(target=serve).start()
    return to(f"{scheme}://localhost:{listener.getsockname()[1]}/", 0.3)


def drip(link: socket.socket) -> None:
    """An answer of which a byte comes now and then, and the end never."""
    link.settimeout(5)
    with link.makefile("rwb", buffering=0) as file:
        try:
            file.write(b"HTTP/1.1 200 OK\r\nX: ")
            while True:
                file.write(b"a")
                time.sleep(0.01)  # the byte is what is tested, and not when it comes
        except OSError:
            pass


def test_post_ends_with_the_time_though_bytes_come_all_the_while(listener: socket.socket) -> None:
    began = time.monotonic()
    assert failure(answered_by(listener, drip)) == "no answer within 0.3 s"
    assert time.monotonic() - began < 2


def test_post_ends_with_the_time_where_tls_does_not_begin(listener: socket.socket) -> None:
    hanging = answered_by(listener, lambda link: link.recv(9999) and link.recv(9999), "https")
    assert failure(hanging) == "no answer within 0.3 s"


def test_post_to_what_does_not_speak_http(listener: socket.socket) -> None:
    receiver = answered_by(listener, lambda link: link.recv(9999) and link.sendall(b"220 mail\r\n"))
    assert failure(receiver) == "the answer is not HTTP"


def test_post_to_what_hangs_up(listener: socket.socket) -> None:
    receiver = answered_by(listener, lambda link: link.recv(9999))
    assert failure(receiver) in ("the connection was lost", "connection reset by peer")


def test_post_to_what_does_not_speak_tls(hook: Webhook) -> None:
    assert failure(to(hook.url.replace("http:", "https:"))) == "the connection cannot be protected"


def served_with(certificate: Certificate, link: socket.socket) -> None:
    """A server that takes one request over TLS, if whoever asks trusts it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with suppress(OSError), context.wrap_socket(link, server_side=True) as protected:
        asked = b""
        while not asked.endswith(b"{}"):
            asked += protected.recv(9999)
        protected.sendall(b"HTTP/1.1 204 \r\n\r\n")


def test_certificate_that_nobody_signed_is_not_taken(
    listener: socket.socket, tmp_path: Path
) -> None:
    ours = authority(tmp_path, "hooks")
    told = failure(answered_by(listener, partial(served_with, ours), "https"))
    assert told.startswith("its certificate is not trusted: self")


def test_certificate_that_is_trusted_is_taken(
    listener: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = authority(tmp_path, "hooks")
    context = ssl.create_default_context(cafile=ours.file)
    monkeypatch.setattr("flagstaff.webhooks.http._tls", lambda: context)
    assert post(answered_by(listener, partial(served_with, ours), "https"), b"{}", {}).status == 204
