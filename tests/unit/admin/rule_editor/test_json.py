"""Rules and conditions as JSON that people edit."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flagstaff._text.rule_json import conditions_json, rules_json

# In the order in which PostgreSQL returns the names.
IN_DACH = {"values": ["DE", "AT"], "operator": "in", "attribute": "country"}
NOT_LARGE = {"negate": True, "segment": "large"}
RULES = [{"name": "beta", "conditions": [IN_DACH, NOT_LARGE], "rollout_percent": 25}]
RULES_TEXT = """\
[
  {
    "name": "beta",
    "conditions": [
      {"attribute": "country", "operator": "in", "values": ["DE", "AT"]},
      {"segment": "large", "negate": true}
    ],
    "rollout_percent": 25
  }
]"""
CONDITIONS_TEXT = """\
[
  {"attribute": "country", "operator": "in", "values": ["DE", "AT"]},
  {"segment": "large", "negate": true}
]"""


def test_rules_have_one_condition_a_line() -> None:
    assert rules_json(RULES) == RULES_TEXT


def test_conditions_have_one_condition_a_line() -> None:
    assert conditions_json([IN_DACH, NOT_LARGE]) == CONDITIONS_TEXT


def test_unknown_names_come_last() -> None:
    assert conditions_json([{"new": 1, "operator": "in"}]) == '[\n  {"operator": "in", "new": 1}\n]'


@pytest.mark.parametrize(
    "value",
    [
        [],
        [{}],
        [{"conditions": []}],
        [{"conditions": [1]}, {"conditions": {"a": [{}]}}],
        {"a": [1, "ä"]},
        [1, {"a": 2}],
        "text",
        None,
        RULES,
    ],
)
def test_any_json_is_kept(value: Any) -> None:
    assert json.loads(rules_json(value)) == value
    assert json.loads(conditions_json(value)) == value
