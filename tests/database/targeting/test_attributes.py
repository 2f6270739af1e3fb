"""What rules read: built-in attributes, the context, ATTRIBUTES, and what is missing.

The results of all kinds of values, contexts and users are those of tests/conformance.
"""

import asyncio
import gc
import logging
import pickle
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context, copy_context
from datetime import datetime, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from asgiref.sync import async_to_sync
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext_lazy

from flagstaff import _core, _log, all_flags, explain, flag_enabled, get_value, snapshot
from flagstaff._engine import users
from flagstaff._types import UserLike
from flagstaff.exceptions import ConfigurationError
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.conditions import condition, outcomes_of
from tests.support.fixtures import Load
from tests.support.shop import Shop
from tests.support.views import flagged_request_of

PATH = f"{__name__}.source"
ALICE = User(pk=42, username="alice", email="alice@example.com", is_staff=True)
BOB = User(pk=7, username="bob")

#: What the callable of ATTRIBUTES does; a test sets it.
source_of_test: Callable[[Any, Any], object] = lambda user, request: {}  # noqa: E731


def source(user: Any, request: Any) -> object:
    """The callable that ATTRIBUTES names."""
    return source_of_test(user, request)


@contextmanager
def attributes_from(settings: Any, function: Callable[[Any, Any], object]) -> Iterator[None]:
    """Sets ATTRIBUTES to a callable that calls `function`."""
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": PATH}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "source_of_test", function)
        yield


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is logged once per process; here, once per test."""
    monkeypatch.setattr(_log, "_logged", set())


def store(*conditions: dict[str, Any], key: str = "beta") -> None:
    """Stores a flag that is on for those who meet all conditions."""
    rules = [{"name": "rule", "conditions": list(conditions)}]
    FeatureFlag.objects.create(key=key, enabled=True, rules=rules)


def outcome(user: UserLike = None, context: Mapping[str, object] | None = None) -> str:
    """What came of the first condition of the flag."""
    return outcomes_of(explain("beta", user, context=context))[0]


@pytest.mark.parametrize("pk", [42, "42"], ids=["an integer", "a text"])
def test_primary_key_is_authenticated_and_needs_the_user_for_the_rest(
    load: Load, pk: UserLike, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("is_staff", "in", False), key="beta")
    store(condition("is_authenticated", "in", True), key="members")
    load()
    assert flag_enabled("members", pk)
    for _ in range(3):
        assert not flag_enabled("beta", pk)
        all_flags(pk)
    assert outcome(pk) == "needs_user"
    [message] = [message for message in caplog.messages if "beta" in message]
    assert "pass the user" in message


def test_context_cannot_set_a_built_in_attribute(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("is_staff", "in", True))
    store(condition("groups", "in", "beta"), key="grouped")
    load()
    assert not flag_enabled("beta", BOB, context={"is_staff": True})
    assert not flag_enabled("grouped", BOB, context={"groups": ["beta"]})
    assert "context cannot set 'is_staff'" in caplog.text


@pytest.mark.parametrize("kind", [dict, MappingProxyType, ChainMap])
def test_context_may_be_any_mapping(load: Load, kind: Any) -> None:
    store(condition("country", "in", "DE"))
    load()
    assert flag_enabled("beta", context=kind({"country": "DE"}))
    # The last value of a name.
    assert flag_enabled("beta", context=QueryDict("country=FR&country=DE"))
    assert not flag_enabled("beta", context=QueryDict("country=DE&country=FR"))


@pytest.mark.parametrize("wrong", [["country"], "country", 1, {"country"}])
@pytest.mark.parametrize("function", [flag_enabled, explain, snapshot, all_flags])
def test_context_of_a_wrong_type_raises_also_if_no_rule_needs_it(function: Any, wrong: Any) -> None:
    arguments = ["beta"] if function in (flag_enabled, explain) else []
    with pytest.raises(TypeError, match="context must be a mapping"):
        function(*arguments, context=wrong)


class Index:
    """An integer of another library, such as numpy."""

    def __index__(self) -> int:
        return 42


def test_values_of_types_that_are_not_plain_are_compared(load: Load) -> None:
    conditions = [condition("number", "gte", 42), condition("set", "in", "a")]
    store(condition("lazy", "in", "DE"), *conditions)
    store(condition("lazy", "in", "\ufffd"), key="replaced")
    load()
    context: dict[str, object] = {"lazy": gettext_lazy("DE"), "number": Index(), "set": {"a"}}
    assert flag_enabled("beta", context=context)
    for name in context:
        # A text that UTF-8 cannot encode.
        odd = {**context, name: "\udc80"}
        assert all_flags(context=odd) == {"beta": False, "replaced": False}


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


class Endless:
    def __str__(self) -> str:
        return str(flag_enabled("beta", context={"a": self, "b": self}))


class Interrupted:
    def __str__(self) -> str:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("text", "error"), [(Endless(), RecursionError), (Interrupted(), KeyboardInterrupt)], ids=type
)
def test_text_that_cannot_be_read_to_its_end_ends_the_evaluation(
    load: Load, text: object, error: type[BaseException]
) -> None:
    store(condition("a", "in", "x"), condition("b", "in", "y"))
    load()
    for function in (flag_enabled, explain):
        with pytest.raises(error):
            function("beta", context={"a": text})


def test_columns_that_the_setting_names_are_read_from_the_user_object(
    load: Load, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    store(condition("email", "endswith", "@example.com"))
    store(condition("username", "isnull", True), key="unnamed")
    load()
    with django_assert_num_queries(0):
        assert all_flags(ALICE) == {"beta": True, "unnamed": True}
        assert flag_enabled("beta", SimpleLazyObject(lambda: ALICE))
        assert not flag_enabled("beta", BOB)
        assert not flag_enabled("beta")
        assert flag_enabled("unnamed", 42)
    assert outcome(42) == "needs_user"
    assert outcome(None) == "missing"


def test_deferred_column_is_missing_and_not_loaded(
    shop: Shop, load: Load, settings: Any, django_assert_num_queries: Any
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    shop.user("alice", email=ALICE.email, is_staff=True)
    store(condition("email", "in", ALICE.email))
    store(condition("is_staff", "in", True), key="staff")
    store(condition("is_authenticated", "in", True), key="members")
    load()
    deferred = User.objects.defer("email", "is_staff").get()
    with django_assert_num_queries(0):
        assert all_flags(deferred) == {"beta": False, "members": True, "staff": False}
        assert outcome(deferred) == "missing"
    assert all_flags(User.objects.get()) == {"beta": True, "members": True, "staff": True}


def test_deferred_column_behind_another_descriptor_is_missing(
    shop: Shop, settings: Any, django_assert_num_queries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrapped:
        def __init__(self, descriptor: Any) -> None:
            self.descriptor = descriptor

        def __get__(self, instance: Any, owner: Any) -> Any:
            return self if instance is None else self.descriptor.__get__(instance, owner)

    monkeypatch.setattr(User, "email", Wrapped(vars(User)["email"]))
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    shop.user("alice", email=ALICE.email)
    store(condition("email", "in", ALICE.email))
    deferred = User.objects.defer("email").get()
    with django_assert_num_queries(0):
        assert outcome(deferred) == "missing"


def test_foreign_key_is_read_by_the_key_it_holds(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setattr(users, "_user_model", lambda: LogEntry)
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["user", "user_id"]}
    store(condition("user", "in", 42), condition("user_id", "in", 42))
    assert flag_enabled("beta", LogEntry(pk=1, user_id=42))
    assert not flag_enabled("beta", LogEntry(pk=1, user_id=43))


def test_column_that_the_user_model_lacks_is_a_configuration_error(settings: Any) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["country"]}
    store(condition("country", "in", "DE"))
    with pytest.raises(ConfigurationError, match=r"'country', which is not a column of auth\.User"):
        flag_enabled("beta", ALICE)


class Customer:
    """A user of another class, with a property that can be read and one that cannot."""

    pk = 5

    @property
    def username(self) -> str:
        return "carol"

    @property
    def email(self) -> str:
        raise ValueError("carol's secret")


def test_property_of_another_user_class_is_read_and_missing_if_it_raises(
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["username", "email", "last_name"]}
    store(condition("email", "in", "carol@example.com"))
    store(condition("is_authenticated", "in", True), key="members")
    store(condition("username", "in", "carol"), condition("last_name", "isnull", True), key="named")
    load()
    assert all_flags(Customer()) == {"beta": False, "members": True, "named": True}
    assert outcome(Customer()) == "missing"
    assert "the attribute 'email' is missing: reading it raised ValueError in" in caplog.text
    assert "secret" not in caplog.text


def test_number_with_a_fraction_is_no_bucketing_unit_and_logged(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    FeatureFlag.objects.create(key="by_size", bucket_by="size", enabled=True, rollout_percent=99)
    load()
    buckets = [
        explain("by_size", context={"size": size}).bucket for size in (7, 7.0, Decimal("7.00"))
    ]
    assert len(set(buckets)) == 1
    assert caplog.text == ""
    fractions = [
        explain("by_size", context={"size": size}).reason
        for size in (7.5, Decimal("7.50"), 2.0**53)
    ]
    assert fractions == ["DEFAULT"] * 3
    [message] = caplog.messages
    assert message.startswith("'size' is no bucketing unit where it has a fraction")


@pytest.fixture
def calls(db: None, settings: Any) -> Iterator[list[tuple[object, object]]]:
    """The users and requests for which the callable of ATTRIBUTES has returned Germany."""
    calls: list[tuple[object, object]] = []

    def record(user: User, request: HttpRequest | None) -> dict[str, object]:
        calls.append((user, request))
        return {"country": "DE"}

    with attributes_from(settings, record):
        yield calls


def test_callable_gets_the_user_and_returns_attributes(load: Load, settings: Any) -> None:
    def by_name(user: User, request: HttpRequest | None) -> dict[str, object]:
        assert request is None
        return {"name": user.username.upper()}

    store(condition("name", "in", "ALICE"))
    with attributes_from(settings, by_name):
        load()
        assert flag_enabled("beta", ALICE)
        assert flag_enabled("beta", SimpleLazyObject(lambda: ALICE))
        assert not flag_enabled("beta", BOB)
        assert outcome(42) == "needs_user"
        assert outcome(None) == "missing"


def test_callable_serves_what_is_known_without_a_user(
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def of_deployment(user: User | None, request: HttpRequest | None) -> dict[str, object]:
        known: dict[str, object] = {"environment": "staging", "name": user and user.username}
        return known if request is None else {**known, "host": request.get_host()}

    store(condition("environment", "in", "staging"))
    store(condition("name", "in", "alice"), key="named")
    store(condition("host", "in", "testserver"), key="hosted")
    rules = [{"conditions": [condition("environment", "in", "staging")], "value": 2}]
    KeyValueStore.objects.create(key="pool_size", value=1, rules=rules)
    with attributes_from(settings, of_deployment):
        load()
        for user in (None, AnonymousUser(), User(username="unsaved"), 42):
            assert all_flags(user) == {"beta": True, "named": False, "hosted": False}
        assert outcomes_of(explain("named")) == ["missing"]
        assert outcomes_of(explain("named", 42)) == ["needs_user"]
        assert snapshot().flag_enabled("beta")
        assert flagged_request_of(AnonymousUser()).flags.enabled("hosted")
        caplog.clear()
        assert get_value("pool_size") == 2
    assert caplog.text == ""


def test_context_wins_over_a_column_and_over_the_callable(load: Load, settings: Any) -> None:
    other = {"email": "alice@example.org"}
    store(condition("email", "in", other["email"]))
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["email"]}
    load()
    assert not flag_enabled("beta", ALICE)
    assert flag_enabled("beta", ALICE, context=other)
    with attributes_from(settings, lambda user, _request: {"email": user.email}):
        assert not flag_enabled("beta", ALICE)
        assert flag_enabled("beta", ALICE, context=other)


def test_callable_runs_once_per_evaluation_and_only_if_a_rule_needs_it(
    load: Load, calls: list[object]
) -> None:
    store(condition("a", "isnull", True), condition("b", "isnull", True))
    store(condition("c", "isnull", True), key="other")
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)

    load()
    flag_enabled("half", ALICE)
    flag_enabled("other", ALICE, context={"c": 1})
    assert calls == []
    assert all_flags(ALICE) == {"beta": True, "half": flag_enabled("half", 42), "other": True}
    assert calls == [(ALICE, None)]


FAILING: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "raises": (lambda user, request: 1 / 0, "raised ZeroDivisionError in"),
    "returns no mapping": (lambda user, request: ["DE"], "returned a list, not a mapping"),
    "is async": (lambda user, request: asyncio.sleep(0), "returned a coroutine, not a mapping"),
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
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    function, message = FAILING[failing]
    store(condition("country", "in", "DE"))
    store(condition("is_staff", "in", True), key="other")
    with attributes_from(settings, function):
        load()
        caplog.clear()
        assert outcome(ALICE) == "missing"
        assert flag_enabled("beta", ALICE) is False
        assert all_flags(ALICE) == {"beta": False, "other": True}
    [record] = [record for record in caplog.records if PATH in record.getMessage()]
    assert message in record.getMessage()
    assert record.levelno == logging.WARNING


def test_callable_that_cannot_be_imported_gives_no_attributes(
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("country", "in", "DE"))
    for path, error in {
        "no_such_module.missing": "ModuleNotFoundError",
        f"{__name__}.missing": "ImportError",
    }.items():
        settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": path}
        load()
        assert not flag_enabled("beta", ALICE)
        assert f"raised {error}" in caplog.text


@pytest.mark.parametrize("name", ["alice", None])
def test_callable_that_queries_in_an_event_loop_is_prepared_in_a_thread(
    shop: Shop, settings: Any, name: str | None
) -> None:
    alice = shop.user("alice")

    def count(user: User | None, request: HttpRequest) -> dict[str, object]:
        assert user == (alice if name else None)
        return {"users": User.objects.filter(pk=alice.pk).count()}

    async def view(request: Any) -> None:
        assert flag_enabled("beta", request.user) is False
        assert await request.flags.aenabled("beta")
        assert await request.flags.aall() == {"beta": True}
        assert flag_enabled("beta", request.user)

    store(condition("users", "in", 1))
    with attributes_from(settings, count):
        request = flagged_request_of(alice if name else AnonymousUser())
        with _core.Observation(request.flags):
            async_to_sync(view)(request)


def test_callable_that_queries_in_an_event_loop_is_logged_with_the_remedy(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def evaluate() -> bool:
        return flag_enabled("beta", ALICE)

    store(condition("users", "in", 1))
    with attributes_from(settings, lambda user, request: {"users": User.objects.count()}):
        assert async_to_sync(evaluate)() is False
    assert "evaluate with request.flags.aenabled() or in a thread" in caplog.text


def test_callable_that_waits_for_another_thread_of_its_request_does_not_deadlock(
    load: Load, settings: Any
) -> None:
    calls: list[int] = []

    def wait_once(user: User, request: Any) -> dict[str, object]:
        calls.append(1)
        if len(calls) == 1:
            with ThreadPoolExecutor() as pool:
                pool.submit(request.flags.value, "gateway").result(10)
                pool.submit(request.flags.enabled, "beta").result(10)
        return {"country": "DE"}

    store(condition("country", "in", "DE"))
    with attributes_from(settings, wait_once):
        load()
        assert flagged_request_of(ALICE).flags.enabled("beta")


class Unreadable(Mapping[str, object]):
    """A mapping that cannot be read."""

    def __getitem__(self, name: str) -> object:
        raise OSError("secret")

    def __iter__(self) -> Iterator[str]:
        raise OSError("secret")

    def __len__(self) -> int:
        raise OSError("secret")


def test_context_that_cannot_be_read_is_empty_and_logged(
    load: Load, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store(condition("country", "isnull", True))
    load()
    for user in (ALICE, SimpleLazyObject(lambda: ALICE), None):
        assert flag_enabled("beta", user, context=Unreadable())
    assert "the context is ignored: reading it raised OSError" in caplog.text
    assert "secret" not in caplog.text
    # A disabled flag is off whatever attributes and context are.
    FeatureFlag.objects.update(enabled=False)
    load()
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ["country"]}
    for context in (None, Unreadable()):
        assert flag_enabled("beta", ALICE, context=context) is False
        assert all_flags(ALICE, context=context) == {"beta": False}


def test_callable_runs_once_per_request(load: Load, calls: list[object]) -> None:
    def view(request: Any) -> HttpResponse:
        assert request.flags.enabled("beta")
        assert request.flags.all() == {"beta": True}
        assert flag_enabled("beta", request.user)
        return HttpResponse()

    store(condition("country", "in", "DE"))
    load()
    request = flagged_request_of(SimpleLazyObject(lambda: ALICE))
    FlagstaffMiddleware(view)(request)
    assert calls == [(ALICE, request)]
    FlagstaffMiddleware(view)(flagged_request_of(ALICE))
    assert len(calls) == 2


def test_callable_runs_once_for_each_user_of_a_request_with_its_two_forms(
    shop: Shop, calls: list[object]
) -> None:
    alice = shop.user("alice")

    async def auser() -> User:
        return User(pk=alice.pk)

    async def view(request: Any) -> None:
        assert await request.flags.aenabled("beta")
        assert request.flags.enabled("beta")

    store(condition("country", "in", "DE"))
    request = flagged_request_of(alice)
    request.auser = auser
    async_to_sync(view)(request)
    for user in (alice, BOB, alice, BOB):
        request.flags.snapshot.flag_enabled("beta", user)
    assert calls == [(alice, request), (BOB, request)]


def test_context_of_a_request_is_for_all_its_evaluations(load: Load) -> None:
    store(condition("language", "in", "de"))
    load()
    request = flagged_request_of(AnonymousUser())
    assert not request.flags.enabled("beta")
    request.flags.context["language"] = "de"
    assert request.flags.enabled("beta")
    assert request.flags["beta"]
    assert request.flags.all() == {"beta": True}
    assert not request.flags.enabled("beta", context={"language": "fr"})
    request.flags.context = {"country": "DE"}
    assert not request.flags.enabled("beta")
    request.flags.context = {"language": "de"}
    assert request.flags.enabled("beta")
    assert pickle.loads(pickle.dumps(request.flags.context)) == {"language": "de"}


def test_evaluation_after_the_request_gets_no_attributes_of_it(calls: list[object]) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        contexts.append(copy_context())
        return HttpResponse()

    contexts: list[Context] = []
    store(condition("country", "in", "DE"))
    handler: Any = FlagstaffMiddleware(view)
    handler(flagged_request_of(ALICE))
    assert contexts[0].run(flag_enabled, "beta", ALICE)
    assert calls == [(ALICE, None)]


def test_request_is_freed_with_its_snapshot_and_context() -> None:
    request = flagged_request_of(AnonymousUser())
    request.flags.context["request"] = request
    request.flags.enabled("beta")
    freed: list[bool] = []
    weakref.finalize(request, freed.append, True)
    del request
    gc.collect()
    assert freed


@pytest.mark.parametrize("default", [False, True])
def test_rules_that_cannot_be_read_return_the_default_of_an_enabled_flag(
    load: Load, *, default: bool
) -> None:
    rules = [{"conditions": [condition("a", "matches", "x")]}]
    fields: dict[str, Any] = {"rollout_percent": 100, "rules": rules}
    FeatureFlag.objects.create(key="beta", enabled=True, **fields)
    FeatureFlag.objects.create(key="killed", enabled=False, **fields)
    FeatureFlag.objects.create(key="other", enabled=True, rollout_percent=100)
    load()
    assert flag_enabled("beta", ALICE, default=default) is default
    assert snapshot().flag_enabled("beta", ALICE, default=default) is default
    assert all_flags(ALICE) == {"beta": False, "killed": False, "other": True}
    explained = explain("beta", ALICE)
    assert (explained.value, explained.reason, explained.error_code) == (
        False,
        "ERROR",
        "PARSE_ERROR",
    )
    assert flag_enabled("killed", ALICE, default=True) is False
    assert explain("killed", ALICE).reason == "DISABLED"


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
