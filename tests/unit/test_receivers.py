"""Receivers as the settings name them. What is wrong is told without what is secret."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from tests.webhooks import SECRET

URL = "https://hooks.example/T0/B0/hunter2"


def given(**options: Any) -> override_settings:
    return override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": options}})


def test_nobody_is_told_by_default() -> None:
    assert conf.webhooks == ()


def test_receiver_has_what_the_settings_say() -> None:
    with given(url=URL, secret=[SECRET, SECRET], format="slack", timeout=2):
        [receiver] = conf.webhooks
    assert (receiver.name, receiver.url, receiver.host) == ("ops", URL, "hooks.example")
    assert (receiver.secrets, receiver.format) == ((b"secret" * 4,) * 2, "slack")
    assert (receiver.timeout, receiver.port) == (2.0, 443)


def test_receiver_has_defaults() -> None:
    with given(url=URL):
        [receiver] = conf.webhooks
    assert (receiver.secrets, receiver.format, receiver.timeout) == ((), "json", 5.0)


def test_receiver_shows_neither_its_secret_nor_its_address() -> None:
    with given(url=URL, secret=SECRET):
        shown = repr(conf.webhooks)
    assert "ops" in shown
    assert "hunter" not in shown
    assert "secret" not in shown.replace("secrets", "")


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000/",
        "http://127.0.0.1/",
        "http://[::1]:9/",
        "http://app.localhost/",
        "https://10.0.0.7/",
    ],
)
def test_address_is_encrypted_or_of_this_machine(url: str) -> None:
    with given(url=url):
        assert [receiver.url for receiver in conf.webhooks] == [url]


def test_address_may_be_plain_where_somebody_says_so() -> None:
    with given(url="http://hooks.internal/", allow_http=True):
        assert conf.webhooks[0].port == 80


WEBHOOKS = 'FLAGSTAFF["WEBHOOKS"]'
ADDRESS = "an ASCII address such as https://hooks.example/flags, without user or password"
KEY = '"whsec_" and the base64 of 24 to 64 random bytes, or a list of such'
UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({}, '["ops"] has no "url"; expected the address to post to'),
    (
        {"url": URL, "hunter": 1},
        "[\"ops\"] has no option 'hunter'; known are url, secret, format, timeout, allow_http",
    ),
    *(
        ({"url": url}, f'["ops"]["url"] is not usable; expected {ADDRESS}')
        for url in (
            *("hooks.example", "ftp://hooks.example/", "https://", "https://a.example:x/"),
            *("https://u:hunter2@a.example/", "https://a.example/\r\nX: y", "https://ä.example", 7),
        )
    ),
    (
        {"url": "http://hooks.example/hunter2"},
        (
            '["ops"]["url"] is not encrypted; expected https://; "allow_http": True lets it be '
            "http:// in a network that you trust"
        ),
    ),
    *(
        ({"url": URL, "secret": secret}, f'["ops"]["secret"] is not usable; expected {KEY}')
        for secret in ("hunter2", "whsec_aHVudGVyMg==", "whsec_ä", "", [], [SECRET, "hunter2"], 7)
    ),
    ({"url": URL, "format": "xml"}, '["ops"]["format"] is not usable; expected "json" or "slack"'),
    *(
        (
            {"url": URL, "timeout": timeout},
            '["ops"]["timeout"] is not usable; expected seconds above 0 and up to 60',
        )
        for timeout in (0, 61, True, "5", float("nan"))
    ),
    (
        {"url": URL, "allow_http": 1},
        '["ops"]["allow_http"] is not usable; expected True or False',
    ),
]


@pytest.mark.parametrize(("options", "told"), UNUSABLE)
def test_what_cannot_be_used_is_told_without_a_secret(options: Any, told: str) -> None:
    with given(**options), pytest.raises(ConfigurationError) as error:
        assert conf.webhooks
    assert str(error.value) == WEBHOOKS + told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([URL], ' is a list; expected a dict such as {"ops": {"url": "https://…"}}'),
        (
            {"https://hooks.example/T0/secret": {}},
            ' names a receiver by an address; expected letters, digits, "_" and "-"',
        ),
        ({"a b": {}}, ' names a receiver \'a b\'; expected letters, digits, "_" and "-"'),
        ({"ops": URL}, '["ops"] is a str; expected a dict such as {"url": "https://…"}'),
    ],
)
def test_webhooks_are_a_dict_of_dicts(value: Any, told: str) -> None:
    with (
        override_settings(FLAGSTAFF={"WEBHOOKS": value}),
        pytest.raises(ConfigurationError) as error,
    ):
        assert conf.webhooks
    assert str(error.value) == WEBHOOKS + told
