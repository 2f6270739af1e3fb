"""What declared flags and values evaluate to, in memory and in direct mode."""

import enum
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from django.core.validators import MaxValueValidator
from django.db.models import JSONField, expressions

from flagstaff import (
    Flag,
    Value,
    all_flags,
    explain_value,
    flag_enabled,
    get_value,
    refresh,
    resolve_flag,
    resolve_value,
    snapshot,
    status,
)
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine, override_flag, override_value
from tests.support.conditions import condition, rule
from tests.support.fixtures import Load

BY_NAME = condition("username", "in", "alice")


class Plan(enum.Enum):
    FREE = "free"
    PAID = "paid"


def test_declared_flag_without_a_row_is_off(load: Load) -> None:
    flag = Flag("new_checkout")
    load()
    assert flag.enabled(1) is False
    assert flag_enabled("new_checkout", 1, default=True) is False
    assert resolve_flag(flag, 1).reason == "DISABLED"
    assert all_flags()["new_checkout"] is False


def test_declared_flag_with_a_row_is_what_the_row_says(load: Load) -> None:
    flag = Flag("new_checkout")
    load()
    FeatureFlag.objects.create(key="new_checkout", enabled=True, rollout_percent=100)
    load()
    assert flag.enabled(1) is True
    FeatureFlag.objects.all().delete()
    load()
    assert flag.enabled(1) is False


def test_declared_value_without_a_row_is_its_default(load: Load) -> None:
    page_size = Value("page_size", 20)
    load()
    assert page_size.get() == 20
    assert get_value("page_size", default=5) == 20
    assert resolve_value(page_size).reason == "STATIC"
    assert snapshot().get_value(page_size) == 20


def test_declared_value_with_a_row_is_what_the_row_says(load: Load) -> None:
    page_size = Value("page_size", 20)
    load()
    KeyValueStore.objects.create(key="page_size", value=50)
    load()
    assert page_size.get() == 50
    KeyValueStore.objects.all().delete()
    load()
    assert page_size.get() == 20


def test_list_of_a_default_is_fresh_for_each_caller(load: Load) -> None:
    countries = Value("countries", ["DE"])
    load()
    countries.get().append("AT")
    assert countries.get() == countries.default == ["DE"]


FITS: list[tuple[object, object, object]] = [
    (False, True, True),
    (20, 50, 50),
    (20, 10**30, 10**30),
    (2.5, 3, 3.0),
    (2.5, 3.5, 3.5),
    ("a", "b", "b"),
    ([1], [2], [2]),
    ({}, {"a": 1}, {"a": 1}),
    (Decimal("4.90"), "5.10", Decimal("5.10")),
    (Decimal("4.90"), 5, Decimal(5)),
    (date(2027, 3, 1), "2027-04-01", date(2027, 4, 1)),
    (datetime(2027, 3, 1), "2027-04-01T10:00:00", datetime(2027, 4, 1, 10)),  # noqa: DTZ001
    (timedelta(minutes=5), "00:10:00", timedelta(minutes=10)),
    (Plan.FREE, "paid", Plan.PAID),
]


@pytest.mark.parametrize(("default", "stored", "expected"), FITS, ids=str)
def test_stored_value_is_read_in_its_declared_type(
    default: Any, stored: object, expected: object, load: Load
) -> None:
    value = Value("x", default)
    KeyValueStore.objects.create(key="x", value=stored, rules=[rule(BY_NAME, value=stored)])
    load()
    alice = {"username": "alice"}
    for result in (value.get(), value.get(), value.get(context=alice), get_value("x")):
        assert result == expected
        assert type(result) is type(expected)
    assert resolve_value(value, context=alice).rule == 1


def test_decimal_is_read_from_its_json_text(load: Load) -> None:
    fee = Value("delivery_fee", Decimal("4.90"))
    KeyValueStore.objects.create(key="delivery_fee", value=0.1)
    load()
    assert fee.get() == Decimal("0.1")


WRONG: list[tuple[object, object]] = [
    (False, 1),
    (20, "20"),
    (20, 20.5),
    (20, True),
    (2.5, "2.5"),
    ("a", 1),
    ([1], {}),
    ({}, []),
    (Decimal("4.90"), "cheap"),
    (Decimal("4.90"), True),
    (date(2027, 3, 1), "2027-02-30"),
    (date(2027, 3, 1), "2027-03-01T12:00:00"),
    (datetime(2027, 3, 1), "2027-03-01"),  # noqa: DTZ001
    (timedelta(minutes=5), "5 minutes"),
    (Plan.FREE, "gold"),
]


@pytest.mark.parametrize(("default", "stored"), WRONG, ids=str)
def test_stored_value_of_another_type_is_its_default(
    default: Any, stored: object, load: Load
) -> None:
    value = Value("x", default)
    KeyValueStore.objects.create(key="x", value=stored, rules=[rule(BY_NAME, value=stored)])
    load()
    alice = {"username": "alice"}
    for context in ({}, alice):
        assert value.get(context=context) == get_value("x", context=context) == default
        resolution = resolve_value(value, context=context)
        assert (resolution.reason, resolution.error_code) == ("ERROR", "TYPE_MISMATCH")
        assert explain_value("x", context=context).error_code == "TYPE_MISMATCH"


