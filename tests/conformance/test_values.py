"""The cases of values with rules, evaluated by the reference and by the functions of the package.

`tests/core/conformance_values.rs` runs the same cases on the Rust core.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flagstaff import _core, get_value, resolve_value, snapshot
from flagstaff._core import Snapshot
from tests.conformance.rule_cases import (
    ATTRIBUTES,
    BERLIN,
    Case,
    context_of,
    needs_user,
    users_of,
)
from tests.conformance.rules_oracle import Value, decoded, evaluate_value, loads
from tests.conformance.stored_rules import clear, store_values
from tests.support.fixtures import Load

CASES: list[Case] = loads(Path(__file__).with_name("cases_values.json").read_text(encoding="utf-8"))


def value_of(case: Case) -> Value:
    unit = case.get("bucket_by", "user")
    return Value("max_items", case["own"], case["rules"], case.get("segments", {}), unit)


def test_reference_returns_the_expected_values(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case["name"]):
            attributes = {name: decoded(value) for name, value in case["attributes"].items()}
            # A case without a user has the one with primary key 2.
            result = evaluate_value(value_of(case), case.get("user", "2"), attributes, BERLIN)
            assert result._asdict() == {name: case[name] for name in result._fields}


def test_names_of_the_cases_are_unique() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) > 200


@pytest.fixture(autouse=True)
def _berlin(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    # An attribute that the callable could return needs the user object.
    settings.FLAGSTAFF = {**settings.FLAGSTAFF, "ATTRIBUTES": ATTRIBUTES}


def same(result: object, expected: object) -> bool:
    """Whether both are the same JSON: 1 is neither 1.0 nor true."""
    return json.dumps(result) == json.dumps(expected)


def assert_results(key: str, case: Case, held: Snapshot) -> None:
    """Fails if a function or the snapshot returns another result than the case."""
    context = context_of(case)
    wanted = (case["reason"], case["rule"], None)
    # Of a bare key, every attribute that is not given needs the user.
    users = users_of(case) if needs_user(case) else users_of(case)[:1]
    for user in users:
        assert same(get_value(key, "default", user=user, context=context), case["value"])
        assert same(held.get_value(key, "default", user=user, context=context), case["value"])
        for resolution in (
            resolve_value(key, user=user, context=context),
            held.resolve_value(key, user=user, context=context),
        ):
            assert same(resolution.value, case["value"])
            assert (resolution.reason, resolution.rule, resolution.error_code) == wanted
        for explained in (
            _core.current(key).explain(key, user, context=context, kind="value"),
            held.explain(key, user, context=context, kind="value"),
        ):
            assert same(explained["value"], case["value"])
            how = explained["reason"], explained["rule"], explained["error_code"]
            assert how == wanted
            # A bucket is shown where none decides, too.
            assert case["bucket"] in (None, explained["bucket"])


def test_functions_return_the_expected_values(load: Load, subtests: pytest.Subtests) -> None:
    # A bucket depends on the key, so most of these cases are stored alone.
    alone = [[("max_items", case)] for case in CASES if case["bucket"] is not None]
    together = [(f"value_{i}", case) for i, case in enumerate(CASES) if case["bucket"] is None]
    for group in [together, *alone]:
        clear()
        store_values(replace(value_of(case), key=key) for key, case in group)
        load()
        held = snapshot()
        for key, case in group:
            with subtests.test(case["name"]):
                assert_results(key, case, held)
