"""The user, or an attribute of the user, cannot be read because the database is away."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from pytest_django import Settings

from flagstaff import (
    _log,
    all_flags,
    experiments,
    explain,
    explain_value,
    flag_enabled,
    get_value,
    resolve_flag,
    resolve_value,
    snapshot,
)
from flagstaff._request import user as request_user
from flagstaff._request.flags import flags_of
from flagstaff.contrib.ofrep.views import evaluate_all, evaluate_one
from flagstaff.contrib.openfeature import FlagstaffProvider
from flagstaff.contrib.waffle.evaluating import flag_result
from flagstaff.decorators import flag_required
from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.fixtures import COMMITTED, Load
from tests.support.shop import GERMANY, Shop
from tests.support.views import in_request, new, new_async, old, old_async, rendered

pytestmark = pytest.mark.usefixtures("rows", "logged_again")

STAFF = {"conditions": [{"attribute": "is_staff", "operator": "in", "values": [True]}]}
AWAY = OperationalError("the server is away"), InterfaceError("the connection is closed")
OTHERS = ProgrammingError, DataError, IntegrityError, InternalError, RuntimeError


class Waiting:
    """A lazy user that cannot be read, with the number of times that this was tried."""

    def __init__(self, error: Exception = AWAY[0]) -> None:
        self.error = error
        self.reads = 0
        self.user: Any = SimpleLazyObject(self._read)

    def _read(self) -> object:
        self.reads += 1
        raise self.error

    async def auser(self) -> object:
        return self._read()

    def request(self) -> Any:
        """A request of this user that OFREP can read."""
        request: Any = RequestFactory().post("/", {"context": {}}, "application/json")
        request.user, request.auser = self.user, self.auser
        return request


@pytest.fixture
def rows(shop: Shop, load: Load) -> None:
    """Flags, a value and an experiment, of which some need the user."""
    FeatureFlag.objects.create(key="half", enabled=True, rollout_percent=50)
    FeatureFlag.objects.create(key="staff", enabled=True, rules=[STAFF], client_side=True)
    FeatureFlag.objects.create(key="german", enabled=True, rules=[GERMANY])
    FeatureFlag.objects.create(key="all", enabled=True, rollout_percent=100)
    FeatureFlag.objects.create(key="killed", enabled=False, rollout_percent=50, rules=[STAFF])
    KeyValueStore.objects.create(key="limit", value=1, rules=[{**STAFF, "value": 5}])
    KeyValueStore.objects.create(key="mail", value="help@example.com")
    shop.experiment("button")
    shop.experiment("shipped")
    experiments.ship("shipped", "treatment")
    load()


@pytest.fixture
def logged_again() -> None:
    _log.after_fork()


def resolved(result: Any) -> tuple[Any, str, str]:
    return result.value, result.reason, result.error_code


#: What needs the user: the default of the call, with the reason ERROR.
NEEDED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "flag": (lambda user: flag_enabled("half", user, default=True), True),
    "rules": (lambda user: flag_enabled("staff", user, default=True), True),
    "reason": (
        lambda user: resolved(resolve_flag("half", user, default=True)),
        (True, "ERROR", "GENERAL"),
    ),
    "value": (lambda user: get_value("limit", 7, user=user), 7),
    "reason of the value": (
        lambda user: resolved(resolve_value("limit", 7, user=user)),
        (7, "ERROR", "GENERAL"),
    ),
    "variant": (lambda user: experiments.get_variant("button", user, default="a"), "a"),
    "reason of the variant": (
        lambda user: resolved(experiments.resolve_variant("button", user, default="a")),
        ("a", "ERROR", "GENERAL"),
    ),
    "explanation": (lambda user: explain("staff", user).error_code, "GENERAL"),
    "explanation of a value": (lambda user: explain_value("limit", user).error_code, "GENERAL"),
    "explanation of a variant": (
        lambda user: experiments.explain_variant("button", user).error_code,
        "GENERAL",
    ),
    "snapshot": (lambda user: snapshot().flag_enabled("half", user, default=True), True),
    "all flags": (
        all_flags,
        {"all": True, "german": False, "half": False, "killed": False, "staff": False},
    ),
}
#: What does not.
UNNEEDED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "flag": (lambda user: flag_enabled("all", user), True),
    "killed flag": (lambda user: flag_enabled("killed", user, default=True), False),
    "context": (lambda user: flag_enabled("german", user, context={"country": "DE"}), True),
    "explanation": (lambda user: explain("all", user).reason, "STATIC"),
    "explanation of a killed flag": (lambda user: explain("killed", user).reason, "DISABLED"),
    "value": (lambda user: get_value("mail", user=user), "help@example.com"),
    "shipped variant": (lambda user: experiments.get_variant("shipped", user), "treatment"),
    "explanation of a shipped variant": (
        lambda user: experiments.explain_variant("shipped", user).value,
        "treatment",
    ),
}


@pytest.mark.parametrize(("call", "expected"), NEEDED.values(), ids=NEEDED)
@pytest.mark.one_in(4)
def test_evaluation_that_needs_the_user_returns_its_default(
    call: Callable[[Any], Any], expected: Any
) -> None:
    assert [call(Waiting(error).user) for error in AWAY] == [expected] * len(AWAY)


@pytest.mark.parametrize(("call", "expected"), UNNEEDED.values(), ids=UNNEEDED)
def test_evaluation_that_does_not_need_the_user_has_its_result(
    call: Callable[[Any], Any], expected: Any
) -> None:
    result = call(Waiting().user)
    assert result == expected


@pytest.mark.parametrize("error", OTHERS)
def test_other_error_of_the_user_rises(error: type[Exception]) -> None:
    for call, _ in NEEDED.values():
        with pytest.raises(error):
            call(Waiting(error("of the project")).user)


def test_outage_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([1000.0, 1001.0, 1059.0, 1060.0])
    monkeypatch.setattr(_log, "monotonic", lambda: next(times))
    caplog.clear()
    for _ in range(4):
        flag_enabled("half", Waiting().user)
    assert [f"(OperationalError in {__file__}" in text for text in caplog.messages] == [True, True]
    assert "the server is away" not in caplog.text


def test_steps_say_that_the_user_cannot_be_read() -> None:
    user = Waiting().user
    text = "the database failed while the user or an attribute was read"
    for explained in (explain("half", user), explain_value("limit", user=user)):
        assert (explained.deciding_step.name, explained.deciding_step.text) == ("exists", text)


#: The users for whom the function was called.
calls: list[object] = []


def fail(user: object, _request: object) -> object:
    calls.append(user)
    raise AWAY[0]


class Failing:
    """A user whose property queries the database."""

    pk = 1

    @property
    def is_staff(self) -> bool:
        raise AWAY[0]


class FailingKey:
    """A user whose primary key queries the database."""

    @property
    def pk(self) -> int:
        raise AWAY[0]


@pytest.fixture
def function_of_attributes(settings: Settings, load: Load) -> None:
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": f"{__name__}.fail"}
    load()


@pytest.mark.usefixtures("function_of_attributes")
@pytest.mark.parametrize(
    ("key", "user", "context"),
    [
        ("german", User(pk=1), None),
        ("staff", Failing(), None),
        ("half", FailingKey(), None),
        ("german", None, {"country": Waiting().user}),
    ],
    ids=["function", "property", "primary key", "context"],
)
def test_evaluation_that_needs_an_attribute_returns_its_default(
    key: str, user: Any, context: Any
) -> None:
    result = resolve_flag(key, user, default=True, context=context)
    assert resolved(result) == (True, "ERROR", "GENERAL")
    assert all_flags(user, context=context)["all"] is True


@pytest.mark.usefixtures("function_of_attributes")
def test_flag_that_reads_no_failed_attribute_has_its_result() -> None:
    user: Any = User(pk=1, is_staff=True)
    on, off = ("all", "half", "staff"), ("german", "killed")
    assert all_flags(user) == dict.fromkeys(on, True) | dict.fromkeys(off, False)
    request: Any = RequestFactory().get("/")
    request.user = user
    calls.clear()
    enabled = flags_of(request).enabled
    assert [enabled("german"), enabled("staff"), enabled("german")] == [False, True, False]
    assert len(calls) == 1


def with_timeout() -> Any:
    """A user whose query takes too long."""

    def query() -> object:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(60)")
        return None

    return SimpleLazyObject(query)


def test_error_that_breaks_a_transaction_rises() -> None:
    with suppress(OperationalError), transaction.atomic():
        User.objects.create(username="lost without a word")
        with pytest.raises(OperationalError, match="statement timeout"):
            flag_enabled("half", with_timeout())
        raise OperationalError
    assert not User.objects.exists()


def test_error_in_a_savepoint_does_not_rise() -> None:
    lazy = with_timeout()

    def query() -> object:
        with transaction.atomic():
            return lazy.pk

    assert flag_enabled("half", SimpleLazyObject(query), default=True) is True
    User.objects.create(username="kept")


def caused_by(**attributes: object) -> OperationalError:
    """An error of Django with the attributes of the driver's."""
    cause = type("Cause", (Exception,), attributes)()
    error = OperationalError("refused")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error", [caused_by(sqlstate="40001"), caused_by(pgcode="40P01"), caused_by(sqlite_errorcode=1)]
)
def test_query_that_the_database_has_refused_rises(error: OperationalError) -> None:
    with pytest.raises(OperationalError, match="refused"):
        flag_enabled("half", Waiting(error).user)


