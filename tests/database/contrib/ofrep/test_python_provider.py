"""OpenFeature's provider for Python, against a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpRequest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode

from flagstaff import experiments, refresh
from flagstaff.models import FeatureFlag, KeyValueStore
from flagstaff.testing import live_engine
from tests.database.contrib.ofrep.conftest import Configure
from tests.support.conditions import condition
from tests.support.fixtures import COMMITTED
from tests.support.ofrep import BEARER

pytestmark = COMMITTED

Connect = Callable[..., OpenFeatureClient]


@pytest.fixture
def connect(live_server: Any) -> Iterator[Connect]:
    """Returns a function that connects a client, which sends these headers."""

    def with_headers(**headers: str) -> OpenFeatureClient:
        provider = OFREPProvider(live_server.url, headers_factory=lambda: headers)
        api.set_provider_and_wait(provider)
        return api.get_client()

    with live_engine():
        yield with_headers
    api.shutdown()


@pytest.fixture
def client(connect: Connect) -> OpenFeatureClient:
    """The client of a service."""
    return connect(**BEARER)


def test_flag_is_evaluated_for_the_targeting_key_and_the_context(
    client: OpenFeatureClient, alice: User
) -> None:
    rules = [{"conditions": [condition("country", "in", "DE")]}]
    flag = FeatureFlag.objects.create(key="beta", enabled=True, rules=rules)
    flag.allowed_users.add(alice)
    refresh()
    found = client.get_boolean_details("beta", False, EvaluationContext(str(alice.pk)))
    assert (found.value, found.reason, found.variant) == (True, "TARGETING_MATCH", "on")
    found = client.get_boolean_details("beta", False, EvaluationContext("0", {"country": "DE"}))
    assert (found.value, found.flag_metadata) == (True, {"rule": 1})
    found = client.get_boolean_details("beta", True)
    assert (found.value, found.reason, found.flag_metadata) == (
        False,
        "UNKNOWN",
        {"reason": "DEFAULT"},
    )


def test_disabled_flag_is_false_whatever_the_default(client: OpenFeatureClient) -> None:
    FeatureFlag.objects.create(key="beta", enabled=False)
    refresh()
    found = client.get_boolean_details("beta", True)
    assert (found.value, found.reason, found.error_code) == (False, "DISABLED", None)


def test_value_has_the_type_that_is_asked_for(client: OpenFeatureClient) -> None:
    values = {"text": "x", "number": 5, "share": 0.5, "nested": {"a": 1}, "list": [1]}
    for key, value in values.items():
        KeyValueStore.objects.create(key=key, value=value)
    refresh()
    assert client.get_string_value("text", "") == "x"
    assert client.get_integer_value("number", 0) == 5
    assert client.get_float_value("share", 0.0) == 0.5
    assert client.get_object_value("nested", {}) == {"a": 1}
    assert client.get_object_value("list", []) == [1]
    found = client.get_boolean_details("text", True)
    assert (found.value, found.error_code) == (True, ErrorCode.TYPE_MISMATCH)


def test_variant_is_a_text(client: OpenFeatureClient) -> None:
    experiments.create("button")
    experiments.start("button")
    refresh()
    found = client.get_string_details("button", "none", EvaluationContext("7"))
    assert (found.value, found.reason) == (found.variant, "SPLIT")
    # Without a unit there is no variant.
    found = client.get_string_details("button", "none")
    assert (found.value, found.variant, found.error_code) == ("none", "", None)


@pytest.mark.parametrize("key", ["nothing", "a/b", "é", "api_key"])
def test_unknown_key_is_not_found(client: OpenFeatureClient, key: str) -> None:
    KeyValueStore.objects.create(key="api_key", value="s3cr3t", secret=True)
    refresh()
    found = client.get_string_details(key, "default")
    assert (found.value, found.error_code) == ("default", ErrorCode.FLAG_NOT_FOUND)
    assert found.error_message == "there is no flag, value or experiment with this key"


def test_flag_with_unreadable_rules_is_an_error(client: OpenFeatureClient) -> None:
    FeatureFlag.objects.create(key="beta", enabled=True, rules=[{"conditions": 5}])
    refresh()
    found = client.get_boolean_details("beta", True)
    assert (found.value, found.error_code) == (True, ErrorCode.PARSE_ERROR)


def test_wrong_key_is_unauthorized(connect: Connect) -> None:
    found = connect(Authorization="Bearer wrong").get_boolean_details("beta", True)
    assert (found.value, found.error_code) == (True, ErrorCode.GENERAL)
    assert found.error_message == "unauthorized"


def test_targeting_key_of_another_type_is_an_invalid_context(client: OpenFeatureClient) -> None:
    context = EvaluationContext(7)  # type: ignore[arg-type]
    found = client.get_boolean_details("beta", True, context)
    assert (found.value, found.error_code) == (True, ErrorCode.INVALID_CONTEXT)


def a_minute(request: HttpRequest) -> float:
    return 60


def test_limit_pauses_the_provider(client: OpenFeatureClient, configure: Configure) -> None:
    configure(LIMIT=f"{__name__}.a_minute")
    for problem in ("Rate limited, retry after: 60", "OFREP evaluation paused"):
        found = client.get_boolean_details("beta", True)
        assert (found.value, found.error_code) == (True, ErrorCode.GENERAL)
        assert str(found.error_message).startswith(problem)
