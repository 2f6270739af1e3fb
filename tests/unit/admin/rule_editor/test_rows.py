"""Rules as rows of a form, and back, for each rule that workers can read."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest

from flagstaff._words.json_text import canonical_json
from flagstaff.admin.rule_editor.rows import (
    IS_MISSING,
    IS_PRESENT,
    MAX_ROWS,
    ConditionRow,
    RuleRow,
    conditions_of_rows,
    rows_of_conditions,
    rows_of_rules,
    rules_of_rows,
)
from flagstaff.admin.rule_editor.rule_values import RuleValues, masked_values
from flagstaff.validators import rule_problem, value_rule_problem
from tests.conformance.random_rules import random_flags, random_values
from tests.conformance.rules_oracle import exact_json

SEEDS = 40
FLAGS_A_SEED = 50

COUNTRY = {"attribute": "country", "operator": "in", "values": ["DE", 7]}


def decoded(rules: object) -> Any:
    """The rules as Python reads them from the database."""
    return json.loads(exact_json(rules))


def assert_survives(value: Any, rows: Any, back: Any) -> None:
    assert rows is not None
    assert canonical_json(back(rows)) == canonical_json(value)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_rules_and_conditions_survive_as_rows(seed: int) -> None:
    flags = random_flags(Random(seed), FLAGS_A_SEED)
    for conditions in decoded(flags[0].segments).values():
        assert_survives(conditions, rows_of_conditions(conditions), conditions_of_rows)
    valid = [rules for rules in (decoded(flag.rules) for flag in flags) if not rule_problem(rules)]
    assert len(valid) > FLAGS_A_SEED // 2
    for rules in valid:
        assert_survives(rules, rows_of_rules(rules), rules_of_rows)


@pytest.mark.parametrize("own_type", ["", "string", "number", "boolean", "object"])
@pytest.mark.parametrize("is_masked", [False, True])
def test_random_rules_of_values_survive_as_rows(own_type: str, is_masked: bool) -> None:
    for value in random_values(Random(own_type), FLAGS_A_SEED):
        rules = decoded(value.rules)
        if not rules or value_rule_problem(rules):
            continue
        masked = masked_values(rules) if is_masked else {}
        values = RuleValues(own_type=own_type, masked=masked)
        rows = rows_of_rules(rules, values)
        assert_survives(rules, rows, lambda found, values=values: rules_of_rows(found, values))
        assert not is_masked or not any(row.value and row.value.text for row in rows or ())


def test_rule_is_one_row_with_its_conditions() -> None:
    segment = {"segment": "large", "negate": True}
    rule = {"name": "beta", "conditions": [COUNTRY, segment], "rollout_percent": 25}
    country = ConditionRow("country", "in", "DE, 7")
    conditions = [country, ConditionRow(segment="large", negate=True)]
    assert rows_of_rules([rule]) == [RuleRow("beta", "25", conditions)]


@pytest.mark.parametrize(("value", "operator"), [(True, IS_MISSING), (False, IS_PRESENT)])
def test_missing_attribute_has_an_operator_and_no_values(value: bool, operator: str) -> None:
    conditions = [{"attribute": "plan", "operator": "isnull", "values": [value]}]
    assert rows_of_conditions(conditions) == [ConditionRow("plan", operator, "")]


@pytest.mark.parametrize(
    "rules",
    [
        None,
        {"x": 1},
        [{"conditions": []}],
        [{"conditions": [COUNTRY], "unknown": 1}],
        [{"name": "two\nlines", "conditions": [COUNTRY]}],
        [{"conditions": [{**COUNTRY, "attribute": "a\rb"}]}],
        [{"conditions": [COUNTRY] * 40}] * (MAX_ROWS // 40),
    ],
)
def test_rules_that_inputs_cannot_hold_have_no_rows(rules: object) -> None:
    assert rows_of_rules(rules) is None


def test_invalid_texts_stay_in_the_json() -> None:
    row = RuleRow("x", "half", [ConditionRow("country", "in", '"DE')])
    country = {"attribute": "country", "operator": "in", "values": ['"DE']}
    rule = {"name": "x", "conditions": [country], "rollout_percent": "half"}
    assert rules_of_rows([row]) == [rule]
