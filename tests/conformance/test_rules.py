"""The cases of rules, evaluated by the reference.

`tests/core/conformance_rules.rs` runs the same cases on the Rust core.
"""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.conformance.rules_oracle import Flag, decoded, evaluate, loads

TEXT = Path(__file__).with_name("cases_rules.json").read_text(encoding="utf-8")
CASES: list[dict[str, Any]] = loads(TEXT)
# The cases have its wall clock.
BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def flag_of(case: dict[str, Any]) -> Flag:
    """The flag of a case. Without columns it is on at 0 %."""
    columns = {"enabled": True, "rollout_percent": 0, "allowed": (), **case.get("flag", {})}
    columns["allowed"] = frozenset(columns["allowed"])
    return Flag("new_checkout", rules=case["rules"], segments=case.get("segments", {}), **columns)


def test_reference_returns_the_expected_results(subtests: pytest.Subtests) -> None:
    for case in CASES:
        with subtests.test(case["name"]):
            attributes = {name: decoded(value) for name, value in case["attributes"].items()}
            # A case without a user has the one with primary key 2.
            found = evaluate(flag_of(case), case.get("user", "2"), attributes, BERLIN)
            assert found._asdict() == {name: case[name] for name in found._fields}


def test_names_of_the_cases_are_unique() -> None:
    assert len({case["name"] for case in CASES}) == len(CASES) > 400


def test_moments_of_the_cases_match_python() -> None:
    for value in moments(json.loads(TEXT)):
        if "date" in value:
            assert date.fromisoformat(value["date"]) == date(1970, 1, 1) + timedelta(value["days"])
        else:
            utc, wall = (EPOCH + timedelta(microseconds=micros) for micros in value["micros"])
            assert datetime.fromisoformat(value["datetime"]) == utc
            assert utc.astimezone(BERLIN).replace(tzinfo=timezone.utc) == wall


def moments(json_value: Any) -> list[dict[str, Any]]:
    """The dates and datetimes in a JSON value."""
    if isinstance(json_value, list):
        return [moment for element in json_value for moment in moments(element)]
    if not isinstance(json_value, dict):
        return []
    if json_value.keys() & {"days", "micros"}:
        return [json_value]
    return moments(list(json_value.values()))