@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_lost_connection_is_opened_again_outside_of_a_request(load: Load) -> None:
    alice = User.objects.create(username="alice")
    load()
    with connection.cursor() as cursor, suppress(OperationalError):
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    codes = [
        resolve_flag("half", SimpleLazyObject(lambda: User.objects.get(pk=alice.pk))).error_code
        for _ in range(2)
    ]
    assert codes == ["GENERAL", None]


@pytest.mark.parametrize("load", [pytest.param("memory", marks=COMMITTED)], indirect=True)
def test_evaluation_while_django_cannot_connect_returns_its_default(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = User.objects.create(username="alice", is_staff=True)
    load()

    def is_staff() -> bool:
        return flag_enabled("staff", SimpleLazyObject(lambda: User.objects.get(pk=alice.pk)))

    with monkeypatch.context() as patch:
        patch.setitem(connection.settings_dict, "HOST", "gone.invalid")
        connection.close()
        assert [is_staff() for _ in range(2)] == [False, False]
    assert is_staff() is True


def test_user_is_read_once_per_request_and_again_in_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A slow request: the time alone does not end what it keeps.
    monkeypatch.setattr(request_user, "_RETRY_AFTER", -1)
    waiting = Waiting()
    for reads in (1, 2):
        request = waiting.request()
        in_request(request, lambda request: [call(request) for call, _ in IN_REQUEST.values()])
        assert waiting.reads == reads


def test_async_evaluations_read_the_user_once_per_request() -> None:
    waiting = Waiting()
    in_request(waiting.request(), async_to_sync(in_async_view))
    assert waiting.reads == 1


def test_user_outside_of_a_request_is_read_again_after_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = iter([1000.0, 1000.0, 1004.9, 1005.0, 1005.0])
    monkeypatch.setattr(request_user, "monotonic", lambda: next(times))
    waiting = Waiting()
    reads = []
    for _ in range(4):
        assert flag_enabled("half", waiting.user, default=True) is True
        reads.append(waiting.reads)
    assert reads == [1, 1, 1, 2]


def test_user_whose_query_was_refused_is_read_each_time() -> None:
    waiting = Waiting(caused_by(sqlstate="40001"))
    for _ in range(2):
        with pytest.raises(OperationalError, match="refused"):
            flag_enabled("half", waiting.user)
    assert waiting.reads == 2


def test_code_of_the_project_reads_a_user_again_that_could_not_be_read() -> None:
    waiting = Waiting()
    flag_enabled("half", waiting.user)
    with pytest.raises(OperationalError):
        _ = waiting.user.pk
    assert waiting.reads == 2


def test_tag_reads_the_user_that_it_names_only_if_it_needs_the_user() -> None:
    def results(key: str, user: object) -> str:
        text = (
            "{% load flagstaff %}{% flag key user %}new{% else %}old{% endflag %} "
            "{% value 'limit' 7 user=user %} {% variant 'shipped' user %}"
        )
        return rendered(None, text, key=key, user=user)

    waiting = Waiting()
    assert results("half", waiting.user) == "old 7 treatment"
    assert waiting.reads == 1
    text = "{% load flagstaff %}{% flag 'all' user %}new{% endflag %}"
    waiting = Waiting()
    assert rendered(None, text, user=waiting.user) == "new"
    assert waiting.reads == 0


def test_openfeature_with_a_targeting_key_and_a_user_returns_its_default() -> None:
    waiting = Waiting()
    context = EvaluationContext("1", {"user": waiting.user})
    resolve = FlagstaffProvider().resolve_boolean_details
    results = [resolve(key, True, context) for key in ("half", "staff", "all")]
    general = ErrorCode.GENERAL
    assert [result.error_code for result in results] == [general, general, None]
    assert waiting.reads == 1


async def in_async_view(request: Any) -> list[Any]:
    flags = request.flags
    return [
        await flags.aenabled("half", default=True),
        await flags.aenabled("all"),
        await flags.avalue("limit", 7),
        (await flags.aall())["all"],
        (await FlagstaffProvider().resolve_boolean_details_async("half", True)).value,
    ]


TAGS = "{% load flagstaff %}{% flag 'half' %}new{% else %}old{% endflag %}{% value 'limit' 7 %}"


def codes(response: HttpResponse) -> list[Any]:
    """The status of a response, and the error of its only flag."""
    body = json.loads(response.content)
    [flag] = body.get("flags", [body])
    return [response.status_code, flag["errorCode"]]


IN_REQUEST: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "request.flags": (lambda request: request.flags.enabled("half", default=True), True),
    "value": (lambda request: request.flags.value("limit", 7), 7),
    "variant": (lambda request: request.flags.variant("button", "a"), "a"),
    "all": (lambda request: request.flags.all()["all"], True),
    "client_side": (lambda request: request.flags.client_side(), {"staff": False}),
    "tags": (lambda request: rendered(request, TAGS), "old7"),
    "decorator": (lambda request: flag_required("half", old)(new)(request).content, b"old 0 of 0"),
    "async decorator": (
        lambda request: async_to_sync(flag_required("half", old_async)(new_async))(request).content,
        b"old 0 of 0",
    ),
    "async": (async_to_sync(in_async_view), [True, True, 7, True, True]),
    "OFREP": (lambda request: codes(evaluate_one(request, key="staff")), [503, "GENERAL"]),
    "OFREP, all": (lambda request: codes(evaluate_all(request)), [200, "GENERAL"]),
    "OpenFeature": (
        lambda _: FlagstaffProvider().resolve_boolean_details("half", True).error_code,
        ErrorCode.GENERAL,
    ),
    "waffle": (lambda request: flag_result("half", request), False),
}


@pytest.mark.parametrize(("call", "expected"), IN_REQUEST.values(), ids=IN_REQUEST)
@pytest.mark.one_in(4)
def test_evaluation_in_a_request_returns_its_default(
    call: Callable[[Any], Any], expected: Any
) -> None:
    results: list[Any] = []
    in_request(Waiting().request(), lambda request: results.append(call(request)))
    assert results == [expected]


@pytest.mark.usefixtures("function_of_attributes")
def test_async_evaluation_that_needs_an_attribute_returns_its_default() -> None:
    async def auser() -> User:
        return User(pk=1)

    request: Any = RequestFactory().get("/")
    request.user, request.auser = Waiting().user, auser
    enabled = flags_of(request).aenabled
    assert async_to_sync(enabled)("german", default=True) is True
    assert async_to_sync(enabled)("all") is True
