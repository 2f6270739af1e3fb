"""Rules and conditions in sentences, as the history shows them."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff._text.rule_text import conditions_text, rules_text
from flagstaff.history.describe import describe_value


def condition(operator: str, *values: object, **more: Any) -> dict[str, Any]:
    return {"attribute": "country", "operator": operator, "values": [*values], **more}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (condition("in", "DE", "AT"), 'country is "DE" or "AT"'),
        (condition("in", True, negate=True), "country is not true"),
        (condition("regex", "^D"), 'country matches "^D"'),
        (condition("gte", 100), "country gte 100"),
        (condition("gte", 100, negate=True), "not (country gte 100)"),
        ({"segment": "enterprise"}, 'in segment "enterprise"'),
        ({"segment": "enterprise", "negate": True}, 'not in segment "enterprise"'),
        (condition("in", "100 %"), 'country is "100 %"'),
    ],
)
def test_condition_is_a_sentence(written: dict[str, Any], expected: str) -> None:
    assert conditions_text([written]) == expected


def test_conditions_are_joined() -> None:
    both = [condition("in", "DE"), {"segment": "enterprise"}]
    assert conditions_text(both) == 'country is "DE" and in segment "enterprise"'


def test_rules_have_a_name_or_a_number_and_a_percentage() -> None:
    staff = {"name": "staff", "conditions": [condition("in", "DE")]}
    others = {"conditions": [condition("in", "AT")], "rollout_percent": 25}
    assert rules_text([staff, others]) == (
        '"staff": 100 % if country is "DE"; rule 2: 25 % if country is "AT"'
    )


@pytest.mark.parametrize(
    "written", [None, {}, "x", [1], [{}], [{"conditions": []}], [{"conditions": [{"values": 1}]}]]
)
def test_json_of_another_form_has_no_sentence(written: object) -> None:
    assert rules_text(written) is None
    assert conditions_text(written) is None


def test_history_describes_rules_in_sentences_and_other_json_as_it_is() -> None:
    rules = [{"conditions": [condition("in", "DE")]}]
    assert describe_value(rules, field="rules") == 'rule 1: 100 % if country is "DE"'
    assert describe_value([], field="rules") == "no rules"
    assert describe_value([1], field="rules") == "[1]"
    assert describe_value(rules, field="value").startswith("[{")
