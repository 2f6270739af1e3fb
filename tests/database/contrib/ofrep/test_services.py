"""What a service with a key gets."""

import json
import re
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import JSONField, Value
from django.test import Client
from pytest_django import DjangoAssertNumQueries, Settings

from flagstaff import Value as DeclaredValue
from flagstaff import experiments, listeners, refresh, usage
from flagstaff.contrib.ofrep.settings import hash_of
from flagstaff.experiments.models import Exposure
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_value
from tests.database.contrib.ofrep.conftest import Configure
from tests.support.conditions import condition
from tests.support.fixtures import COMMITTED, Load
from tests.support.ofrep import BEARER, KEY, NOT_FOUND, URL, every, post, result_of, url_of
from tests.support.shop import GERMANY
from tests.support.sql import rows
from tests.support.terminals import document, run

STAFF = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}

OF_USERS = {"conditions": [{"attribute": "is_authenticated", "operator": "in", "values": [True]}]}


@pytest.mark.parametrize(
    "headers",
    [
        BEARER,
        {"Authorization": f"bearer {KEY} "},
        {"X-API-Key": KEY},
        {"X-API-Key": KEY, "Authorization": "Basic c3RhZ2luZzpzZWNyZXQ="},
    ],
)
def test_key_is_sent_in_either_header(browser: Client, headers: dict[str, str]) -> None:
    assert post(browser, URL, **headers).status_code == 200


def test_each_of_several_keys_is_known(browser: Client, configure: Configure) -> None:
    configure(KEYS={"old": hash_of("one"), "new": hash_of("two")})
    for key, status in (("one", 200), ("two", 200), (KEY, 401)):
        assert post(browser, URL, **{"X-API-Key": key}).status_code == status


def test_targeting_key_is_the_primary_key_of_a_user(
    service: Client, alice: User, new_checkout: FeatureFlag, load: Load
) -> None:
    load()
    on = {"key": "new_checkout", "variant": "on", "value": True, "reason": "TARGETING_MATCH"}
    assert result_of(service, "new_checkout", {"targetingKey": str(alice.pk)}) == on
    for context in ({"targetingKey": "0"}, {"targetingKey": ""}, {}):
        assert result_of(service, "new_checkout", context)["value"] is False


def test_context_is_what_rules_read(service: Client, load: Load) -> None:
    rules = [STAFF, GERMANY]
    FeatureFlag.objects.create(key="beta", enabled=True, rules=rules)
    load()
    result = result_of(service, "beta", {"country": "DE", "targetingKey": "7"})
    assert (result["value"], result["metadata"]) == (True, {"rule": 2})
    assert result_of(service, "beta", {"country": "FR"})["value"] is False
    assert result_of(service, "beta", {"is_staff": True})["value"] is False


def attributes(user: User | None, request: Any) -> dict[str, object]:
    """The function of ATTRIBUTES."""
    return {"environment": "staging"} if request is None else {"host": request.get_host()}


