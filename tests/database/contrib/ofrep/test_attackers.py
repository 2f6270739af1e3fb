"""What somebody may try with a session, with a key, with neither, and from another site."""

import gc
import json
import sys
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.test import Client, RequestFactory
from pytest_django import Settings

from flagstaff import experiments
from flagstaff.contrib.ofrep.views import evaluate_one
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.database.contrib.ofrep.conftest import Configure
from tests.support.conditions import condition
from tests.support.fixtures import COMMITTED, Load
from tests.support.ofrep import BEARER, KEY, KEYS, URL, client_flag, every, post, result_of, url_of

MIDDLEWARE = "flagstaff.middleware.FlagstaffMiddleware"


# With the session of a user.


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("country", "DE"),
        ("is_staff", True),
        ("is_superuser", True),
        ("is_authenticated", True),
        ("groups", ["beta"]),
        ("visitor", "v1"),
        ("username", "root"),
    ],
)
def test_browser_sets_no_attribute(
    browser: Client, load: Load, configure: Configure, name: str, value: Any
) -> None:
    configure(CLIENT_ATTRIBUTES=["theme"])
    values = value if isinstance(value, list) else [value]
    client_flag("beta", condition(name, "in", *values))
    load()
    sent = {name: value, "user": {name: value}, "context": {name: value}}
    assert every(browser, sent) == {"beta": False}
    assert result_of(browser, "beta", sent)["value"] is False
    query = f"?{name}={value}&context={json.dumps(sent)}"
    assert result_of(browser, "beta", {}, **{f"X-{name}": str(value)})["value"] is False
    assert post(browser, URL + query).json()["flags"][0]["value"] is False


def test_browser_sets_an_attribute_that_the_settings_allow(
    browser: Client, load: Load, configure: Configure
) -> None:
    configure(CLIENT_ATTRIBUTES=["theme"])
    client_flag("beta", condition("theme", "in", "dark"))
    load()
    assert every(browser, {"theme": "dark"}) == {"beta": True}
    assert result_of(browser, "beta", {"theme": "dark"})["value"] is True
    for odd in ("light", None, {"dark": "dark"}, [[["dark"]]], "\ud800", "dark\0", 10**400):
        assert result_of(browser, "beta", {"theme": odd})["value"] is False


def test_browser_does_not_choose_its_bucket(
    browser: Client, load: Load, configure: Configure
) -> None:
    configure(CLIENT_ATTRIBUTES=["organization"])
    client_flag(bucket_by="organization", rollout_percent=99)
    load()
    for number in range(20):
        assert result_of(browser, "beta", {"organization": f"o{number}"})["value"] is False


def test_browser_does_not_replace_what_the_server_knows(
    browser: Client, alice: User, settings: Settings, configure: Configure
) -> None:
    configure(CLIENT_ATTRIBUTES=["username", "country"])
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username"]}
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE, "tests.support.ofrep.with_country"]
    client_flag("for_root", condition("username", "in", "root"))
    client_flag("for_germany", condition("country", "in", "DE"))
    browser.force_login(alice)
    attributes = {"username": "root", "country": "DE"}
    assert every(browser, attributes) == {"for_germany": False, "for_root": False}


def test_browser_does_not_name_another_user(
    browser: Client, alice: User, bob: User, new_checkout: FeatureFlag, load: Load
) -> None:
    FeatureFlag.objects.update(client_side=True)
    load()
    for user in (None, bob):
        if user is not None:
            browser.force_login(user)
        for body in ({"targetingKey": str(alice.pk)}, {"user": alice.pk, "pk": alice.pk}):
            assert every(browser, body) == {"new_checkout": False}
            assert result_of(browser, "new_checkout", body)["value"] is False


def test_browser_does_not_forge_a_visitor(browser: Client, settings: Settings) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    client_flag(bucket_by="visitor", rollout_percent=50)
    browser.cookies["flagstaff_visitor"] = "chosen"
    response = post(browser, URL, {"visitor": "chosen"})
    assert response.cookies["flagstaff_visitor"].value != "chosen"


@COMMITTED
def test_hidden_key_runs_the_same_functions_as_an_unknown_key() -> None:
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    KeyValueStore.objects.create(key="secret", value=1, secret=True)
    experiments.create("button")
    hidden = ("hidden", "secret", "button")
    with live_engine():
        assert {key: _calls(key) for key in hidden} == dict.fromkeys(hidden, _calls("absent"))


def _calls(key: str) -> list[str]:
    """Returns the functions that run for a key, in their order. The time follows from them."""
    calls: list[str] = []

    def note(frame: Any, event: str, argument: Any) -> None:
        name = frame.f_code.co_name if event == "call" else getattr(argument, "__name__", "")
        calls.append(f"{event} {name}")

    body: dict[str, Any] = {"context": {}}
    # The first call may fill caches of Python.
    for _ in range(2):
        request = RequestFactory().post("/", body, "application/json")
        calls.clear()
        # A collection would run destructors.
        gc.disable()
        sys.setprofile(note)
        try:
            response = evaluate_one(request, key=key)
        finally:
            sys.setprofile(None)
            gc.enable()
        assert response.status_code == 404
    return calls


