"""What the JSON of rules says, without an evaluation."""

from __future__ import annotations

from flagstaff._words.rule_parts import partial_rules


def test_rules_below_100_percent_are_partial() -> None:
    rules = [{"conditions": []}, {"name": "Germany", "rollout_percent": 10}, "no rule"]
    found = [(str(place), percent) for place, percent in partial_rules(rules)]
    assert found == [('rule 2 ("Germany")', 10)]
