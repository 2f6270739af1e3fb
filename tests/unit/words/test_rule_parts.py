"""What rules and conditions mean for anonymous users, without an evaluation."""

from __future__ import annotations

from typing import Any

import pytest

from flagstaff._words.rule_parts import anonymous_percent, matches_anonymous, partial_rules


def condition(attribute: str, operator: str, *values: object, negate: bool = False) -> Any:
    found = {"attribute": attribute, "operator": operator, "values": [*values]}
    return {**found, "negate": True} if negate else found


ANONYMOUS = condition("is_authenticated", "in", False)


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ([ANONYMOUS], True),
        ([condition("is_staff", "in", True, negate=True)], True),
        ([condition("groups", "in", "beta", negate=True)], True),
        ([condition("country", "isnull", True)], True),
        ([condition("is_staff", "isnull", False)], True),
        ([condition("is_authenticated", "in", True)], False),
        ([condition("country", "in", "DE", negate=True)], False),
        ([condition("groups", "in", "beta")], False),
        ([ANONYMOUS, condition("country", "in", "DE")], False),
        ([], False),
        (None, False),
        ({"x": 1}, False),
    ],
)
def test_conditions_match_anonymous_users_by_built_in_attributes(
    conditions: object, matches: bool
) -> None:
    assert matches_anonymous(conditions) is matches


def test_first_rule_that_matches_decides_about_anonymous_users() -> None:
    team = {"conditions": [{"segment": "team"}], "rollout_percent": 0}
    others = {"conditions": [{"segment": "team", "negate": True}], "rollout_percent": 30}
    segments = {"team": [condition("is_staff", "in", True)]}
    assert anonymous_percent([team, others, {"conditions": []}], segments) == 30
    assert anonymous_percent([team, {"conditions": []}], segments) == 100
    assert anonymous_percent([team], segments) is None
    assert anonymous_percent([others], {}) is None
    assert anonymous_percent("x", {}) is None


def test_rules_below_100_percent_are_partial() -> None:
    rules = [{"conditions": [ANONYMOUS]}, {"name": "Germany", "rollout_percent": 10}, "no rule"]
    found = [(str(place), percent) for place, percent in partial_rules(rules)]
    assert found == [('rule 2 ("Germany")', 10)]
