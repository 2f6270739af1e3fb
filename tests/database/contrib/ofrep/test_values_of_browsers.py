"""The values that a browser gets."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.test import Client

from flagstaff import _core, changes, snapshot
from flagstaff.exceptions import InvalidChangeError
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.database.contrib.ofrep.conftest import Configure
from tests.support.fixtures import Load
from tests.support.ofrep import NOT_FOUND, URL, one, post, url_of
from tests.support.sql import rows

pytestmark = pytest.mark.django_db

STAFF = [{"attribute": "is_staff", "operator": "in", "values": [True]}]


def a_value(key: str, value: Any, **fields: Any) -> KeyValueStore:
    return KeyValueStore.objects.create(
        **{"key": key, "value": value, "client_side": True} | fields
    )


def test_value_is_sent_only_if_it_is_client_side(browser: Client, load: Load) -> None:
    a_value("page_size", 20)
    a_value("hidden", 5, client_side=False)
    load()
    found = {"key": "page_size", "variant": "", "value": 20, "reason": "STATIC"}
    assert one(browser, "page_size") == found
    assert post(browser, URL).json() == {"flags": [found]}
    hidden, unknown = (post(browser, url_of(key)) for key in ("hidden", "nothing"))
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.json() | {"key": ""} == unknown.json() | {"key": ""}
    assert hidden.json()["errorCode"] == NOT_FOUND["errorCode"]


def test_rules_decide_for_the_user_of_the_session(browser: Client, alice: User, load: Load) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    a_value("page_size", 20, rules=[{"conditions": STAFF, "value": 50}])
    load()
    body = {"context": {"targetingKey": str(alice.pk), "is_staff": True}}
    assert post(browser, url_of("page_size"), body).json()["value"] == 20
    browser.force_login(alice)
    assert one(browser, "page_size") == {
        "key": "page_size",
        "variant": "",
        "value": 50,
        "reason": "TARGETING_MATCH",
    }
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
    found = post(browser, url_of("page_size"), body).json()
    assert (found["value"], found["metadata"]) == (20, {"reason": "DEFAULT"})


def test_secret_value_cannot_be_client_side() -> None:
    message = "a secret value cannot be client side; choose one of the two"
    with pytest.raises(InvalidChangeError, match=message):
        changes.values.create("password", "hunter2", secret=True, client_side=True)
    changes.values.create("page_size", 20, client_side=True)
    with pytest.raises(InvalidChangeError, match=message):
        changes.values.update("page_size", {"secret": True})
    changes.values.update("page_size", {"secret": True, "client_side": False})
    row = KeyValueStore(key="token", value="t", secret=True, client_side=True)
    with pytest.raises(ValidationError, match=message):
        row.full_clean()
