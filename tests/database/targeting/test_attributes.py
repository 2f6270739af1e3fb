"""What rules read: built-in attributes, the context, ATTRIBUTES, and what is missing."""

from __future__ import annotations

import gc
import logging
import pickle
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse, QueryDict
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from flagstaff import _core, all_flags, explain, flag_enabled, snapshot
from flagstaff._engine import attributes, log_once
from flagstaff._engine.request_flags import RequestFlags
from flagstaff.exceptions import ConfigurationError
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, Segment
from flagstaff.typing import UserLike

pytestmark = pytest.mark.django_db

Load = Callable[[], None]
PATH = f"{__name__}.source"

#: What the callable of ATTRIBUTES does; a test sets it.
source_of_test: Callable[[Any, Any], object] = lambda user, request: {}  # noqa: E731


def source(user: Any, request: Any) -> object:
    """The callable that ATTRIBUTES names."""
    return source_of_test(user, request)


@contextmanager
def attributes_from(settings: Any, function: Callable[[Any, Any], object]) -> Iterator[None]:
    """Sets ATTRIBUTES to a callable that calls `function`."""
    global source_of_test  # noqa: PLW0603 (a setting names a module's function)
    before, source_of_test = source_of_test, function
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": PATH}
    try:
        yield
    finally:
        source_of_test = before


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is logged once per process; here, once per test."""
    monkeypatch.setattr(log_once, "_logged", set())


@pytest.fixture
def alice() -> User:
    return User(pk=42, username="alice", email="alice@example.com", is_staff=True)


@pytest.fixture
def bob() -> User:
    return User(pk=7, username="bob")


def condition(attribute: str, operator: str = "in", *values: object, **more: Any) -> dict[str, Any]:
    return {"attribute": attribute, "operator": operator, "values": list(values), **more}


def store(*conditions: dict[str, Any], key: str = "beta") -> None:
    """Stores a flag that is on for those who meet all conditions."""
    rules = [{"name": "rule", "conditions": list(conditions)}]
    FeatureFlag.objects.create(key=key, enabled=True, rules=rules)


def outcome(user: UserLike = None, context: Mapping[str, object] | None = None) -> str:
    """What came of the first condition of the flag."""
    return explain("beta", user, context=context).rules[0].conditions[0].outcome


# Built-in attributes.


@pytest.mark.parametrize("user", [None, AnonymousUser(), User(), SimpleLazyObject(AnonymousUser)])
@pytest.mark.parametrize("name", ["is_authenticated", "is_staff", "is_superuser"])
def test_built_in_bools_of_an_anonymous_user_are_false(
    load: Load, user: UserLike, name: str
) -> None:
    store(condition(name, "in", False))
    load()
    assert flag_enabled("beta", user)


def test_built_in_bools_of_a_user_are_read_from_the_object(
    load: Load, alice: User, bob: User
) -> None:
    store(condition("is_staff", "in", True))
    store(condition("is_superuser", "in", True), key="admins")
    store(condition("is_authenticated", "in", True), key="members")
    load()
    assert all_flags(alice) == {"admins": False, "beta": True, "members": True}
    assert all_flags(bob) == {"admins": False, "beta": False, "members": True}
    bob.is_superuser = True
    assert all_flags(SimpleLazyObject(lambda: bob))["admins"] is True


@pytest.mark.parametrize("pk", [42, "42"], ids=["an integer", "a text"])
def test_primary_key_is_authenticated_and_needs_the_user_for_the_rest(
    load: Load, pk: UserLike
) -> None:
    store(condition("is_staff", "in", False), key="beta")
    store(condition("is_authenticated", "in", True), key="members")
    load()
    assert flag_enabled("members", pk)
    assert not flag_enabled("beta", pk)
    assert outcome(pk) == "needs_user"


def test_rules_that_need_the_user_object_are_logged_once_per_flag(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("is_staff", "in", True))
    load()
    for _ in range(3):
        flag_enabled("beta", 42)
        all_flags(42)
    messages = [record.getMessage() for record in caplog.records if "beta" in record.getMessage()]
    assert len(messages) == 1
    assert "pass the user" in messages[0]


def test_groups_are_reserved(load: Load, alice: User) -> None:
    store(condition("groups", "in", "beta"))
    load()
    assert not flag_enabled("beta", alice, context={"groups": ["beta"]})


def test_context_cannot_set_a_built_in_attribute(
    load: Load, bob: User, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("is_staff", "in", True))
    load()
    assert not flag_enabled("beta", bob, context={"is_staff": True})
    assert "context cannot set 'is_staff'" in caplog.text


# Context.


def test_context_of_the_call_is_read(load: Load, alice: User) -> None:
    store(condition("country", "in", "DE", "AT"))
    load()
    for user in (None, alice, 42, AnonymousUser()):
        assert flag_enabled("beta", user, context={"country": "AT"})
        assert not flag_enabled("beta", user, context={"country": "FR"})
        assert not flag_enabled("beta", user)
        assert all_flags(user, context={"country": "AT"}) == {"beta": True}
        assert snapshot().flag_enabled("beta", user, context={"country": "AT"})


def test_context_of_the_snapshot_is_read_after_that_of_the_call(load: Load) -> None:
    store(condition("country", "in", "DE"), condition("plan", "in", "pro"))
    load()
    held = snapshot(context={"country": "DE", "plan": "free"})
    assert not held.flag_enabled("beta")
    assert held.flag_enabled("beta", context={"plan": "pro"})
    assert held.all_flags(context={"plan": "pro"}) == {"beta": True}


@pytest.mark.parametrize("kind", [dict, MappingProxyType, ChainMap])
def test_context_may_be_any_mapping(load: Load, kind: Any) -> None:
    store(condition("country", "in", "DE"))
    load()
    assert flag_enabled("beta", context=kind({"country": "DE"}))


@pytest.mark.parametrize("wrong", [["country"], "country", 1, {"country"}])
@pytest.mark.parametrize("function", [flag_enabled, explain, snapshot, all_flags])
def test_context_of_a_wrong_type_raises_also_if_no_rule_needs_it(function: Any, wrong: Any) -> None:
    arguments = ["beta"] if function in (flag_enabled, explain) else []
    with pytest.raises(TypeError, match="context must be a mapping"):
        function(*arguments, context=wrong)


def test_none_in_the_context_is_missing(load: Load, alice: User, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username"]}
    store(condition("username", "in", "alice"))
    load()
    assert flag_enabled("beta", alice)
    assert not flag_enabled("beta", alice, context={"username": None})
    assert outcome(alice, {"username": None}) == "missing"


class Plan(Enum):
    PRO = "pro"

    def __str__(self) -> str:
        return self.value


VALUES: dict[str, tuple[object, str, list[object]]] = {
    "a text": ("DE", "in", ["DE"]),
    "a lazy text": (gettext_lazy("DE"), "in", ["DE"]),
    "a bool": (True, "in", [True]),
    "an integer": (42, "gte", [42]),
    "an integer as text": (42, "in", ["42"]),
    "an integer past 64 bits": (2**80, "in", [2**80]),
    "a float": (0.5, "lt", [1]),
    "a decimal": (Decimal("0.10"), "in", [0.1]),
    "a UUID": (UUID(int=1), "in", ["00000000-0000-0000-0000-000000000001"]),
    "a member of an enumeration": (Plan.PRO, "in", ["pro"]),
    "a date": (date(2026, 3, 1), "in", ["2026-03-01"]),
    "an aware datetime": (
        datetime(2026, 3, 1, 12, tzinfo=ZoneInfo("Asia/Tokyo")),
        "in",
        ["2026-03-01T03:00:00Z"],
    ),
    "a list": (["a", 1, None, ["b"]], "in", ["a"]),
    "a set": ({"a"}, "in", ["a"]),
    "a tuple": (("a", "b"), "contains", ["b"]),
    "a version": ("2.1", "version_gte", ["2.0.5"]),
}


@pytest.mark.parametrize(("value", "operator", "operands"), VALUES.values(), ids=VALUES)
def test_value_of_the_type_matches(
    load: Load, value: object, operator: str, operands: list[object]
) -> None:
    store(condition("a", operator, *operands))
    load()
    assert flag_enabled("beta", context={"a": value})


NO_MATCH: dict[str, tuple[object, str, list[object]]] = {
    "a bool and 1": (True, "in", [1]),
    "NaN": (float("nan"), "gte", [0]),
    "a text that UTF-8 cannot encode": ("\udc80", "in", ["\ufffd"]),
    "a text of another case": ("de", "in", ["DE"]),
    "a date and a datetime": (date(2026, 3, 1), "in", ["2026-03-01T00:00:00"]),
    "a list in a list": ([["a"]], "in", ["a"]),
    "an empty list": ([], "in", ["a"]),
}


@pytest.mark.parametrize(("value", "operator", "operands"), NO_MATCH.values(), ids=NO_MATCH)
def test_value_that_is_unlike_does_not_match(
    load: Load, value: object, operator: str, operands: list[object]
) -> None:
    store(condition("a", operator, *operands))
    store(condition("a", operator, *operands, negate=True), key="negated")
    load()
    assert not flag_enabled("beta", context={"a": value})
    assert flag_enabled("negated", context={"a": value})


@pytest.mark.parametrize("zone", ["America/Chicago", "Asia/Tokyo", "UTC"])
def test_first_and_last_datetime_are_compared(load: Load, settings: Any, zone: str) -> None:
    settings.TIME_ZONE = zone
    store(condition("until", "gt", "2026-01-01T00:00:00Z"))
    store(condition("until", "lt", "2026-01-01T00:00:00Z"), key="past")
    load()
    for tzinfo in (None, timezone.utc, ZoneInfo("Pacific/Apia")):
        last, first = datetime.max.replace(tzinfo=tzinfo), datetime.min.replace(tzinfo=tzinfo)
        assert all_flags(context={"until": last}) == {"beta": True, "past": False}
        assert all_flags(context={"until": first}) == {"beta": False, "past": True}


class Index:
    """An integer of another library, such as numpy."""

    def __index__(self) -> int:
        return 42


def test_integer_of_another_library_is_a_number(load: Load) -> None:
    store(condition("a", "gte", 42))
    load()
    assert flag_enabled("beta", context={"a": Index()})


UNSUITABLE: dict[str, Callable[[], object]] = {
    "a queryset": lambda: User.objects.values_list("username", flat=True),
    "a manager": lambda: User.objects,
    "an iterator": lambda: iter(["a"]),
    "a dict": lambda: {"a": 1},
    "a view of a dict": {"a": 1}.keys,
}


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_object_that_is_no_value_is_missing_and_not_queried(
    load: Load, kind: str, caplog: pytest.LogCaptureFixture, django_assert_num_queries: Any
) -> None:
    store(condition("a", "isnull", True))
    load()
    with django_assert_num_queries(0):
        assert flag_enabled("beta", context={"a": UNSUITABLE[kind]()})
    assert "the attribute 'a' is missing: rules cannot compare a" in caplog.text


def test_query_dict_has_the_last_value_of_a_name(load: Load) -> None:
    store(condition("a", "in", "x"))
    load()
    assert flag_enabled("beta", context=QueryDict("a=y&a=x"))
    assert not flag_enabled("beta", context=QueryDict("a=x&a=y"))


def test_text_that_evaluates_its_own_flag_raises_recursion_error(load: Load) -> None:
    class Endless:
        def __str__(self) -> str:
            return str(flag_enabled("beta", context={"a": self, "b": self}))

    store(condition("a", "in", "x"), condition("b", "in", "y"))
    load()
    with pytest.raises(RecursionError):
        flag_enabled("beta", context={"a": Endless()})


def test_naive_datetime_is_in_the_time_zone_of_the_project(load: Load, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    store(condition("since", "in", "2026-03-01T03:00:00Z"))
    store(condition("since", "in", "2026-03-01T12:00:00"), key="naive")
    load()
    for since in (datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 3, tzinfo=timezone.utc)):  # noqa: DTZ001
        assert all_flags(context={"since": since}) == {"beta": True, "naive": True}


# ATTRIBUTES: columns.


def test_columns_are_read_from_the_user_object(
    load: Load, alice: User, bob: User, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email", "username"]}
    store(condition("email", "endswith", "@example.com"))
    load()
    with django_assert_num_queries(0):
        assert flag_enabled("beta", alice)
        assert flag_enabled("beta", SimpleLazyObject(lambda: alice))
        assert not flag_enabled("beta", bob)
        assert not flag_enabled("beta")
    assert outcome(42) == "needs_user"
    assert outcome(None) == "missing"


def test_column_that_the_setting_does_not_name_is_missing(
    load: Load, alice: User, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username"]}
    store(condition("email", "endswith", "@example.com"))
    load()
    assert outcome(alice) == "missing"
    assert outcome(42) == "missing"


def test_deferred_column_is_missing_and_not_loaded(
    alice: User, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    alice.save()
    store(condition("email", "in", "alice@example.com"))
    deferred = User.objects.defer("email", "is_staff").get()
    with django_assert_num_queries(0):
        assert outcome(deferred) == "missing"
    FeatureFlag.objects.update(rules=[{"conditions": [condition("is_staff", "in", True)]}])
    with django_assert_num_queries(0):
        assert outcome(deferred) == "missing"
    assert outcome(User.objects.get()) == "passed"


def test_deferred_column_behind_another_descriptor_is_missing(
    settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch, alice: User
) -> None:
    class Wrapped:
        def __init__(self, descriptor: Any) -> None:
            self.descriptor = descriptor

        def __get__(self, instance: Any, owner: Any) -> Any:
            return self if instance is None else self.descriptor.__get__(instance, owner)

    monkeypatch.setattr(User, "email", Wrapped(vars(User)["email"]))
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    alice.save()
    store(condition("email", "in", "alice@example.com"))
    deferred = User.objects.defer("email").get()
    with django_assert_num_queries(0):
        assert outcome(deferred) == "missing"


def test_foreign_key_is_read_by_the_key_it_holds(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(attributes, "_user_model", lambda: LogEntry)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["user", "user_id"]}
    store(condition("user", "in", 42), condition("user_id", "in", 42))
    assert flag_enabled("beta", LogEntry(pk=1, user_id=42))
    assert not flag_enabled("beta", LogEntry(pk=1, user_id=43))


def test_context_wins_over_a_column(load: Load, alice: User, settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username"]}
    store(condition("username", "in", "alice"))
    load()
    assert not flag_enabled("beta", alice, context={"username": "bob"})


def test_column_that_the_user_model_lacks_is_a_configuration_error(
    alice: User, settings: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["country"]}
    store(condition("country", "in", "DE"))
    with pytest.raises(ConfigurationError, match=r"'country', which is not a column of auth\.User"):
        flag_enabled("beta", alice)


def test_property_of_another_user_class_is_read(load: Load, settings: Any) -> None:
    class Customer:
        pk = 5

        @property
        def username(self) -> str:
            return "carol"

    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username", "email"]}
    store(condition("username", "in", "carol"), condition("email", "isnull", True))
    load()
    assert flag_enabled("beta", Customer())


def test_property_that_raises_is_missing_and_logged_without_its_text(
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Customer:
        pk = 5

        @property
        def username(self) -> str:
            raise ValueError("carol's secret")

    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username"]}
    store(condition("username", "in", "carol"))
    store(condition("is_authenticated", "in", True), key="members")
    load()
    assert all_flags(Customer()) == {"beta": False, "members": True}
    assert outcome(Customer()) == "missing"
    assert "the attribute 'username' is missing: reading it raised ValueError in" in caplog.text
    assert "secret" not in caplog.text


def test_keyboard_interrupt_while_reading_ends_the_evaluation(load: Load) -> None:
    class Interrupted:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    store(condition("a", "in", "x"))
    load()
    for function in (flag_enabled, explain):
        with pytest.raises(KeyboardInterrupt):
            function("beta", context={"a": Interrupted()})


# ATTRIBUTES: a callable.


def test_callable_gets_the_user_and_returns_attributes(
    load: Load, alice: User, bob: User, settings: Any
) -> None:
    def by_name(user: User, request: HttpRequest | None) -> dict[str, object]:
        assert request is None
        return {"name": user.username.upper()}

    store(condition("name", "in", "ALICE"))
    with attributes_from(settings, by_name):
        load()
        assert flag_enabled("beta", alice)
        assert flag_enabled("beta", SimpleLazyObject(lambda: alice))
        assert not flag_enabled("beta", bob)
        assert outcome(42) == "needs_user"
        assert outcome(None) == "missing"


def test_callable_runs_only_if_a_rule_needs_it(load: Load, alice: User, settings: Any) -> None:
    store(condition("country", "in", "DE"))
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    with attributes_from(settings, lambda user, request: pytest.fail("it ran")):
        load()
        flag_enabled("half", alice)
        flag_enabled("beta", alice, context={"country": "DE"})
        flag_enabled("beta", AnonymousUser())


def test_callable_runs_once_per_evaluation(load: Load, alice: User, settings: Any) -> None:
    calls: list[object] = []
    store(condition("a", "isnull", True), condition("b", "isnull", True))
    store(condition("c", "isnull", True), key="other")

    def record(user: User, request: HttpRequest | None) -> dict[str, object]:
        calls.append(user)
        return {}

    with attributes_from(settings, record):
        load()
        assert all_flags(alice) == {"beta": True, "other": True}
    assert calls == [alice]


FAILING: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "raises": (lambda user, request: 1 / 0, "raised ZeroDivisionError in"),
    "returns no mapping": (lambda user, request: ["DE"], "returned a list, not a mapping"),
    "evaluates a flag": (
        lambda user, request: {"country": "DE", "other": flag_enabled("other")},
        "evaluates a flag",
    ),
    "evaluates the same flag": (
        lambda user, request: {"country": "DE", "same": flag_enabled("beta", user)},
        "evaluates a flag",
    ),
    "evaluates all flags": (lambda user, request: {"country": all_flags(user)}, "evaluates a flag"),
    "explains a flag": (
        lambda user, request: {"country": "DE", "same": explain("beta", user)},
        "evaluates a flag",
    ),
}


@pytest.mark.parametrize("failing", FAILING)
def test_attributes_of_a_callable_that_fails_are_missing(
    load: Load, alice: User, settings: Any, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    function, message = FAILING[failing]
    store(condition("country", "in", "DE"))
    store(condition("is_staff", "in", True), key="other")
    with attributes_from(settings, function):
        load()
        caplog.clear()
        assert outcome(alice) == "missing"
        assert flag_enabled("beta", alice) is False
        assert all_flags(alice) == {"beta": False, "other": True}
    [record] = [one for one in caplog.records if PATH in one.getMessage()]
    assert message in record.getMessage()
    assert record.levelno == logging.WARNING


async def coroutine(user: Any, request: Any) -> dict[str, object]:
    return {"country": "DE"}


UNUSABLE = {
    f"{__name__}.coroutine": "returned a coroutine, not a mapping",
    "shop.flags.missing": "raised ModuleNotFoundError",
    f"{__name__}.missing": "raised ImportError",
}


@pytest.mark.parametrize("path", UNUSABLE)
def test_callable_that_cannot_be_called_gives_no_attributes(
    load: Load, alice: User, settings: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": path}
    store(condition("country", "in", "DE"))
    load()
    assert not flag_enabled("beta", alice)
    assert UNUSABLE[path] in caplog.text


def test_columns_and_a_callable_can_be_combined(load: Load, alice: User, settings: Any) -> None:
    with attributes_from(settings, lambda user, request: {"country": "DE", "email": "other"}):
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email", PATH]}
        store(condition("country", "in", "DE"), condition("email", "in", "alice@example.com"))
        load()
        assert flag_enabled("beta", alice)


def test_callable_that_queries_in_an_event_loop_is_prepared_in_a_thread(
    alice: User, settings: Any
) -> None:
    alice.save()

    def count(user: User, request: HttpRequest) -> dict[str, object]:
        return {"users": User.objects.filter(pk=user.pk).count()}

    async def view(request: Any) -> None:
        assert flag_enabled("beta", request.user) is False
        assert await request.flags.aenabled("beta")
        assert await request.flags.aall() == {"beta": True}
        assert flag_enabled("beta", request.user)

    store(condition("users", "in", 1))
    with attributes_from(settings, count):
        request = request_of(alice)
        request.flags = RequestFlags(request)
        with _core.Observation(request.flags):
            async_to_sync(view)(request)


def test_callable_that_queries_in_an_event_loop_is_logged_with_the_remedy(
    alice: User, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def evaluate() -> bool:
        return flag_enabled("beta", alice)

    store(condition("users", "in", 1))
    with attributes_from(settings, lambda user, request: {"users": User.objects.count()}):
        assert async_to_sync(evaluate)() is False
    assert "evaluate with request.flags.aenabled() or in a thread" in caplog.text


def test_callable_that_waits_for_another_thread_of_its_request_does_not_deadlock(
    load: Load, alice: User, settings: Any
) -> None:
    def wait(user: User, request: Any) -> dict[str, object]:
        with ThreadPoolExecutor() as pool:
            pool.submit(request.flags.value, "gateway").result(10)
            pool.submit(lambda: not calls and request.flags.enabled("beta")).result(10)
        return {"country": "DE"}

    calls: list[int] = []

    def once(user: User, request: Any) -> dict[str, object]:
        if calls:
            return {"country": "DE"}
        calls.append(1)
        return wait(user, request)

    store(condition("country", "in", "DE"))
    with attributes_from(settings, once):
        load()
        request = request_of(alice)
        request.flags = RequestFlags(request)
        assert request.flags.enabled("beta")


# A kill.


class Unreadable(Mapping[str, object]):
    """A mapping that cannot be read."""

    def __getitem__(self, name: str) -> object:
        raise OSError("secret")

    def __iter__(self) -> Iterator[str]:
        raise OSError("secret")

    def __len__(self) -> int:
        raise OSError("secret")


def test_disabled_flag_is_off_whatever_attributes_and_context_are(
    load: Load, alice: User, settings: Any
) -> None:
    store(condition("country", "in", "DE"))
    FeatureFlag.objects.update(enabled=False)
    load()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["country"]}
    for context in (None, Unreadable()):
        assert flag_enabled("beta", alice, context=context) is False
        assert all_flags(alice, context=context) == {"beta": False}


def test_context_that_cannot_be_read_is_empty_and_logged(
    load: Load, alice: User, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("country", "isnull", True))
    load()
    for user in (alice, SimpleLazyObject(lambda: alice), None):
        assert flag_enabled("beta", user, context=Unreadable())
    assert "the context is ignored: reading it raised OSError" in caplog.text
    assert "secret" not in caplog.text


# Requests.


def request_of(user: UserLike) -> Any:
    request: Any = RequestFactory().get("/")
    request.user = user
    return request


def test_callable_runs_once_per_request(load: Load, alice: User, settings: Any) -> None:
    calls: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        calls.append((user, request))
        return {"country": "DE"}

    def view(request: Any) -> HttpResponse:
        assert request.flags.enabled("beta")
        assert request.flags.all() == {"beta": True}
        assert flag_enabled("beta", request.user)
        return HttpResponse()

    store(condition("country", "in", "DE"))
    with attributes_from(settings, record):
        load()
        request = request_of(SimpleLazyObject(lambda: alice))
        FlagstaffMiddleware(view)(request)
        assert calls == [(alice, request)]
        FlagstaffMiddleware(view)(request_of(alice))
        assert len(calls) == 2


def test_callable_runs_once_for_each_user_of_a_request(
    load: Load, alice: User, bob: User, settings: Any
) -> None:
    calls: list[User] = []
    store(condition("country", "in", "DE"))

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        calls.append(user)
        return {}

    with attributes_from(settings, record):
        load()
        flags = RequestFlags(request_of(alice))
        for user in (alice, bob, alice, bob):
            flags.snapshot.flag_enabled("beta", user)
    assert calls == [alice, bob]


def test_context_of_a_request_is_for_all_its_evaluations(load: Load) -> None:
    store(condition("language", "in", "de"))
    load()
    request = request_of(AnonymousUser())
    request.flags = RequestFlags(request)
    assert not request.flags.enabled("beta")
    request.flags.context["language"] = "de"
    assert request.flags.enabled("beta")
    assert request.flags["beta"]
    assert request.flags.all() == {"beta": True}
    assert not request.flags.enabled("beta", context={"language": "fr"})


def test_request_user_and_auser_share_what_the_callable_returns(alice: User, settings: Any) -> None:
    alice.save()
    calls: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        calls.append(user)
        return {"country": "DE"}

    async def auser() -> User:
        return User(pk=alice.pk)

    async def view(request: Any) -> None:
        assert await request.flags.aenabled("beta")
        assert request.flags.enabled("beta")

    store(condition("country", "in", "DE"))
    with attributes_from(settings, record):
        request = request_of(alice)
        request.auser = auser
        request.flags = RequestFlags(request)
        async_to_sync(view)(request)
    assert len(calls) == 1


def test_context_of_a_request_can_be_replaced_at_any_time(load: Load, alice: User) -> None:
    store(condition("country", "in", "DE"))
    load()
    request = request_of(alice)
    request.flags = RequestFlags(request)
    assert not request.flags.enabled("beta")
    request.flags.context = {"country": "DE"}
    assert request.flags.enabled("beta")
    assert pickle.loads(pickle.dumps(request.flags.context)) == {"country": "DE"}


def test_evaluation_after_the_request_gets_no_attributes_of_it(alice: User, settings: Any) -> None:
    requests: list[object] = []

    def record(user: User, request: HttpRequest) -> dict[str, object]:
        requests.append(request)
        return {"country": "DE"}

    def view(request: HttpRequest) -> HttpResponse:
        contexts.append(copy_context())
        return HttpResponse()

    contexts: list[Context] = []
    store(condition("country", "in", "DE"))
    with attributes_from(settings, record):
        handler: Any = FlagstaffMiddleware(view)
        handler(request_of(alice))
        assert contexts[0].run(flag_enabled, "beta", alice)
    assert requests == [None]


def test_request_is_freed_with_its_snapshot_and_context() -> None:
    request = request_of(AnonymousUser())
    request.flags = RequestFlags(request)
    request.flags.context["request"] = request
    request.flags.enabled("beta")
    freed: list[bool] = []
    weakref.finalize(request, freed.append, True)
    del request
    gc.collect()
    assert freed


# Rules.


def test_rule_that_decides_is_explained_with_each_condition(load: Load, alice: User) -> None:
    conditions = [condition("country", "in", "DE"), condition("plan", "in", "pro")]
    Segment.objects.create(key="german", conditions=conditions)
    rules = [
        {"name": "guests", "conditions": [condition("is_authenticated", "in", False)]},
        {"name": "Germans", "conditions": [{"segment": "german"}], "rollout_percent": 60},
        {"conditions": [{"segment": "gone"}]},
    ]
    FeatureFlag.objects.create(key="beta", enabled=True, rollout_percent=10, rules=rules)
    load()
    found = explain("beta", alice, context={"country": "DE", "plan": "pro"})
    assert (found.rule, found.rule_name, found.reason) == (2, "Germans", "SPLIT")
    assert (found.bucket, found.rollout_percent) == (found.bucket, 10)
    assert found.value is (found.bucket is not None and found.bucket < 60)
    assert [rule.decides for rule in found.rules] == [False, True, False]
    [by_segment] = found.rules[1].conditions
    assert by_segment.condition == {"segment": "german"}
    assert [(one.condition, one.outcome) for one in by_segment.conditions] == [
        (conditions[0], "passed"),
        (conditions[1], "passed"),
    ]
    assert found.rules[2].conditions[0].outcome == "missing"


def test_allowed_user_is_explained_without_a_deciding_rule(load: Load, alice: User) -> None:
    alice.save()
    store(condition("is_authenticated", "in", True))
    FeatureFlag.objects.get().allowed_users.add(alice)
    load()
    found = explain("beta", alice)
    assert (found.reason, found.rule, found.rules[0].decides) == ("TARGETING_MATCH", None, False)


@pytest.mark.parametrize("default", [False, True])
def test_rules_that_cannot_be_read_return_the_default(
    load: Load, alice: User, *, default: bool
) -> None:
    rules = [{"conditions": [condition("a", "matches", "x")]}]
    FeatureFlag.objects.create(key="beta", enabled=True, rollout_percent=100, rules=rules)
    FeatureFlag.objects.create(key="other", enabled=True, rollout_percent=100)
    load()
    assert flag_enabled("beta", alice, default=default) is default
    assert snapshot().flag_enabled("beta", alice, default=default) is default
    assert all_flags(alice) == {"beta": False, "other": True}
    found = explain("beta", alice)
    assert (found.value, found.reason, found.error_code) == (False, "ERROR", "PARSE_ERROR")


def test_rules_that_cannot_be_read_do_not_hide_a_kill(load: Load, alice: User) -> None:
    rules = [{"conditions": "everyone"}]
    FeatureFlag.objects.create(key="beta", enabled=False, rollout_percent=100, rules=rules)
    load()
    assert flag_enabled("beta", alice, default=True) is False
    assert explain("beta", alice).reason == "DISABLED"


def test_lazy_user_is_not_read_if_no_rule_needs_it(load: Load) -> None:
    lazy: Any = SimpleLazyObject(lambda: pytest.fail("the user was read"))
    rules = [{"conditions": [condition("a", "in", 1)]}]
    FeatureFlag.objects.create(key="beta", enabled=False, rules=rules)
    FeatureFlag.objects.create(key="country", enabled=True, rules=rules)
    load()
    assert flag_enabled("beta", lazy) is False
    held = snapshot(context={"a": 1})
    assert held.flag_enabled("beta", lazy) is False
    assert held.flag_enabled("country", lazy) is True
    assert not held.depends_on_user("country")
    assert not flag_enabled("country", lazy, context={"a": 2})


def test_improper_setting_is_a_configuration_error(settings: Any) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": ["is_staff"]}
    with pytest.raises((ConfigurationError, ImproperlyConfigured), match="which is built in"):
        attributes.read_settings()