def test_value_that_is_no_choice_is_its_default(load: Load) -> None:
    gateway = Value("payment_gateway", "stripe", choices=["stripe", "paypal"])
    KeyValueStore.objects.create(key="payment_gateway", value="klarna")
    load()
    assert gateway.get() == "stripe"


def test_null_is_read_only_if_it_is_declared(load: Load) -> None:
    limit, size = Value("limit", None, type=int), Value("size", 20)
    for key in ("limit", "size"):
        KeyValueStore.objects.create(key=key, value=expressions.Value(None, JSONField()))
    load()
    assert limit.get() is None
    assert size.get() == 20


def test_value_that_is_declared_later_is_known_at_once(load: Load) -> None:
    KeyValueStore.objects.create(key="page_size", value="20")
    load()
    assert get_value("page_size") == "20"
    assert Value("page_size", 30).get() == 30


@pytest.mark.django_db(transaction=True)
def test_wrong_values_are_problems_without_the_values() -> None:
    Value("api_key", 20, secret=True)
    KeyValueStore.objects.create(key="api_key", value="sk_1", rules=[rule(BY_NAME, value="sk_2")])
    with live_engine():
        refresh()
        problems = status().problems
    assert [str(problem) for problem in problems] == [
        (
            'value "api_key" is not as code declares it, so evaluations return the default: '
            "the value must be an integer, not a string"
        ),
        (
            'value "api_key" is not as code declares it, so evaluations return the default: '
            "the value of rule 1 must be an integer, not a string"
        ),
    ]


def test_overrides_take_declared_keys(load: Load) -> None:
    flag, fee = Flag("new_checkout"), Value("delivery_fee", Decimal("4.90"))
    load()
    with override_flag(flag, True), override_value(fee, Decimal("5.10")):
        assert flag.enabled(1)
        assert fee.get() == Decimal("5.10")


def test_value_of_a_browser_needs_code_and_row(load: Load) -> None:
    Flag("open", client_side=True)
    Flag("closed")
    for key in ("open", "closed"):
        FeatureFlag.objects.create(key=key, client_side=True)
    load()
    assert [*all_flags(client_side=True)] == ["open"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("engine")
class TestUndeclaredValue:
    def problems(self) -> list[str]:
        return [str(problem) for problem in status().problems]

    def test_another_type_than_the_default_is_returned_and_a_problem(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        KeyValueStore.objects.create(key="page_size", value="20")
        refresh()
        assert get_value("page_size") == "20"
        assert self.problems() == []
        for _ in range(2):
            assert get_value("page_size", default=20) == "20"
        problem = (
            'value "page_size" is a string, but a call has a number as its default; correct one '
            "of them, or declare the value"
        )
        assert self.problems() == [problem]
        get_value("page_size", default=20)
        assert [record.getMessage() for record in caplog.records].count(problem) == 1

    def test_corrected_value_is_no_problem(self) -> None:
        KeyValueStore.objects.create(key="page_size", value="20")
        refresh()
        get_value("page_size", default=20)
        KeyValueStore.objects.update(value=20)
        refresh()
        assert get_value("page_size", default=20) == 20
        assert self.problems() == []

    @pytest.mark.parametrize(
        ("stored", "default"), [(20, 2.5), (2.5, 20), (20, None), ([1], (1,)), ("a", Plan.FREE)]
    )
    def test_default_of_the_same_json_type_is_no_problem(
        self, stored: object, default: object
    ) -> None:
        KeyValueStore.objects.create(key="x", value=stored)
        refresh()
        get_value("x", default=default)
        assert self.problems() == []


@pytest.mark.django_db(transaction=True)
def test_value_that_a_validator_refuses_is_returned_and_a_problem() -> None:
    page_size = Value("page_size", 20, validators=[MaxValueValidator(100)])
    KeyValueStore.objects.create(key="page_size", value=101)
    with live_engine():
        refresh()
        assert page_size.get() == 101
        [problem] = status().problems
    assert problem == "value 'page_size': the value is refused by a validator of its declaration"


@pytest.mark.parametrize("zone", ["", "+00:00"])
def test_datetime_has_a_time_zone_if_its_default_has_one(zone: str, load: Load) -> None:
    default = datetime(2027, 3, 1, tzinfo=timezone.utc)
    aware, bare = Value("aware", default), Value("bare", default.replace(tzinfo=None))
    none = Value("none", None, type=datetime)
    for key in (aware, bare, none):
        KeyValueStore.objects.create(key=key, value=f"2027-04-01T10:00:00{zone}")
    load()
    assert aware.get() > default
    assert bare.get() > default.replace(tzinfo=None)
    # As USE_TZ says.
    assert (none.get() or default) > default


def test_override_with_a_value_that_is_never_returned_is_refused() -> None:
    Value("page_size", 20, null=True)
    Value("payment_gateway", "stripe", choices=["stripe", "paypal"])
    for key, value in (("page_size", "30"), ("payment_gateway", "adyen")):
        with pytest.raises(TypeError, match=f"{key}: .*(integer|one of)"):
            override_value(key, value)
    override_value("page_size", None)
