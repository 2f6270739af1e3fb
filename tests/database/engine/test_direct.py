"""Direct mode: each evaluation queries the database, with the same result as from memory."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from flagstaff import explain, flag_enabled, get_value, status
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from flagstaff.typing import UserLike

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice(db: None) -> User:
    """An allowed user."""
    return User.objects.create(pk=42, username="alice")


@pytest.fixture
def flag(alice: User) -> FeatureFlag:
    """A flag for a third of the users, and for alice."""
    flag = FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=33)
    flag.allowed_users.add(alice)
    return flag


@pytest.fixture
def only_alice(flag: FeatureFlag) -> None:
    FeatureFlag.objects.update(rollout_percent=0)


def result(user: UserLike) -> tuple[bool, str, int | None]:
    explanation = explain("new_checkout", user)
    return explanation.value, explanation.reason, explanation.bucket


def test_explain_returns_the_reason_of_each_step(flag: FeatureFlag) -> None:
    # The buckets of 1, 2, 42 and 100000 are 2, 51, 33 and 66.
    assert result(1) == (True, "SPLIT", 2)
    assert result(2) == (False, "SPLIT", 51)
    assert result(42) == (True, "TARGETING_MATCH", 33)
    assert result(None) == result(AnonymousUser()) == (False, "DEFAULT", None)
    FeatureFlag.objects.update(rollout_percent=100)
    assert result(100_000) == (True, "STATIC", 66)
    assert result(42) == (True, "TARGETING_MATCH", 33)
    FeatureFlag.objects.update(enabled=False)
    assert result(42) == (False, "DISABLED", 33)


def test_unknown_flag_is_not_found(db: None) -> None:
    explanation = explain("new_checkout", 42)
    assert asdict(explanation) == {
        "key": "new_checkout",
        "value": False,
        "reason": "ERROR",
        "error_code": "FLAG_NOT_FOUND",
        "bucket": None,
        "rollout_percent": None,
        "bucket_by": None,
        "override": None,
        "rule": None,
        "rule_name": None,
        "rules": (),
        "rules_problem": None,
    }


@pytest.mark.usefixtures("only_alice")
def test_allowed_user_is_found_by_object_and_by_canonical_key(alice: User) -> None:
    for user in (alice, 42, "42"):
        assert flag_enabled("new_checkout", user) is True


@pytest.mark.usefixtures("only_alice")
@pytest.mark.parametrize(
    "user",
    ["042", "+42", "-42", " 42", "42 ", "4_2", "42.0", "\N{FULLWIDTH DIGIT FOUR}2", "", "42" * 11],
)
def test_text_that_is_no_canonical_integer_is_not_allowed(user: str) -> None:
    assert explain("new_checkout", user).reason == "SPLIT"


@pytest.mark.usefixtures("only_alice")
@pytest.mark.parametrize("user", [-42, 2**63, 2**200, uuid.UUID(int=42)], ids=str)
def test_key_without_a_user_is_not_allowed(user: UserLike) -> None:
    assert explain("new_checkout", user).reason == "SPLIT"


@pytest.mark.usefixtures("only_alice")
@pytest.mark.parametrize("user", [True, 42.0, b"42", ["42"]], ids=repr)
def test_user_of_a_wrong_type_raises(user: Any) -> None:
    with pytest.raises(TypeError):
        flag_enabled("new_checkout", user)


VALUES: list[Any] = [
    *(True, False, 0, -1, 2**63, 10**40, 0.1, -0.0, 1e300),
    *("", "stripe", 'quote "', "Grüße 🥐", "42"),
    *([], {}, [1, [2, [None]]], {"b": {"a": [1.5, True, None]}}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_equals_the_orms(value: Any) -> None:
    KeyValueStore.objects.create(key="gateway", value=value)
    expected = KeyValueStore.objects.get(key="gateway").value
    found = get_value("gateway")
    assert (found, type(found), repr(found)) == (expected, type(expected), repr(expected))


def test_value_is_a_new_object_each_time() -> None:
    KeyValueStore.objects.create(key="cities", value=["Rome"])
    get_value("cities").append("Oslo")
    assert get_value("cities") == ["Rome"]


def test_missing_value_returns_the_default() -> None:
    assert get_value("gateway") is None
    assert get_value("gateway", "stripe") == "stripe"


@pytest.mark.parametrize("key", ["", "new\0checkout", "new\ud800", "x" * 300], ids=ascii)
def test_key_that_no_row_can_have_is_not_found(key: str) -> None:
    assert flag_enabled(key, default=True) is True
    assert explain(key).error_code == "FLAG_NOT_FOUND"
    assert get_value(key, "none") == "none"


def test_keys_are_case_and_accent_sensitive(flag: FeatureFlag) -> None:
    for key in ("New_checkout", "new_checkout ", "néw_checkout"):
        assert explain(key).error_code == "FLAG_NOT_FOUND"


@pytest.mark.django_db(transaction=True)
def test_memory_and_database_explain_alike(alice: User) -> None:
    users = [None, alice, AnonymousUser(), User(), "42", "042", "Åsa", uuid.UUID(int=7), 2**70]
    users += range(50)
    keys = []
    for percent in (0, 1, 33, 99, 100):
        for enabled in (True, False):
            keys.append(f"flag_{percent}_{enabled}")
            flag = FeatureFlag.objects.create(
                key=keys[-1], enabled=enabled, rollout_percent=percent
            )
            flag.allowed_users.add(alice)
    assert status().mode in ("direct", "idle")
    directly = [explain(key, user) for key in [*keys, "unknown"] for user in users]
    with live_engine():
        assert status().mode == "live"
        from_memory = [explain(key, user) for key in [*keys, "unknown"] for user in users]
    assert from_memory == directly
