"""Flags and settings that a test sets in memory. No test here may use the database."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import SimpleTestCase

from flagstaff import all_flags, explain, flag_enabled, get_value, snapshot, testing
from flagstaff.exceptions import ConfigurationError
from flagstaff.testing import override_flag, override_value


def both() -> tuple[bool, Any]:
    return flag_enabled("new_checkout"), get_value("gateway")


def in_a_thread(work: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


# The forms.


def test_block_sets_and_sets_back() -> None:
    with override_flag("new_checkout", True), override_value("gateway", "paypal"):
        assert both() == (True, "paypal")
    assert both() == (False, None)


@override_flag("new_checkout", True)
@override_value("gateway", "paypal")
def test_function_is_decorated() -> None:
    assert both() == (True, "paypal")


@override_flag("new_checkout", True)
def test_decorated_function_keeps_its_fixtures(tmp_path: Any) -> None:
    assert tmp_path.exists()
    assert flag_enabled("new_checkout") is True


class TestMethod:
    @override_flag("new_checkout", True)
    def test_method_is_decorated(self) -> None:
        assert both() == (True, None)

    def test_other_method_is_as_before(self) -> None:
        assert both() == (False, None)


def test_async_function_is_decorated_until_its_end() -> None:
    @override_flag("new_checkout", True)
    async def ask() -> bool:
        await asyncio.sleep(0)
        return flag_enabled("new_checkout")

    asked = ask()
    assert flag_enabled("new_checkout") is False
    assert asyncio.run(asked) is True
    assert flag_enabled("new_checkout") is False


@override_flag("new_checkout", True)
@override_value("gateway", "paypal")
class DecoratedTestCase(SimpleTestCase):
    def setUp(self) -> None:
        assert both() == (True, "paypal")

    def test_class_is_decorated(self) -> None:
        assert both() == (True, "paypal")

    async def test_async_method_of_a_decorated_class(self) -> None:
        assert both() == (True, "paypal")

    @override_flag("new_checkout", False)
    def test_method_goes_before_its_class(self) -> None:
        assert both() == (False, "paypal")


class InheritingTestCase(DecoratedTestCase):
    @override_value("gateway", None)
    def test_class_that_inherits_is_decorated_too(self) -> None:
        assert both() == (True, None)


class UndecoratedTestCase(SimpleTestCase):
    def test_other_class_is_as_before(self) -> None:
        assert both() == (False, None)


def test_class_that_is_no_test_case_is_refused() -> None:
    with pytest.raises(TypeError) as error:
        override_flag("new_checkout", True)(int)
    assert str(error.value) == "Can only decorate subclasses of unittest.TestCase"


# Several at once.


def test_innermost_block_counts() -> None:
    with override_flag("new_checkout", True), override_value("gateway", 1):
        with override_flag("new_checkout", False), override_value("gateway", 2):
            assert both() == (False, 2)
        assert both() == (True, 1)
    assert both() == (False, None)


def test_ends_may_come_in_any_order() -> None:
    first, second = override_flag("new_checkout", True), override_flag("new_checkout", False)
    third = override_flag("banner", True)
    for one in (first, second, third):
        one.enable()
    first.disable()
    assert all_flags() == {"banner": True, "new_checkout": False}
    third.disable()
    assert all_flags() == {"new_checkout": False}
    second.disable()
    assert all_flags() == {}


def test_one_object_may_be_in_use_twice() -> None:
    on, off = override_flag("new_checkout", True), override_flag("new_checkout", False)
    with on, off:
        with on:
            assert flag_enabled("new_checkout") is True
        assert flag_enabled("new_checkout") is False
    assert all_flags() == {}


def test_many_threads_set_and_set_back() -> None:
    def work(number: int) -> set[bool]:
        key, seen = f"flag_{number}", set()
        for _ in range(200):
            with override_flag(key, True):
                seen.add(flag_enabled(key))
            seen.add(not flag_enabled(key))
        return seen

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [{True}] * 4
    assert all_flags() == {}


def test_all_threads_of_the_process_see_it() -> None:
    with override_flag("new_checkout", True), override_value("gateway", "paypal"):
        assert in_a_thread(both) == (True, "paypal")
    assert in_a_thread(both) == (False, None)


def test_thread_that_runs_already_sees_it() -> None:
    ask, asked, answers = threading.Event(), threading.Event(), []

    def wait_and_ask() -> None:
        ask.wait(10)
        answers.append(both())
        asked.set()

    thread = threading.Thread(target=wait_and_ask)
    thread.start()
    with override_flag("new_checkout", True):
        ask.set()
        asked.wait(10)
    thread.join()
    assert answers == [(True, None)]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_error_sets_back(error: type[BaseException]) -> None:
    with (
        pytest.raises(error),
        override_flag("new_checkout", True),
        override_value("gateway", "paypal"),
    ):
        raise error
    assert both() == (False, None)


def test_error_in_a_decorated_function_sets_back() -> None:
    @override_flag("new_checkout", True)
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert both() == (False, None)


# What is answered.


def test_flag_is_answered_for_everybody() -> None:
    with override_flag("new_checkout", False):
        assert flag_enabled("new_checkout", default=True) is False
    with override_flag("new_checkout", True):
        assert [flag_enabled("new_checkout", user) for user in (None, 42, "Åsa")] == [True] * 3


def test_flag_is_explained() -> None:
    with override_flag("new_checkout", True):
        explanation = explain("new_checkout", 42)
    assert (explanation.value, explanation.reason) == (True, "STATIC")
    assert (explanation.error_code, explanation.rollout_percent) == (None, None)


def test_snapshot_has_what_was_set_when_it_was_made() -> None:
    with override_flag("new_checkout", True), override_value("gateway", ["paypal"]):
        kept = snapshot()
    assert kept.flag_enabled("new_checkout") is True
    assert kept.get_value("gateway") == ["paypal"]


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 10**40, 0.1, -0.0, 1e300),
    *("", "stripe", 'quote "', "Grüße 🥐", "42"),
    *([], {}, [1, [2, [None]]], {"b": {"a": [1.5, True, None]}}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_is_what_was_set(value: Any) -> None:
    with override_value("gateway", value):
        found = get_value("gateway", "default")
    assert (found, type(found), repr(found)) == (value, type(value), repr(value))


def test_value_passes_through_json() -> None:
    with override_value("sizes", {1: (2, 3)}):
        assert get_value("sizes") == {"1": [2, 3]}


def test_value_is_a_fresh_object_each_time() -> None:
    cities = ["Rome"]
    with override_value("cities", cities):
        cities.append("Lima")
        get_value("cities").append("Oslo")
        assert get_value("cities") == ["Rome"]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_is_decoded_by_a_field_that_decodes_itself(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(testing, "is_plain_json", lambda field: False)
    with override_value("gateway", value):
        assert repr(get_value("gateway", "default")) == repr(value)


@pytest.mark.parametrize("key", ["", "New Checkout", "новая_корзина", "🛒", "a" * 300])
def test_any_text_is_a_key(key: str) -> None:
    with override_flag(key, True), override_value(key, 1):
        assert (flag_enabled(key), get_value(key)) == (True, 1)


# Wrong types.


@pytest.mark.parametrize("enabled", [1, 0, None, "on", 100])
def test_flag_is_set_to_true_or_false_only(enabled: Any) -> None:
    with pytest.raises(TypeError) as error:
        override_flag("new_checkout", enabled)
    assert str(error.value) == f"a flag is overridden with True or False, not {enabled!r}"


@pytest.mark.parametrize("key", [None, 42, b"new_checkout"])
def test_key_is_a_text(key: Any) -> None:
    with pytest.raises(TypeError) as error:
        override_flag(key, True)
    assert str(error.value) == f"the key of a flag is a text, not {key!r}"
    with pytest.raises(TypeError) as error:
        override_value(key, 1)
    assert str(error.value) == f"the key of a value is a text, not {key!r}"


def test_value_that_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError) as error:
        override_value("gateway", {"stripe"})
    assert str(error.value) == "Object of type set is not JSON serializable"


def test_what_was_refused_is_in_nobodys_way() -> None:
    with pytest.raises(UnicodeEncodeError), override_flag("\ud800", True):
        pass
    with override_flag("new_checkout", True):
        assert all_flags() == {"new_checkout": True}


def test_end_needs_no_settings(settings: Any) -> None:
    override = override_value("gateway", "paypal")
    override.enable()
    settings.FLAGSTAFF = {"VALUE_MODEL": "no.Such"}
    with pytest.raises(ConfigurationError):
        override_value("gateway", "stripe")
    override.disable()
    del settings.FLAGSTAFF
    assert get_value("gateway") is None
