"""For whom the provider of OpenFeature evaluates, and what it reports about the result."""

import json
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails
from pytest_django import Settings

from flagstaff import Value as DeclaredValue
from flagstaff import experiments
from flagstaff._engine import lifecycle
from flagstaff.experiments.models import Exposure
from flagstaff.middleware import FlagstaffMiddleware
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.support.fixtures import COMMITTED, Load
from tests.support.shop import GERMAN, STAFF
from tests.support.views import in_request, request_of


def checked(
    client: OpenFeatureClient, key: str, targeting_key: Any = None, **attributes: Any
) -> FlagEvaluationDetails[bool]:
    context = EvaluationContext(targeting_key, attributes)
    result = client.get_boolean_details(key, False, context)
    # Both ways of the SDK have the same result.
    assert async_to_sync(client.get_boolean_details_async)(key, False, context) == result
    return result


@pytest.fixture
def flag(load: Load) -> FeatureFlag:
    """A flag with two rules, and an allowed user with the primary key 7."""
    user = User.objects.create(pk=7, username="alice", is_staff=True)
    rules = [{"conditions": [GERMAN]}, {"conditions": [STAFF]}]
    flag = FeatureFlag.objects.create(key="beta", enabled=True, rules=rules)
    allowed = FeatureFlag.objects.create(key="allowed", enabled=True)
    allowed.allowed_users.add(user)
    load()
    return flag


STAFF_USER = User(pk=7, is_staff=True)


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("key", "targeting_key", "attributes", "value"),
    [
        # The targeting key is the primary key of a user; an empty one is none.
        ("allowed", "7", {}, True),
        ("allowed", "8", {}, False),
        ("allowed", "", {}, False),
        ("allowed", None, {}, False),
        ("allowed", "7", {"user": AnonymousUser()}, True),
        # Rules read the attributes, but not those that are built in.
        ("beta", None, {"country": "DE"}, True),
        ("beta", None, {"country": "FR"}, False),
        ("beta", "8", {"is_staff": True}, False),
        # The attribute user is the user, of whom rules read more than the key.
        ("beta", None, {"user": STAFF_USER}, True),
        ("beta", "7", {"user": STAFF_USER}, True),
        ("beta", "7", {}, False),
    ],
)
def test_user_is_that_of_the_targeting_key_or_the_attribute_user(
    key: str, targeting_key: Any, attributes: Any, value: bool, client: OpenFeatureClient
) -> None:
    details = checked(client, key, targeting_key, **attributes)
    assert (details.value, details.variant) == (value, "on" if value else "off")
    assert (details.reason == "TARGETING_MATCH", details.error_code) == (value, None)


@pytest.mark.usefixtures("flag")
@pytest.mark.parametrize(
    ("targeting_key", "user", "problem"),
    [
        ("7", User(pk=8), "the targeting key '7' is not the primary key of the attribute user, 8"),
        (None, [7], ""),
        (None, 7.0, ""),
        (None, object(), ""),
    ],
)
def test_two_users_and_a_wrong_type_of_user_are_an_invalid_context(
    client: OpenFeatureClient, targeting_key: str | None, user: Any, problem: str
) -> None:
    details = checked(client, "allowed", targeting_key, user=user)
    assert (details.value, details.error_code) == (False, ErrorCode.INVALID_CONTEXT)
    assert problem in (details.error_message or "")


@pytest.mark.usefixtures("flag")
def test_context_of_api_client_and_call_are_merged(client: OpenFeatureClient) -> None:
    api.set_evaluation_context(EvaluationContext("7", {"country": "FR"}))
    client.context = EvaluationContext(None, {"country": "DE"})
    assert client.get_boolean_value("allowed", False)
    assert client.get_boolean_value("beta", False)
    assert not client.get_boolean_value("beta", False, EvaluationContext("", {"country": "FR"}))


@pytest.mark.usefixtures("flag")
def test_view_evaluates_for_the_user_and_the_context_of_its_request(
    client: OpenFeatureClient,
) -> None:
    def beta(_request: Any, targeting_key: str | None = None) -> bool:
        return client.get_boolean_value("beta", False, EvaluationContext(targeting_key))

    def beta_in_germany(request: Any) -> bool:
        request.flags.context["country"] = "DE"
        return beta(request)

    assert in_request(request_of(STAFF_USER), beta)
    assert not in_request(request_of(STAFF_USER), lambda request: beta(request, "8"))
    assert not in_request(request_of(AnonymousUser()), beta)
    assert in_request(request_of(AnonymousUser()), beta_in_germany)


def test_view_evaluates_from_the_snapshot_of_its_request(
    client: OpenFeatureClient, load: Load
) -> None:
    KeyValueStore.objects.create(key="limit", value=1)
    load()

    def view(request: Any) -> tuple[int, int]:
        before = client.get_integer_value("limit", 0)
        KeyValueStore.objects.update(value=2)
        load()
        return before, client.get_integer_value("limit", 0)

    assert in_request(request_of(AnonymousUser()), view) == (1, 1)
    assert client.get_integer_value("limit", 0) == 2


@pytest.fixture
def ruled_values(load: Load) -> dict[str, Any]:
    """What staff gets of values of each type; everyone else gets the second."""
    kinds: dict[str, Any] = {
        "boolean": (True, False),
        "string": ("many", "few"),
        "integer": (50, 10),
        "float": (1.5, 0.5),
        "object": ([1], {"a": 1}),
    }
    for kind, (of_staff, own) in kinds.items():
        rules = [{"conditions": [GERMAN], "value": own}, {"conditions": [STAFF], "value": of_staff}]
        KeyValueStore.objects.create(key=f"a_{kind}", value=own, rules=rules)
    load()
    return kinds


