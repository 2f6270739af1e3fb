"""The setting WEBHOOKS. Error messages do not contain secrets."""

from typing import Any

import pytest
from django.test import override_settings

from flagstaff.contrib.webhooks.receivers import WEBHOOKS
from flagstaff.exceptions import ConfigurationError
from tests.support.webhooks import SECRET

URL = "https://hooks.example/T0/B0/hunter2"


def receiver_with(**options: Any) -> override_settings:
    return override_settings(FLAGSTAFF={"WEBHOOKS": {"ops": options}})


def test_receiver_has_the_options_of_the_settings_and_no_secret_in_its_repr() -> None:
    with receiver_with(url=URL, secret=[SECRET, SECRET], format="slack", timeout=2):
        [receiver] = WEBHOOKS.current()
    assert (receiver.name, receiver.url, receiver.host) == ("ops", URL, "hooks.example")
    assert (receiver.secrets, receiver.format) == ((b"secret" * 4,) * 2, "slack")
    assert receiver.timeout == 2.0
    shown = repr(receiver)
    assert "ops" in shown
    assert "hunter" not in shown
    assert "secret" not in shown.replace("secrets", "")


def test_secret_of_sentry_is_the_text_itself_and_not_in_the_repr() -> None:
    for secret in (SENTRY_SECRET, SECRET):
        with receiver_with(url=URL, secret=secret, format="sentry"):
            [receiver] = WEBHOOKS.current()
        assert receiver.secrets == (secret.encode(),)
        assert secret not in repr(receiver)


@pytest.mark.parametrize(
    "options",
    [
        {"url": "http://localhost:8000/"},
        {"url": "http://127.0.0.1/"},
        {"url": "http://[::1]:9/"},
        {"url": "http://app.localhost/"},
        {"url": "https://10.0.0.7/"},
        {"url": "http://hooks.internal/", "allow_http": True},
    ],
)
def test_https_or_local_or_allowed_url_is_accepted_with_the_defaults(
    options: dict[str, Any],
) -> None:
    with receiver_with(**options):
        [receiver] = WEBHOOKS.current()
    assert receiver.url == options["url"]
    assert (receiver.secrets, receiver.format, receiver.timeout) == ((), "json", 5.0)


URL_EXPECTED = "an ASCII URL such as https://hooks.example/flags, without user or password"
SENTRY_SECRET = "0123456789abcdef0123456789abcdef"
SENTRY_SECRET_EXPECTED = (
    "expected the signing secret that you have entered in Sentry, 32 to 64 characters of ASCII"
)
SECRET_EXPECTED = '"whsec_" followed by 24 to 64 random bytes in base64, or a list of such texts'
TIMEOUT_EXPECTED = "a number of seconds above 0 and up to 60"
DICT_EXPECTED = 'expected a dict such as {"ops": {"url": "https://…"}}'
NAME_EXPECTED = 'use 1 to 100 letters, digits, "_" and "-"'
OPTIONS = "url, secret, format, timeout, allow_http"
NO_HTTPS = (
    'must use https; write https://, or set "allow_http": True for http:// in a network that you '
    "trust"
)
# Options of a receiver, and what is wrong with them.
INVALID: list[tuple[dict[str, Any], str]] = [
    ({}, f'["url"] is invalid; expected {URL_EXPECTED}'),
    ({"url": URL, "hunter": 1}, f" has no option 'hunter'; known options: {OPTIONS}"),
    *(
        ({"url": url}, f'["url"] is invalid; expected {URL_EXPECTED}')
        for url in (
            *("hooks.example", "ftp://hooks.example/", "https://", "https://a.example:x/"),
            *("https://u:hunter2@a.example/", "https://a.example/\r\nX: y", "https://ä.example", 7),
        )
    ),
    ({"url": "http://hooks.example/hunter2"}, f'["url"] {NO_HTTPS}'),
    *(
        ({"url": URL, "secret": secret}, f'["secret"] is invalid; expected {SECRET_EXPECTED}')
        for secret in ("hunter2", "whsec_aHVudGVyMg==", "whsec_ä", "", [], [SECRET, "hunter2"], 7)
    ),
    ({"url": URL, "format": "xml"}, '["format"] is invalid; expected "json", "slack" or "sentry"'),
    ({"url": URL, "format": "sentry"}, f'["secret"] is invalid; {SENTRY_SECRET_EXPECTED}'),
    *(
        (
            {"url": URL, "format": "sentry", "secret": secret},
            f'["secret"] is invalid; {SENTRY_SECRET_EXPECTED}',
        )
        for secret in ("hunter2", "ä" * 32, " " * 32, [SENTRY_SECRET], 7)
    ),
    *(
        ({"url": URL, "timeout": timeout}, f'["timeout"] is invalid; expected {TIMEOUT_EXPECTED}')
        for timeout in (0, 61, True, "5", float("nan"))
    ),
    ({"url": URL, "allow_http": 1}, '["allow_http"] is invalid; expected True or False'),
]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        *(({"ops": options}, f'["ops"]{message}') for options, message in INVALID),
        ([URL], f" is a list; {DICT_EXPECTED}"),
        ({f"{URL}/secret": {}}, f" has an invalid receiver name: a URL; {NAME_EXPECTED}"),
        ({"a b": {}}, f" has an invalid receiver name: 'a b'; {NAME_EXPECTED}"),
        ({"ops": URL}, '["ops"] is a str; expected a dict such as {"url": "https://…"}'),
    ],
)
def test_invalid_receiver_is_rejected_without_showing_a_secret(value: Any, message: str) -> None:
    settings = override_settings(FLAGSTAFF={"WEBHOOKS": value})
    with settings, pytest.raises(ConfigurationError) as error:
        assert WEBHOOKS.current()
    assert str(error.value) == f'FLAGSTAFF["WEBHOOKS"]{message}'
    assert "hunter2" not in message
