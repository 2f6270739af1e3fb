"""Rules as rows of the editor, and back, for each rule that workers can read."""

import json
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from flagstaff._text import canonical_json
from flagstaff.admin.rules.editor import Editor, RulesField
from flagstaff.admin.rules.forms import Offer
from flagstaff.validators import rule_problem, value_rule_problem
from tests.conformance.random_rules import random_flags, random_values
from tests.conformance.rules_oracle import exact_json

SEEDS = 10
FLAGS_A_SEED = 50
READER = SimpleNamespace(
    names=lambda _attribute, values: [None] * len(values), keys=lambda _attribute, values: values
)
NOTHING = cast(
    "Offer", SimpleNamespace(attributes={}, segments=[], flags=[], buckets=[], reader=READER)
)


def decoded(rules: object) -> Any:
    """The rules as Python reads them from the database."""
    return json.loads(exact_json(rules))


def rows_of(stored: Any, **options: Any) -> Any:
    """The rows of stored JSON; None if only JSON can show it."""
    widget: Any = RulesField(NOTHING, **options).widget
    editor = widget.get_context("rules", stored, {})["editor"]
    assert editor is None or isinstance(editor, Editor)
    return editor


def plain(stored: Any) -> str:
    """The JSON without `"negate": false`, which says nothing."""
    text = json.dumps(stored).replace(', "negate": false', "").replace('"negate": false, ', "")
    return canonical_json(json.loads(text))


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.one_in(4)
def test_random_rules_and_conditions_survive_as_rows(seed: int) -> None:
    flags = random_flags(Random(seed), FLAGS_A_SEED)
    for conditions in decoded(flags[0].segments).values():
        assert canonical_json(rows_of(conditions, of_segment=True).json) == plain(conditions)
    valid = [rules for rules in (decoded(flag.rules) for flag in flags) if not rule_problem(rules)]
    assert len(valid) > FLAGS_A_SEED // 2
    for rules in valid:
        assert canonical_json(rows_of(rules).json) == plain(rules)


def test_random_rules_of_values_survive_as_rows() -> None:
    valid = 0
    for value in random_values(Random(1), FLAGS_A_SEED):
        rules = decoded(value.rules)
        if rules and not value_rule_problem(rules):
            assert canonical_json(rows_of(rules, of_value=True).json) == plain(rules)
            valid += 1
    assert valid > FLAGS_A_SEED // 4