def test_service_is_not_the_user_of_a_session(
    service: Client, alice: User, new_checkout: FeatureFlag, load: Load
) -> None:
    load()
    service.force_login(alice)
    assert every(service) == {"new_checkout": False}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEYS['OFREP_KEYS']['billing']}"},
        {"Authorization": "Bearer billing"},
        {"Authorization": f"Bearer {KEY},{KEY}"},
        {"X-API-Key": ""},
        {"X-API-Key": "\u00e9"},
        {"X-API-Key": f"Bearer {KEY}"},
        {"X-API-Key": KEY, "Authorization": "Bearer wrong"},
    ],
)
def test_wrong_key_is_refused_also_with_a_session(
    browser: Client, alice: User, headers: dict[str, str]
) -> None:
    browser.force_login(alice)
    for url, key in ((URL, {}), (url_of("beta"), {"key": "beta"})):
        response = post(browser, url, **headers)
        error = {"errorCode": "GENERAL", "errorDetails": "the key is not known"}
        assert (response.status_code, response.json()) == (401, {**key, **error})
        assert response["WWW-Authenticate"] == "Bearer"


def test_no_key_is_known_without_the_setting(browser: Client, settings: Settings) -> None:
    settings.FLAGSTAFF = {}
    assert post(browser, URL, **BEARER).status_code == 401


@pytest.mark.parametrize(
    ("claimed", "sent", "status"),
    [
        ("65537", 20, 400),
        ("9" * 5_000, 20, 400),
        ("100", 20, 400),
        ("5", 20, 400),
        ("0", 20, 400),
        ("-1", 20, 400),
        ("x", 20, 400),
        ("\u0663", 20, 400),
        (str(10**7), 10**7, 413),
    ],
)
def test_length_that_the_client_claims_is_not_trusted(claimed: str, sent: int, status: int) -> None:
    body = BytesIO(b'{"context": {"pad": "' + b"x" * sent)
    request = RequestFactory().post("/", b"", "application/json")
    request = type(request)(
        {
            **request.environ,
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": claimed,
            "wsgi.input": body,
        }
    )
    response = evaluate_one(request, key="beta")
    assert response.status_code == status
    assert body.tell() <= 65_537


@pytest.mark.parametrize(("size", "status"), [(10, 404), (200_000, 413)])
def test_body_without_a_length_is_not_read_to_its_end(size: int, status: int) -> None:
    body = BytesIO(b'{"context": {"pad": "' + b"x" * size + b'"}}')
    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": URL, "headers": headers}
    # ASGI servers pass the length on only if the client sends it.
    response = evaluate_one(ASGIRequest(scope, body), key="beta")
    assert (response.status_code, body.tell() <= 65_537) == (status, True)


ODD_KEYS = ["a/b", "../admin", "nul\0", "é", "x" * 5_000, "<script>"]


@pytest.mark.parametrize("key", ODD_KEYS, ids=lambda key: ascii(key)[:12])
def test_odd_key_is_unknown(browser: Client, service: Client, load: Load, key: str) -> None:
    load()
    for client in (browser, service):
        response = post(client, url_of(key))
        assert (response.status_code, response.json()["key"]) == (404, key)
        assert response["Content-Type"] == "application/json"
    # Bytes that are no text.
    assert post(service, f"{URL}/%ff%fe").status_code == 404


# From another site: without a preflight, a browser sends only these types.


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/plain; charset=application/json",
        "text/plain;application/json",
        "text/plain, application/json",
        "application/json, text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/json+x",
        "text/json",
    ],
)
def test_other_content_type_is_refused(browser: Client, alice: User, content_type: str) -> None:
    browser.force_login(alice)
    for url, key in ((URL, {}), (url_of("beta"), {"key": "beta"})):
        response = browser.generic(
            "POST", url, '{"context": {}}', content_type, headers={"Content-Type": content_type}
        )
        details = "the content type must be application/json"
        error = {"errorCode": "GENERAL", "errorDetails": details}
        assert (response.status_code, response.json()) == (415, {**key, **error})


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=UTF-8", "APPLICATION/JSON ;charset=utf-8"]
)
def test_content_type_of_sdks_is_accepted(browser: Client, content_type: str) -> None:
    response = browser.post(URL, '{"context": {}}', content_type)
    assert response.status_code == 200


def test_other_site_gets_no_permission_to_read_and_no_visitor(
    browser: Client, settings: Settings
) -> None:
    origin = {"Origin": "https://other.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    for response in (post(browser, URL, **origin), browser.options(URL, headers=asked)):
        assert not [name for name in response.headers if name.startswith("Access-Control")]
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, MIDDLEWARE]
    client_flag(bucket_by="visitor", rollout_percent=50)
    assert not post(browser, URL, **{"Sec-Fetch-Site": "cross-site"}).cookies


def test_site_cache_keeps_no_response(
    browser: Client, alice: User, new_checkout: FeatureFlag, settings: Settings
) -> None:
    settings.MIDDLEWARE = [
        "django.middleware.cache.UpdateCacheMiddleware",
        *settings.MIDDLEWARE,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
    FeatureFlag.objects.update(client_side=True)
    browser.force_login(alice)
    assert every(browser) == {"new_checkout": True}
    browser.logout()
    assert every(browser) == {"new_checkout": False}