@pytest.mark.parametrize("kind", ["boolean", "string", "integer", "float", "object"])
def test_value_with_rules_is_evaluated_for_the_user(
    client: OpenFeatureClient, ruled_values: dict[str, Any], kind: str
) -> None:
    of_staff, own = ruled_values[kind]
    default = type(own)()
    details = getattr(client, f"get_{kind}_details")
    staff: Any = User(pk=1, is_staff=True)
    result = details(f"a_{kind}", default, EvaluationContext("", {"user": staff}))
    assert (result.value, result.reason, result.flag_metadata) == (
        of_staff,
        "TARGETING_MATCH",
        {"rule": 2},
    )
    result = details(f"a_{kind}", default, EvaluationContext("1", {"country": "FR"}))
    assert (result.value, result.reason, result.flag_metadata) == (own, "DEFAULT", {})
    assert in_request(request_of(staff), lambda _: details(f"a_{kind}", default)).value == of_staff


@pytest.mark.parametrize("kind", ["boolean", "string", "integer", "float", "object"])
def test_async_view_gets_the_value_of_its_user(
    client: OpenFeatureClient, ruled_values: dict[str, Any], kind: str
) -> None:
    of_staff, own = ruled_values[kind]

    async def view(request: HttpRequest) -> HttpResponse:
        evaluate = getattr(client, f"get_{kind}_value_async")
        return HttpResponse(json.dumps(await evaluate(f"a_{kind}", type(own)())))

    async def auser() -> User:
        return User(pk=1, is_staff=True)

    request: Any = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: pytest.fail("the user was read in the event loop"))
    request.auser = auser
    handle: Any = FlagstaffMiddleware(view)
    response: Any = async_to_sync(handle)(request)
    assert json.loads(response.content) == of_staff


def country_of(user: User, request: object) -> dict[str, object]:
    """A function for ATTRIBUTES that queries."""
    return {"country": "DE" if User.objects.filter(pk=user.pk).exists() else "FR"}


@COMMITTED
def test_async_evaluation_runs_a_function_for_attributes_in_a_thread(
    client: OpenFeatureClient, settings: Settings
) -> None:
    settings.FLAGSTAFF = {"ATTRIBUTES": f"{__name__}.country_of"}
    user = User.objects.create(pk=9, username="bob")
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": [GERMAN]}])
    attributes: Any = {"user": user}
    context = EvaluationContext(None, attributes)
    assert async_to_sync(client.get_boolean_value_async)("beta", False, context)


@COMMITTED
def test_variant_of_an_experiment_is_a_string_and_is_recorded(client: OpenFeatureClient) -> None:
    experiments.create("layout", ["control", "treatment"])
    experiments.start("layout")
    with live_engine():
        result = client.get_string_details("layout", "none", EvaluationContext("7"))
        lifecycle.close(5)
    assert result.value in {"control", "treatment"}
    assert (result.variant, result.reason) == (result.value, "SPLIT")
    assert Exposure.objects.get().variant == result.value


def test_experiment_that_does_not_run_returns_the_default(
    client: OpenFeatureClient, load: Load
) -> None:
    experiments.create("layout", ["control", "treatment"])
    load()
    result = client.get_string_details("layout", "none", EvaluationContext("7"))
    assert (result.value, result.reason, result.variant, result.error_code) == (
        "none",
        "DISABLED",
        None,
        None,
    )
    assert client.get_boolean_details("layout", True).error_code == ErrorCode.TYPE_MISMATCH


def test_object_is_a_new_one_each_time(client: OpenFeatureClient, load: Load) -> None:
    KeyValueStore.objects.create(key="plans", value=[{"name": "free"}])
    load()
    first: Any = client.get_object_value("plans", [])
    first[0]["name"] = "changed"
    assert client.get_object_value("plans", []) == [{"name": "free"}]


@pytest.mark.parametrize("value", [True, 0.5, 10**400, "1"])
def test_value_that_is_no_float_or_integer_is_refused(
    client: OpenFeatureClient, load: Load, value: Any
) -> None:
    KeyValueStore.objects.create(key="limit", value=value)
    load()
    kinds = {"integer"} if isinstance(value, float) else {"integer", "float"}
    if value == 10**400:
        kinds = {"float"}
    for kind in kinds:
        result = getattr(client, f"get_{kind}_details")("limit", 1)
        assert result.error_code == ErrorCode.TYPE_MISMATCH


class Size(Enum):
    LARGE = 20


@pytest.mark.parametrize(
    ("default", "kind", "value"),
    [
        (Decimal("4.90"), "string", "4.90"),
        (timedelta(minutes=5), "string", "00:05:00"),
        (date(2027, 3, 1), "string", "2027-03-01"),
        (Size.LARGE, "integer", 20),
    ],
)
def test_declared_value_is_what_json_stores(
    default: object, kind: str, value: object, client: OpenFeatureClient, load: Load
) -> None:
    DeclaredValue("size", default)
    load()
    assert getattr(client, f"get_{kind}_value")("size", None) == value


def test_value_that_is_not_as_declared_is_the_default_of_the_call(
    client: OpenFeatureClient, load: Load
) -> None:
    DeclaredValue("page_size", 20)
    KeyValueStore.objects.create(key="page_size", value="many")
    load()
    result = client.get_integer_details("page_size", 5)
    message = "the value 'page_size' is not what code declares"
    assert (result.value, result.error_code, result.error_message) == (
        5,
        ErrorCode.TYPE_MISMATCH,
        message,
    )


def test_rules_that_cannot_be_read_return_the_default(
    client: OpenFeatureClient, load: Load
) -> None:
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": 1}])
    load()
    result = client.get_boolean_details("beta", True)
    assert (result.value, result.error_code) == (True, ErrorCode.PARSE_ERROR)
