"""OpenFeature's conformance suite for providers (its Appendix F), as far as it evaluates.

The flags of the suite are values here, those that resolve to True or False also flags. Events and
outages are tested in `tests/faults/processes/test_openfeature.py`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from asgiref.sync import async_to_sync
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails
from pytest_django import Settings

from flagstaff.models import FeatureFlag, KeyValueStore
from tests.support.fixtures import Load

Details: TypeAlias = FlagEvaluationDetails[Any]
Evaluate: TypeAlias = Callable[..., Details]

VALUES: dict[str, Any] = {
    "string-flag": "hi",
    "integer-flag": 10,
    "float-flag": 0.5,
    "large-integer-flag": 2**31 - 1,
    "huge-integer-flag": 2**53 - 1,
    "integral-float-flag": 10.0,
    "integer-zero-flag": 0,
    "string-zero-flag": "",
    "object-flag": {"showImages": True, "title": "Check out these pics!", "imagesPerPage": 100},
    "wrong-flag": "uno",
}
BOOLEANS = {"boolean-flag": True, "boolean-zero-flag": False}
DEFAULTS: dict[str, Any] = {
    "boolean": False,
    "string": "fallback",
    "integer": 1,
    "float": 0.1,
    "object": {"default": True},
}


@pytest.fixture(params=["flags", "values"])
def canonical(request: pytest.FixtureRequest, load: Load) -> None:
    """The flags of the suite, with booleans as flags or as values."""
    values = VALUES | (BOOLEANS if request.param == "values" else {})
    KeyValueStore.objects.bulk_create(KeyValueStore(key=k, value=v) for k, v in values.items())
    if request.param == "flags":
        # A rollout of 100 % is STATIC: the result depends on no user.
        FeatureFlag.objects.create(key="boolean-flag", enabled=True, rollout_percent=100)
        FeatureFlag.objects.create(key="boolean-zero-flag", enabled=True, rollout_percent=0)
    FeatureFlag.objects.create(key="disabled-boolean-flag", enabled=False, rollout_percent=100)
    load()


@pytest.fixture(params=["sync", pytest.param("async", marks=pytest.mark.thorough)])
def evaluate(request: pytest.FixtureRequest, client: OpenFeatureClient) -> Evaluate:
    """Evaluates as a type, by default with a default of that type."""

    def evaluated(
        kind: str, key: str, default: Any = None, context: EvaluationContext | None = None
    ) -> Details:
        default = DEFAULTS[kind] if default is None else default
        if request.param == "sync":
            result: Details = getattr(client, f"get_{kind}_details")(key, default, context)
        else:
            details = getattr(client, f"get_{kind}_details_async")
            result = async_to_sync(details)(key, default, context)
        return result

    return evaluated


def assert_default(details: Details, kind: str, code: ErrorCode) -> None:
    assert (details.value, details.reason, details.error_code) == (DEFAULTS[kind], "ERROR", code)
    assert details.error_message
    assert details.variant is None


RESULTS: list[tuple[str, str, Any, Any]] = [
    ("boolean-flag", "boolean", False, True),
    ("string-flag", "string", "bye", "hi"),
    ("integer-flag", "integer", 1, 10),
    ("float-flag", "float", 0.1, 0.5),
    ("integer-zero-flag", "integer", 1, 0),
    ("string-zero-flag", "string", "fallback", ""),
    ("large-integer-flag", "integer", 1, 2147483647),
    ("huge-integer-flag", "integer", 1, 9007199254740991),
    ("integral-float-flag", "integer", 1, 10),
    ("integral-float-flag", "float", 0.1, 10.0),
    ("integer-flag", "float", 0.1, 10.0),
    ("object-flag", "object", {}, VALUES["object-flag"]),
]


@pytest.mark.usefixtures("canonical")
def test_key_of_the_requested_type_returns_its_value(evaluate: Evaluate) -> None:
    for key, kind, default, expected in RESULTS:
        details = evaluate(kind, key, default)
        assert (details.value, type(details.value)) == (expected, type(expected))
        assert (details.reason, details.error_code, details.error_message) == ("STATIC", None, None)


@pytest.mark.usefixtures("canonical")
def test_false_is_a_value_and_no_absence(evaluate: Evaluate) -> None:
    details = evaluate("boolean", "boolean-zero-flag", default=True)
    assert (details.value, details.error_code, details.error_message) == (False, None, None)


#: The types that the suite requests of a key of another type, and those that it leaves out.
OTHER_KINDS = {
    "string-flag": ["boolean", "integer", "float", "object"],
    "wrong-flag": ["boolean"],
    "boolean-flag": ["string", "integer", "float", "object"],
    "integer-flag": ["boolean", "string"],
    "float-flag": ["boolean", "string", "integer"],
    "object-flag": ["boolean", "string", "integer", "float"],
}


@pytest.mark.usefixtures("canonical")
def test_key_of_another_type_returns_the_default_with_type_mismatch(evaluate: Evaluate) -> None:
    for key, kinds in OTHER_KINDS.items():
        for kind in kinds:
            assert_default(evaluate(kind, key), kind, ErrorCode.TYPE_MISMATCH)


@pytest.mark.usefixtures("canonical")
@pytest.mark.parametrize("unknown_key", ["ignore", "raise"])
def test_unknown_key_returns_the_default_with_flag_not_found(
    evaluate: Evaluate, unknown_key: str, settings: Settings
) -> None:
    settings.FLAGSTAFF = {"UNKNOWN_KEY": unknown_key}
    for kind in DEFAULTS:
        assert_default(evaluate(kind, "missing-flag"), kind, ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.usefixtures("canonical")
def test_disabled_flag_is_off_whatever_the_default(evaluate: Evaluate) -> None:
    for default in (True, False):
        details = evaluate("boolean", "disabled-boolean-flag", default)
        assert (details.value, details.reason, details.error_code) == (False, "DISABLED", None)


@pytest.mark.usefixtures("canonical")
def test_context_that_no_rule_reads_changes_nothing(evaluate: Evaluate) -> None:
    context = EvaluationContext("f20bd32d-703b-48b6-bc8e-79d53c85134a", {"country": "DE"})
    details = evaluate("string", "string-flag", "bye", context)
    assert (details.value, details.error_code, details.error_message) == ("hi", None, None)


def test_provider_has_a_name(client: OpenFeatureClient) -> None:
    assert client.provider.get_metadata().name == "flagstaff"
