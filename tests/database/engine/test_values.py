"""get_value returns the ORM's value, of the same type; lists and dicts are new objects."""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flagstaff import get_value, refresh, snapshot
from flagstaff.models import KeyValueStore
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED, Load
from tests.support.sql import rows

Start = Callable[[], None]


@pytest.fixture(params=[pytest.param("memory", marks=COMMITTED), "database", "snapshot"])
def start_mode(request: pytest.FixtureRequest, db: None) -> Iterator[Start]:
    """All evaluation modes. Call it after the values are created."""
    if request.param == "memory":
        with live_engine():
            yield refresh
    elif request.param == "database":
        yield lambda: None
    else:
        # One query for the whole table instead of one for each value.
        with pytest.MonkeyPatch.context() as patch:
            module = sys.modules[__name__]
            yield lambda: patch.setattr(module, "get_value", snapshot().get_value)


def insert(key: str, json: str | None) -> None:
    rows("INSERT INTO flagstaff_keyvaluestore (key, value) VALUES (%s, %s)", key, json)


NUMBERS = ["0", "-0", "-0.0", "1.0", "1E+2", "1e400", "-1e400", "1e-400", "0.10", "100000.000"]
LIMITS = [str(sign * 2**63 + near) for sign in (1, -1) for near in (-1, 0, 1)]
TEXTS = ['""', '"\\u0001"', '"\\ud83e\\udd80"', '"1"', '"null"', '"\\\\u0041"', '" "', '"/"']
OTHERS = ["null", "true", "false", "[]", "{}", "[null]", '{"": ""}', '{"a": 1, "a": 2.0}']
DEEP = ["[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300]


def test_values_written_by_sql_equal_the_orms(load: Load, subtests: pytest.Subtests) -> None:
    for number, text in enumerate([*NUMBERS, *LIMITS, *TEXTS, *OTHERS, *DEEP]):
        insert(f"{number}: {text[:24]}", text)
    load()
    current = snapshot()
    for key, expected in KeyValueStore.objects.values_list("key", "value"):
        for read in (get_value, current.get_value):
            with subtests.test(key):
                stored = read(key, default="missing")
                assert (type(stored), repr(stored)) == (type(expected), repr(expected))


def test_missing_value_returns_the_default_object(start_mode: Start) -> None:
    start_mode()
    default = ["stripe"]
    assert get_value("payment_gateway") is None
    assert get_value("payment_gateway", default) is default
    assert get_value("payment_gateway", default=default) is default


@pytest.mark.parametrize(
    "key", ["with space", "with:colon", "Größe", "🛒", "k" * 255, "", "a.b", 'quoted "key"', "50%"]
)
def test_key_of_a_value_may_be_any_text(start_mode: Start, key: str) -> None:
    KeyValueStore.objects.create(key=key, value=1)
    start_mode()
    assert get_value(key) == 1
    assert get_value(f"{key} ") is None


@pytest.mark.parametrize("value", [[1, [2]], {"a": {"b": []}}], ids=["list", "dict"])
def test_mutation_of_a_result_does_not_change_the_value(start_mode: Start, value: Any) -> None:
    KeyValueStore.objects.create(key="gateways", value=value)
    start_mode()
    get_value("gateways").clear()
    second = get_value("gateways")
    assert second == value
    for inner in second.values() if isinstance(second, dict) else second[1:]:
        inner.clear()
    assert get_value("gateways") == value


def test_longest_number_and_deepest_list_are_read(start_mode: Start) -> None:
    insert("longest", "1e4299")
    insert("deepest", "[" * 500 + "]" * 500)
    start_mode()
    assert get_value("longest") == 10**4299
    assert str(get_value("deepest")) == "[" * 500 + "]" * 500
