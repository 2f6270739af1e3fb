"""`resolve_flag`, `resolve_value` and `resolve_variant`, from memory and from the database."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import JSONField, Value

import flagstaff
from flagstaff import (
    _core,
    experiments,
    explain,
    flag_enabled,
    read_own_writes,
    resolve_flag,
    resolve_value,
    snapshot,
)
from flagstaff.exceptions import UnknownFlagError
from flagstaff.experiments import get_variant, resolve_variant
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import override_flag, override_value, override_variant
from tests.support.fixtures import Load
from tests.support.forced_off import forced_off
from tests.support.views import lazy_user

IN_ITALY = [{"attribute": "country", "operator": "in", "values": ["IT"]}]
IN_FRANCE = [{"attribute": "country", "operator": "in", "values": ["FR"]}]
RULES = [
    {"conditions": IN_ITALY, "rollout_percent": 0},
    {"conditions": IN_FRANCE, "rollout_percent": 100},
]


@pytest.fixture
def flags(load: Load) -> Load:
    for key, enabled, percent in (("on", True, 100), ("off", False, 100), ("half", True, 50)):
        FeatureFlag.objects.create(key=key, enabled=enabled, rollout_percent=percent)
    FeatureFlag.objects.create(key="ruled", enabled=True, rules=RULES)
    alice = User.objects.create(pk=42, username="alice")
    FeatureFlag.objects.create(key="listed", enabled=True).allowed_users.add(alice)
    KeyValueStore.objects.create(key="gateway", value="adyen")
    KeyValueStore.objects.create(key="nothing", value=Value(None, JSONField()))
    experiments.create("button")
    load()
    return load


def fields(resolution: Any) -> tuple[object, ...]:
    resolved = resolution
    return resolved.value, resolved.reason, resolved.error_code, resolved.variant, resolved.rule


@pytest.mark.usefixtures("flags")
@pytest.mark.parametrize(
    ("key", "user", "country", "expected"),
    [
        ("on", None, None, (True, "STATIC", None, "on", None)),
        ("off", 42, None, (False, "DISABLED", None, "off", None)),
        ("listed", 42, None, (True, "TARGETING_MATCH", None, "on", None)),
        ("half", None, None, (False, "DEFAULT", None, "off", None)),
        ("half", 1, None, (True, "SPLIT", None, "on", None)),
        ("ruled", 1, "IT", (False, "TARGETING_MATCH", None, "off", 1)),
        ("ruled", 1, "FR", (True, "TARGETING_MATCH", None, "on", 2)),
        ("unknown", 1, None, (True, "ERROR", "FLAG_NOT_FOUND", None, None)),
    ],
)
def test_flag_is_resolved_with_its_reason_variant_and_rule(
    key: str, user: int | None, country: str | None, expected: tuple[object, ...]
) -> None:
    # The bucket of user 1 for "half" is below 50.
    context = {"country": country}
    for resolve in (resolve_flag, snapshot().resolve_flag):
        result = resolve(key, user, default=key == "unknown", context=context)
        assert fields(result) == expected
    enabled = flag_enabled(key, user, default=key == "unknown", context=context)
    assert enabled == expected[0]


def test_user_is_read_only_if_the_result_depends_on_it(flags: Load) -> None:
    reads: list[object] = []
    alice = User.objects.get(pk=42)
    user = lazy_user(alice, reads)
    FeatureFlag.objects.get(key="on").allowed_users.add(alice)
    flags()
    assert (resolve_flag("on", user).reason, reads) == ("STATIC", [])
    assert explain("on", alice).reason == "TARGETING_MATCH"
    assert (resolve_flag("listed", user).reason, len(reads)) == ("TARGETING_MATCH", 1)


@pytest.mark.usefixtures("flags")
def test_value_is_resolved_and_null_is_not_the_default() -> None:
    for resolve in (resolve_value, snapshot().resolve_value):
        assert fields(resolve("gateway", "stripe")) == ("adyen", "STATIC", None, None, None)
        assert fields(resolve("nothing", "stripe")) == (None, "STATIC", None, None, None)
        unknown = resolve("unknown", "stripe")
        assert fields(unknown) == ("stripe", "ERROR", "FLAG_NOT_FOUND", None, None)


def test_variant_is_resolved_in_each_state(flags: Load) -> None:
    assert fields(resolve_variant("button", 1)) == (None, "DISABLED", None, None, None)
    experiments.start("button")
    flags()
    variant = get_variant("button", 1)
    for resolve in (resolve_variant, snapshot().resolve_variant):
        assert fields(resolve("button", 1)) == (variant, "SPLIT", None, variant, None)
        without_unit = resolve("button", default="plain")
        assert fields(without_unit) == ("plain", "DEFAULT", None, None, None)
        unknown = resolve("unknown", 1, default="plain")
        assert fields(unknown) == ("plain", "ERROR", "FLAG_NOT_FOUND", None, None)


def test_unknown_key_does_not_raise_where_evaluations_do(settings: Any) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": "raise"}
    for evaluator in (flagstaff, snapshot()):
        assert evaluator.resolve_flag("unknown").error_code == "FLAG_NOT_FOUND"
        assert evaluator.resolve_value("unknown").error_code == "FLAG_NOT_FOUND"
        with pytest.raises(UnknownFlagError):
            evaluator.flag_enabled("unknown")
    assert resolve_variant("unknown").error_code == "FLAG_NOT_FOUND"
    assert snapshot().resolve_variant("unknown").error_code == "FLAG_NOT_FOUND"


@pytest.mark.usefixtures("flags")
def test_overrides_are_resolved() -> None:
    with override_flag("off", True), override_value("gateway", 7), override_variant("button", "b"):
        assert fields(resolve_flag("off")) == (True, "STATIC", None, "on", None)
        assert fields(resolve_value("gateway")) == (7, "STATIC", None, None, None)
        assert fields(resolve_variant("button")) == ("b", "STATIC", None, "b", None)
    with forced_off(["on"]):
        assert fields(resolve_flag("on", default=True)) == (False, "DISABLED", None, "off", None)


@pytest.mark.usefixtures("flags")
def test_kind_of_a_key_is_known_with_overrides_and_forced_off_keys() -> None:
    kinds = [snapshot().kind_of(key) for key in ("on", "gateway", "button", "unknown")]
    assert kinds == ["flag", "value", "variant", None]
    with override_flag("a", True), override_value("b", 1), override_variant("c", None):
        assert [_core.current(key).kind_of(key) for key in "abcd"] == [
            "flag",
            "value",
            "variant",
            None,
        ]
    with forced_off(["button", "unknown"]):
        assert _core.current("button").kind_of("button") == "variant"
        assert _core.current("unknown").kind_of("unknown") == "flag"


@pytest.mark.usefixtures("flags")
def test_kind_of_a_key_is_that_of_the_rows_that_the_transaction_has_written() -> None:
    with transaction.atomic(), read_own_writes():
        FeatureFlag.objects.filter(key="on").delete()
        KeyValueStore.objects.create(key="on", value=1)
        assert _core.current("on").kind_of("on") == "value"


@pytest.mark.usefixtures("flags")
def test_resolution_is_immutable_and_shown_by_repr() -> None:
    result = resolve_flag("ruled", 1, context={"country": "FR"})
    text = "Resolution(value=True, reason='TARGETING_MATCH', variant='on', rule=2)"
    assert repr(result) == text
    assert "error_code='FLAG_NOT_FOUND'" in repr(resolve_flag("unknown"))
    with pytest.raises(AttributeError):
        result.value = False  # type: ignore[misc]
