"""A process keeps the object of a short immutable value, as long as the value does not change."""

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db.models import JSONField, Value

from flagstaff import flag_enabled, get_value, refresh
from flagstaff.models import KeyValueStore
from tests.support.fixtures import COMMITTED

pytestmark = [COMMITTED, pytest.mark.usefixtures("engine")]


def create(value: Any) -> None:
    stored = Value(None, JSONField()) if value is None else value
    KeyValueStore.objects.update_or_create(key="gateway", defaults={"value": stored})
    refresh()


@pytest.mark.parametrize("value", ["stripe", "Größe", 10**12, True, None], ids=repr)
def test_short_immutable_value_is_the_same_object_each_time(value: Any) -> None:
    create(value)
    assert get_value("gateway", default="missing") == value
    assert get_value("gateway") is get_value("gateway", default="missing")


@pytest.mark.parametrize("value", [["stripe"], {"name": "stripe"}, 0.5, "long" * 300], ids=type)
def test_other_value_is_a_fresh_object_each_time(value: Any) -> None:
    create(value)
    first, second = get_value("gateway"), get_value("gateway")
    assert first == second == value
    assert first is not second


def test_changed_value_replaces_the_kept_object() -> None:
    for value in ["stripe", "adyen", ["adyen"], 10**12, None, "stripe"]:
        create(value)
        assert [get_value("gateway", default="missing") for _ in range(2)] == [value, value]


def test_object_of_a_deleted_value_is_dropped_by_the_next_evaluation() -> None:
    create("a secret that is rotated")
    held = get_value("gateway")
    kept = sys.getrefcount(held)
    KeyValueStore.objects.all().delete()
    refresh()
    flag_enabled("new_checkout")
    gc.collect()
    assert sys.getrefcount(held) == kept - 1
    assert get_value("gateway", default="missing") == "missing"


class OddKey(str):
    """A key with the hash and the equality of another."""

    __slots__ = ()

    def __hash__(self) -> int:
        return hash("gateway")

    def __eq__(self, other: object) -> bool:
        return True


def test_key_of_a_subclass_of_str_is_looked_up_by_its_text() -> None:
    create("stripe")
    assert get_value("gateway") == "stripe"
    assert get_value(OddKey("other"), default="missing") == "missing"
    assert get_value(OddKey("gateway"), default="missing") == "stripe"


def test_threads_return_the_same_object() -> None:
    create("stripe")
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(get_value, ["gateway"] * 8))
    assert [value is values[0] for value in values] == [True] * 8
