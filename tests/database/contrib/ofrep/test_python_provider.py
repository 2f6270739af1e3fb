"""OpenFeature's provider for Python, against a server."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
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
from tests.support.ofrep import BEARER, LIMIT

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
    return connect(**BEARER)


def test_flag_is_evaluated_for_the_targeting_key_and_the_context(
    client: OpenFeatureClient, alice: User
) -> None:
    rules = [{"conditions": [condition("country", "in", "DE")]}]
    flag = FeatureFlag.objects.create(key="beta", enabled=True, rules=rules)
    flag.allowed_users.add(alice)
    refresh()
    details = client.get_boolean_details("beta", False, EvaluationContext(str(alice.pk)))
    assert (details.value, details.reason, details.variant) == (True, "TARGETING_MATCH", "on")
    details = client.get_boolean_details("beta", False, EvaluationContext("0", {"country": "DE"}))
    assert (details.value, details.flag_metadata) == (True, {"rule": 1})
    details = client.get_boolean_details("beta", True)
    assert (details.value, details.reason, details.flag_metadata) == (
        False,
        "UNKNOWN",
        {"reason": "DEFAULT"},
    )


def test_value_has_the_type_that_is_asked_for(client: OpenFeatureClient) -> None:
    values = {"string": "x", "integer": 5, "float": 0.5, "object": {"a": [1]}}
    for kind, value in values.items():
        KeyValueStore.objects.create(key=kind, value=value)
    refresh()
    for kind, value in values.items():
        assert getattr(client, f"get_{kind}_value")(kind, type(value)()) == value


@pytest.mark.parametrize(
    ("key", "targeting_key", "expected"),
    [
        ("disabled", None, (False, "DISABLED", None)),
        ("text", None, (True, "ERROR", ErrorCode.TYPE_MISMATCH)),
        ("unreadable", None, (True, "ERROR", ErrorCode.PARSE_ERROR)),
        ("disabled", 7, (True, "ERROR", ErrorCode.INVALID_CONTEXT)),
        ("api_key", None, (True, "ERROR", ErrorCode.FLAG_NOT_FOUND)),
        ("a/b", None, (True, "ERROR", ErrorCode.FLAG_NOT_FOUND)),
        ("é", None, (True, "ERROR", ErrorCode.FLAG_NOT_FOUND)),
    ],
)
def test_flag_that_is_off_or_cannot_be_evaluated_has_its_reason(
    client: OpenFeatureClient, key: str, targeting_key: Any, expected: tuple[object, ...]
) -> None:
    FeatureFlag.objects.create(key="disabled", enabled=False)
    FeatureFlag.objects.create(key="unreadable", enabled=True, rules=[{"conditions": 5}])
    KeyValueStore.objects.create(key="text", value="x")
    KeyValueStore.objects.create(key="api_key", value=True, secret=True)
    refresh()
    details = client.get_boolean_details(key, True, EvaluationContext(targeting_key))
    assert (details.value, details.reason, details.error_code) == expected


def test_wrong_key_is_unauthorized(connect: Connect) -> None:
    details = connect(Authorization="Bearer wrong").get_boolean_details("beta", True)
    assert (details.value, details.error_code) == (True, ErrorCode.GENERAL)
    assert details.error_message == "unauthorized"


def test_variant_is_a_text(client: OpenFeatureClient) -> None:
    experiments.create("button")
    experiments.start("button")
    refresh()
    details = client.get_string_details("button", "none", EvaluationContext("7"))
    assert (details.value, details.reason) == (details.variant, "SPLIT")
    # Without a unit there is no variant.
    details = client.get_string_details("button", "none")
    assert (details.value, details.variant, details.error_code) == ("none", "", None)


def test_limit_pauses_the_provider(connect: Connect, configure: Configure) -> None:
    configure(LIMIT=LIMIT)
    client = connect(**BEARER, **{"X-Case": "slow"})
    for problem in ("Rate limited, retry after: 3", "OFREP evaluation paused"):
        details = client.get_boolean_details("beta", True)
        assert (details.value, details.error_code) == (True, ErrorCode.GENERAL)
        assert str(details.error_message).startswith(problem)