def test_function_serves_the_deployment_and_not_the_request_of_the_service(
    service: Client, load: Load, settings: Settings
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.attributes"}
    for name, value in {"environment": "staging", "host": "testserver"}.items():
        rules = [{"conditions": [condition(name, "in", value)]}]
        FeatureFlag.objects.create(key=name, enabled=True, rules=rules)
    load()
    for context in ({}, {"targetingKey": "7"}):
        assert result_of(service, "environment", context)["value"] is True
        assert result_of(service, "host", context)["value"] is False


def test_groups_are_those_of_the_user(service: Client, alice: User, load: Load) -> None:
    alice.groups.add(Group.objects.create(name="beta"))
    conditions = [{"attribute": "groups", "operator": "in", "values": ["beta"]}]
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": conditions}])
    load()
    assert result_of(service, "beta", {"targetingKey": str(alice.pk)})["value"] is True
    assert result_of(service, "beta", {"targetingKey": "0", "groups": ["beta"]})["value"] is False


def test_visitor_is_that_of_the_context_and_not_of_the_request(
    service: Client, settings: Settings
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "flagstaff.middleware.FlagstaffMiddleware"]
    fields = {"enabled": True, "bucket_by": "visitor", "rollout_percent": 99}
    FeatureFlag.objects.create(key="front", **fields)
    without = post(service, url_of("front"))
    assert without.json()["metadata"] == {"reason": "DEFAULT"}
    assert not without.cookies
    assert result_of(service, "front", {"visitor": "v1"})["reason"] == "SPLIT"
    assert not post(service, URL).cookies


VALUES = {
    "text": "stripe",
    "number": 5,
    "share": 0.5,
    "switch": True,
    "nested": {"a": [1, None]},
    "list": [1, 2],
}


def test_value_is_served_with_its_type(service: Client, load: Load) -> None:
    for key, value in VALUES.items():
        KeyValueStore.objects.create(key=key, value=value)
    KeyValueStore.objects.create(key="null", value=Value(None, JSONField()))
    load()
    for key, value in VALUES.items():
        expected = {"key": key, "value": value, "reason": "STATIC", "variant": ""}
        assert result_of(service, key) == expected
    # A value that is null is the default of the code.
    assert result_of(service, "null") == {"key": "null", "reason": "STATIC", "variant": ""}
    assert every(service) == {**VALUES, "null": None}


class Size(Enum):
    LARGE = "l"


@pytest.mark.parametrize(
    ("default", "value"),
    [
        (Decimal("4.90"), "4.90"),
        (timedelta(minutes=5), "00:05:00"),
        (date(2027, 3, 1), "2027-03-01"),
        (datetime(2027, 3, 1, 12, tzinfo=timezone.utc), "2027-03-01T12:00:00+00:00"),
        (Size.LARGE, "l"),
    ],
)
def test_declared_value_is_served_as_json_stores_it(
    default: object, value: str, service: Client, load: Load
) -> None:
    DeclaredValue("size", default)
    load()
    assert result_of(service, "size")["value"] == value
    assert every(service) == {"size": value}


def test_value_that_is_not_as_declared_has_no_result(service: Client, load: Load) -> None:
    DeclaredValue("page_size", 20)
    KeyValueStore.objects.create(key="page_size", value="many")
    load()
    assert result_of(service, "page_size") == {
        "key": "page_size",
        "errorCode": "TYPE_MISMATCH",
        "errorDetails": "the value is not what code declares",
    }
    assert every(service) == {"page_size": None}


def test_value_with_rules_is_that_of_the_user_and_the_context(
    service: Client, alice: User, load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    rules = [GERMANY | {"value": "de"}, OF_USERS | {"value": "user"}]
    KeyValueStore.objects.create(key="gateway", value="anonymous", rules=rules)
    load()
    user = {"targetingKey": str(alice.pk)}
    for context, value, metadata in (
        ({}, "anonymous", {"reason": "DEFAULT"}),
        (user, "user", {"rule": 2}),
        (user | {"country": "DE"}, "de", {"rule": 1}),
    ):
        result = result_of(service, "gateway", context)
        assert (result["value"], result["metadata"]) == (value, metadata)
        assert every(service, context) == {"gateway": value}
    assert "gateway" not in caplog.text


@COMMITTED
def test_values_in_bulk_are_not_counted_and_call_no_listener(service: Client) -> None:
    # A key that no other test uses: the process counts it until its end.
    rules = [GERMANY | {"value": "de"}]
    KeyValueStore.objects.create(key="counted_value", value="other", rules=rules)
    heard: list[str] = []
    remove = listeners.add(lambda evaluation: heard.append(evaluation.key))
    try:
        with live_engine():
            every(service, {"country": "DE"})
            assert heard == []
            result_of(service, "counted_value", {"country": "DE"})
            assert heard == ["counted_value"]
    finally:
        remove()
    [counted] = usage("counted_value").hours
    assert (counted.result, counted.count) == ("1", 1)


def test_secret_value_is_an_unknown_key(service: Client, load: Load) -> None:
    KeyValueStore.objects.create(key="api_key", value="s3cr3t", secret=True)
    load()
    response = post(service, url_of("api_key"))
    assert (response.status_code, response.json()) == (404, {"key": "api_key", **NOT_FOUND})
    assert post(service, URL).json() == {"flags": []}
    with override_value("api_key", "other"):
        assert result_of(service, "api_key")["errorCode"] == "FLAG_NOT_FOUND"


def test_flag_precedes_a_value_of_the_same_key(service: Client, load: Load) -> None:
    KeyValueStore.objects.create(key="both", value="a text")
    FeatureFlag.objects.create(key="both")
    load()
    assert result_of(service, "both")["value"] is False
    assert every(service) == {"both": False}


def test_number_that_json_cannot_hold_is_an_error_of_its_key(service: Client, load: Load) -> None:
    # Stored exactly, and infinite as a float.
    KeyValueStore.objects.create(key="huge", value=0)
    rows("UPDATE flagstaff_keyvaluestore SET value = %s", f"1{'0' * 400}.5")
    KeyValueStore.objects.create(key="other", value=2)
    load()
    error = {"key": "huge", "errorCode": "GENERAL", "errorDetails": "JSON cannot hold the value"}
    response = post(service, url_of("huge"))
    assert (response.status_code, response.json()) == (400, error)
    items = post(service, URL).json()["flags"]
    assert items == [error, {"key": "other", "value": 2, "reason": "STATIC", "variant": ""}]


def test_decimal_is_a_number(service: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in (("share", 0.5), ("count", 5.0)):
        KeyValueStore.objects.create(key=key, value=value)
    field = KeyValueStore._meta.get_field("value")
    decode = partial(json.loads, parse_float=Decimal)
    monkeypatch.setattr(field, "from_db_value", lambda text, *_: decode(text))
    assert every(service) == {"count": 5, "share": 0.5}


@COMMITTED
def test_experiment_is_recorded_by_a_single_request_only(service: Client, alice: User) -> None:
    experiments.create("button")
    experiments.start("button")
    with live_engine():
        assert every(service, {"targetingKey": str(alice.pk)}) == {}
        result = result_of(service, "button", {"targetingKey": str(alice.pk)})
        assert result["variant"] == result["value"]
        assert result["reason"] == "SPLIT"
    assert [exposure.unit for exposure in Exposure.objects.all()] == [str(alice.pk)]


def test_unit_without_a_variant_gets_the_default_of_the_code(service: Client, load: Load) -> None:
    experiments.create("button")
    load()
    result = result_of(service, "button", {"targetingKey": "7"})
    assert "value" not in result
    assert (result["variant"], result["reason"]) == ("", "DISABLED")


@COMMITTED
def test_nothing_is_queried(
    service: Client, alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    rules = [STAFF, GERMANY]
    flag = FeatureFlag.objects.create(key="beta", enabled=True, rollout_percent=50, rules=rules)
    flag.allowed_users.add(alice)
    KeyValueStore.objects.create(key="gateway", value="stripe")
    with live_engine():
        refresh()
        # A session of the browser that the service happens to send is not read.
        service.force_login(alice)
        with django_assert_num_queries(0):
            assert every(service, {"targetingKey": str(alice.pk)})["beta"] is True
            assert result_of(service, "beta", {"targetingKey": str(alice.pk)})["value"] is True
            assert result_of(service, "gateway")["value"] == "stripe"


# The key, which manage.py flags ofrep-key makes.


def test_key_is_random_and_shown_with_its_hash() -> None:
    ran = run("ofrep-key")
    [key, digest] = re.fullmatch(r"key\t(\S+)\nsha256\t(\S+)\n", ran.out).groups()  # type: ignore[union-attr]
    # 32 random bytes.
    assert re.fullmatch(r"ofrep_[\w-]{43}", key)
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    assert "the only time that it is shown" in ran.err
    assert key not in ran.err
    assert run("ofrep-key").out != ran.out


def test_key_is_known_to_the_endpoints(client: Client, settings: Settings) -> None:
    settings.ROOT_URLCONF = "tests.support.ofrep"
    made = document("ofrep-key")
    settings.FLAGSTAFF = {"OFREP_KEYS": {"billing": made["sha256"]}}
    for key, status in ((made["key"], 200), (made["sha256"], 401)):
        assert post(client, URL, **{"X-API-Key": key}).status_code == status
