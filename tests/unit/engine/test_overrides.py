"""Overrides of flags and values in memory. No test here may use the database."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.test import SimpleTestCase
from django.utils.functional import SimpleLazyObject

from flagstaff import all_flags, explain, flag_enabled, get_value, snapshot
from flagstaff.testing import override_flag, override_value, override_variant
from tests.support.evaluations import flag_and_value
from tests.support.generators import async_generator, generator


def test_block_sets_and_resets_and_the_innermost_wins() -> None:
    with override_flag("new_checkout", True), override_value("gateway", "paypal"):
        assert flag_and_value() == (True, "paypal")
        with override_flag("new_checkout", False), override_value("gateway", 2):
            assert flag_and_value() == (False, 2)
        assert flag_and_value() == (True, "paypal")
    assert flag_and_value() == (False, None)


@override_flag("new_checkout", True)
@override_value("gateway", "paypal")
def test_decorated_function_has_override_and_keeps_its_fixtures(tmp_path: Any) -> None:
    assert tmp_path.exists()
    assert flag_and_value() == (True, "paypal")


class TestMethod:
    @override_flag("new_checkout", True)
    def test_decorated_method_has_override(self) -> None:
        assert flag_and_value() == (True, None)

    def test_undecorated_method_has_no_override(self) -> None:
        assert flag_and_value() == (False, None)


def test_decorated_async_function_has_override_until_its_end() -> None:
    @override_flag("new_checkout", True)
    async def evaluate() -> bool:
        await asyncio.sleep(0)
        return flag_enabled("new_checkout")

    coroutine = evaluate()
    assert flag_enabled("new_checkout") is False
    assert asyncio.run(coroutine) is True
    assert flag_enabled("new_checkout") is False


@override_flag("new_checkout", True)
@override_value("gateway", "paypal")
class DecoratedTestCase(SimpleTestCase):
    def setUp(self) -> None:
        assert flag_and_value() == (True, "paypal")

    def test_decorated_class_has_override(self) -> None:
        assert flag_and_value() == (True, "paypal")

    async def test_decorated_class_has_override_in_async_method(self) -> None:
        assert flag_and_value() == (True, "paypal")

    @override_flag("new_checkout", False)
    def test_decorated_method_wins_over_class(self) -> None:
        assert flag_and_value() == (False, "paypal")


class InheritingTestCase(DecoratedTestCase):
    @override_value("gateway", None)
    def test_subclass_of_decorated_class_has_override(self) -> None:
        assert flag_and_value() == (True, None)


def test_overrides_may_end_in_any_order_and_be_active_twice() -> None:
    first, second = override_flag("new_checkout", True), override_flag("new_checkout", False)
    third = override_flag("banner", True)
    for override in (first, second, third):
        override.enable()
    with first:
        assert flag_enabled("new_checkout") is True
    first.disable()
    assert all_flags() == {"banner": True, "new_checkout": False}
    third.disable()
    assert all_flags() == {"new_checkout": False}
    second.disable()
    assert all_flags() == {}


def test_overrides_in_many_threads_are_independent() -> None:
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


def test_override_applies_to_new_and_running_threads() -> None:
    start = threading.Event()

    def wait_and_evaluate() -> Any:
        assert start.wait(10)
        return flag_and_value()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(wait_and_evaluate)
        with override_flag("new_checkout", True), override_value("gateway", "paypal"):
            start.set()
            assert running.result() == (True, "paypal")
    with ThreadPoolExecutor(1) as pool, override_flag("new_checkout", True):
        assert pool.submit(flag_and_value).result() == (True, None)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_error_in_block_or_decorated_function_resets(error: type[BaseException]) -> None:
    @override_flag("new_checkout", True)
    def fail() -> None:
        raise error

    with pytest.raises(error), override_value("gateway", "paypal"):
        fail()
    assert flag_and_value() == (False, None)


def test_overridden_flag_is_static_and_same_for_all_users() -> None:
    with override_flag("new_checkout", False):
        assert flag_enabled("new_checkout", default=True) is False
    with override_flag("new_checkout", True):
        assert [flag_enabled("new_checkout", user) for user in (None, 42, "Åsa")] == [True] * 3
        explanation = explain("new_checkout", 42)
    assert (explanation.value, explanation.reason) == (True, "STATIC")
    assert (explanation.error_code, explanation.rollout_percent) == (None, None)


VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 10**40, 0.1, -0.0, 1e300),
    *("", "stripe", 'quote "', "Grüße 🥐", "42"),
    *([], {}, [1, [2, [None]]], {"b": {"a": [1.5, True, None]}}),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_overridden_value_is_equal(value: Any) -> None:
    with override_value("gateway", value):
        result = get_value("gateway", "default")
    assert (result, type(result), repr(result)) == (value, type(value), repr(value))


def test_overridden_value_is_a_fresh_object_of_json() -> None:
    sizes: dict[int, Any] = {1: ["Rome"], 2: (2, 3)}
    with override_value("sizes", sizes):
        sizes[1].append("Lima")
        get_value("sizes")["1"].append("Oslo")
        assert get_value("sizes") == {"1": ["Rome"], "2": [2, 3]}


@pytest.mark.parametrize("key", ["", "New Checkout", "новая_корзина", "🛒", "a" * 300])
def test_any_string_is_accepted_as_key(key: str) -> None:
    with override_flag(key, True), override_value(key, 1):
        assert (flag_enabled(key), get_value(key)) == (True, 1)


ANA, BEN = User(pk=42), User(pk=7)


def test_override_for_one_user_has_the_user_as_object_and_as_key() -> None:
    with override_flag("new_checkout", False), override_flag("new_checkout", True, user=ANA):
        users: list[Any] = [ANA, 42, "42", SimpleLazyObject(lambda: ANA)]
        assert all(flag_enabled("new_checkout", user) for user in users)
        assert explain("new_checkout", ANA).override == "override_flag"
        assert (all_flags(ANA), all_flags(BEN)) == ({"new_checkout": True}, {"new_checkout": False})
        assert not any(flag_enabled("new_checkout", user) for user in (BEN, None))
        assert snapshot().depends_on_user("new_checkout") is True
    assert flag_enabled("new_checkout", ANA) is False


def test_newest_override_wins_also_over_one_of_a_user() -> None:
    with override_flag("banner", True, user=42), override_flag("banner", True, user=7):
        assert [flag_enabled("banner", user) for user in (ANA, BEN)] == [True, True]
        with override_flag("banner", False):
            assert flag_enabled("banner", ANA) is False
            with override_flag("banner", True, user=ANA):
                assert [flag_enabled("banner", user) for user in (ANA, BEN)] == [True, False]
        assert flag_enabled("banner", ANA) is True


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (AnonymousUser(), "user has no primary key; save it, or pass another user"),
        (User(), "user has no primary key; save it, or pass another user"),
        (3.5, "user must be a user, the primary key of one (int, str or uuid.UUID) or None, not"),
    ],
)
def test_override_for_what_is_no_user_is_rejected(user: Any, message: str) -> None:
    with pytest.raises(TypeError) as error:
        override_flag("new_checkout", True, user=user)
    assert str(error.value).startswith(message)


def test_override_of_a_plain_class_is_rejected_with_the_mark() -> None:
    class Plain: ...

    with pytest.raises(TypeError) as error:
        override_value("gateway", "paypal")(Plain)
    assert str(error.value) == (
        "override_value decorates functions and TestCase classes, and "
        "test_override_of_a_plain_class_is_rejected_with_the_mark.<locals>.Plain is a plain class; "
        "use @pytest.mark.flagstaff(…)"
    )


@pytest.mark.parametrize(
    "function",
    [generator, async_generator, partial(generator), pytest.fixture(generator)],
    ids=["function", "async", "partial", "fixture"],
)
@pytest.mark.parametrize("override", [override_flag("a", True), override_variant("a", "b")])
def test_override_of_a_generator_is_rejected_with_the_block(function: Any, override: Any) -> None:
    with pytest.raises(TypeError, match=r"would end before the generator .* runs; write \"with "):
        override(function)


@pytest.mark.parametrize("enabled", [1, 0, None, "on", 100])
def test_flag_override_that_is_no_bool_is_rejected(enabled: Any) -> None:
    with pytest.raises(TypeError) as error:
        override_flag("new_checkout", enabled)
    assert str(error.value) == f"enabled must be True or False, not {enabled!r}"


@pytest.mark.parametrize("key", [None, 42, b"new_checkout"])
def test_key_that_is_no_string_is_rejected(key: Any) -> None:
    with pytest.raises(TypeError) as error:
        override_flag(key, True)
    assert str(error.value) == f"a flag's key must be a string, not {key!r}"
    with pytest.raises(TypeError) as error:
        override_value(key, 1)
    assert str(error.value) == f"a value's key must be a string, not {key!r}"


def test_value_that_json_or_utf_8_cannot_hold_is_rejected_and_does_not_affect_the_next() -> None:
    with pytest.raises(TypeError) as error:
        override_value("gateway", {"stripe"})
    assert str(error.value) == "Object of type set is not JSON serializable"
    with pytest.raises(UnicodeEncodeError), override_flag("\ud800", True):
        pass
    with override_flag("new_checkout", True):
        assert all_flags() == {"new_checkout": True}


def test_override_does_not_read_settings(settings: Any) -> None:
    settings.FLAGSTAFF = {"VALUE_MODEL": "no.Such"}
    override = override_value("gateway", "paypal")
    override.enable()
    override.disable()
    del settings.FLAGSTAFF
    assert get_value("gateway") is None
