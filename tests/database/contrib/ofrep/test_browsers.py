"""What a browser with the session of a user gets."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from pytest_django import DjangoAssertNumQueries, Settings

from flagstaff import _core, refresh, snapshot
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag
from tests.database.contrib.ofrep.conftest import Configure
from tests.support.fixtures import COMMITTED, Load
from tests.support.ofrep import NOT_FOUND, URL, client_flag, every, post, result_of, url_of
from tests.support.shop import GERMAN, STAFF, Shop
from tests.support.sql import rows


def test_single_result_is_that_of_the_user_of_the_session(
    browser: Client, alice: User, new_checkout: FeatureFlag, load: Load
) -> None:
    FeatureFlag.objects.update(client_side=True)
    load()
    off = {"key": "new_checkout", "variant": "off", "value": False}
    unknown = {"reason": "UNKNOWN", "metadata": {"reason": "DEFAULT"}}
    assert result_of(browser, "new_checkout") == off | unknown
    browser.force_login(alice)
    on = {"key": "new_checkout", "variant": "on", "value": True, "reason": "TARGETING_MATCH"}
    assert result_of(browser, "new_checkout") == on


def test_bulk_has_client_side_flags_only_in_order(shop: Shop, browser: Client, load: Load) -> None:
    client_flag("b", rollout_percent=100)
    client_flag("a", enabled=False)
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    shop.experiment("button")
    load()
    assert post(browser, URL).json() == {
        "flags": [
            {"key": "a", "variant": "off", "value": False, "reason": "DISABLED"},
            {"key": "b", "variant": "on", "value": True, "reason": "STATIC"},
        ]
    }


def test_bulk_has_the_reasons_of_single_results(browser: Client, alice: User, load: Load) -> None:
    for percent in (0, 50, 100):
        client_flag(f"at_{percent}", rollout_percent=percent).allowed_users.add(alice)
    client_flag("ruled", GERMAN, rollout_percent=30)
    load()
    browser.force_login(alice)
    items = post(browser, URL).json()["flags"]
    assert items == [result_of(browser, item["key"]) for item in items]


@pytest.mark.parametrize("key", ["hidden", "gateway", "api_key", "button", "nothing"])
def test_other_key_is_an_unknown_key(shop: Shop, browser: Client, load: Load, key: str) -> None:
    FeatureFlag.objects.create(key="hidden", enabled=True, rollout_percent=100)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    KeyValueStore.objects.create(key="api_key", value="s3cr3t", secret=True)
    shop.experiment("button")
    load()
    response = post(browser, url_of(key))
    assert (response.status_code, response.json()) == (404, {"key": key, **NOT_FOUND})


def test_flag_with_unreadable_rules_is_an_error(browser: Client, load: Load) -> None:
    client_flag(rules=[{"conditions": [{"attribute": 5}]}])
    load()
    error = {"errorCode": "PARSE_ERROR", "errorDetails": "the rules cannot be read"}
    response = post(browser, url_of("beta"))
    assert (response.status_code, response.json()) == (400, {"key": "beta", **error})
    assert post(browser, URL).json() == {"flags": [{"key": "beta", **error}]}


def test_number_of_the_rule_is_not_for_browsers(browser: Client, configure: Configure) -> None:
    configure(CLIENT_ATTRIBUTES=["country"])
    client_flag("beta", GERMAN)
    on = {"key": "beta", "variant": "on", "value": True, "reason": "TARGETING_MATCH"}
    assert result_of(browser, "beta", {"country": "DE"}) == on


@COMMITTED
def test_only_the_session_is_queried(
    browser: Client,
    alice: User,
    django_assert_num_queries: DjangoAssertNumQueries,
    settings: Any,
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    client_flag("for_all", rollout_percent=100)
    browser.force_login(alice)
    with live_engine():
        with django_assert_num_queries(0):
            assert every(browser) == {"for_all": True}
            assert result_of(browser, "for_all")["value"] is True
        client_flag(rollout_percent=50)
        refresh()
        # The session and its user.
        for url in (URL, url_of("beta")):
            with django_assert_num_queries(2):
                assert post(browser, url).status_code == 200


def test_visitor_of_the_cookie_is_used_and_a_new_one_is_set(
    browser: Client, settings: Settings
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    client_flag(bucket_by="visitor", rollout_percent=50)
    first = post(browser, URL)
    assert "flagstaff_visitor" in first.cookies
    for _ in range(3):
        again = post(browser, URL)
        assert (again.content, again.cookies) == (first.content, {})


def test_view_works_under_asgi(alice: User) -> None:
    client_flag(rollout_percent=50).allowed_users.add(alice)
    browser = AsyncClient()
    browser.force_login(alice)
    send = async_to_sync(browser.post)
    response = send(URL, '{"context": {}}', content_type="application/json")
    assert response.json()["flags"][0]["value"] is True
    response = send(url_of("beta"), '{"context": {}}', content_type="application/json")
    assert response.json()["reason"] == "TARGETING_MATCH"


def test_override_is_served_for_client_side_flags_only(browser: Client) -> None:
    client_flag()
    FeatureFlag.objects.create(key="hidden")
    with override_flag("beta", True), override_flag("hidden", True), override_flag("new", True):
        assert every(browser) == {"beta": True}
        assert result_of(browser, "hidden")["errorCode"] == "FLAG_NOT_FOUND"


def test_login_is_not_required(browser: Client, settings: Settings) -> None:
    required = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, required]
    assert post(browser, URL).status_code == 200


def a_value(key: str, value: Any, **fields: Any) -> KeyValueStore:
    return KeyValueStore.objects.create(
        **{"key": key, "value": value, "client_side": True} | fields
    )


def test_value_is_sent_only_if_it_is_client_side(browser: Client, load: Load) -> None:
    a_value("page_size", 20)
    a_value("hidden", 5, client_side=False)
    load()
    result = {"key": "page_size", "variant": "", "value": 20, "reason": "STATIC"}
    assert result_of(browser, "page_size") == result
    assert post(browser, URL).json() == {"flags": [result]}
    hidden, unknown = (post(browser, url_of(key)) for key in ("hidden", "nothing"))
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.json() | {"key": ""} == unknown.json() | {"key": ""}
    assert hidden.json()["errorCode"] == NOT_FOUND["errorCode"]


def test_rules_decide_for_the_user_of_the_session(browser: Client, alice: User, load: Load) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    a_value("page_size", 20, rules=[{"conditions": [STAFF], "value": 50}])
    load()
    body = {"context": {"targetingKey": str(alice.pk), "is_staff": True}}
    assert post(browser, url_of("page_size"), body).json()["value"] == 20
    browser.force_login(alice)
    of_alice = {"key": "page_size", "variant": "", "value": 50, "reason": "TARGETING_MATCH"}
    assert result_of(browser, "page_size") == of_alice
    assert [item["value"] for item in post(browser, URL).json()["flags"]] == [50]


def test_secret_value_is_not_sent_even_if_sql_makes_it_client_side(
    browser: Client, load: Load
) -> None:
    a_value("password", "hunter2")
    rows("UPDATE flagstaff_keyvaluestore SET secret = true")
    load()
    assert post(browser, url_of("password")).status_code == 404
    assert post(browser, URL).json() == {"flags": []}


def test_flag_with_the_key_of_a_value_hides_it(browser: Client, load: Load) -> None:
    a_value("page_size", 20)
    FeatureFlag.objects.create(key="page_size", enabled=True)
    load()
    assert post(browser, url_of("page_size")).status_code == 404
    assert post(browser, URL).json() == {"flags": []}


def test_browser_cannot_set_the_unit_of_a_value(
    browser: Client, configure: Configure, load: Load
) -> None:
    configure(CLIENT_ATTRIBUTES=["organization"])
    rules = [{"conditions": [], "rollout_percent": 99, "value": 50}]
    a_value("page_size", 20, rules=rules, bucket_by="organization")
    load()
    assert _core.client_side_units(snapshot()) == {"organization"}
    body = {"context": {"organization": "acme"}}
    result = post(browser, url_of("page_size"), body).json()
    assert (result["value"], result["metadata"]) == (20, {"reason": "DEFAULT"})
