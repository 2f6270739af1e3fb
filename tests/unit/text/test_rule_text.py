"""Rules, conditions and choices: in sentences, as JSON that people edit, and their problems."""

from time import process_time
from typing import Any

import pytest

from flagstaff._text.rules import (
    conditions_text,
    in_reading_order,
    partial_rules,
    rule_changes,
    rule_texts,
    rules_text,
)
from flagstaff.history.describe import describe_value
from flagstaff.validators import choices_problem
from tests.support.conditions import condition


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (condition("country", "in", "DE", "AT"), 'country is "DE" or "AT"'),
        (condition("country", "in", True, negate=True), "country is not true"),
        (condition("country", "regex", "^D"), 'country matches "^D"'),
        (condition("country", "lt", 5), "country is less than 5"),
        (condition("country", "gte", 100), "country is at least 100"),
        (condition("country", "gte", 100, negate=True), "country is not at least 100"),
        (condition("country", "version_lt", "2.0"), 'country is a version before "2.0"'),
        (condition("country", "version_gte", "2.0"), 'country is version "2.0" or later'),
        (condition("country", "isnull", True), "country is missing"),
        (condition("country", "isnull", False), "country is present"),
        (condition("country", "isnull", True, negate=True), "country is present"),
        (condition("country", "near", "Bonn"), 'country near "Bonn"'),
        (condition("country", "near", "Bonn", negate=True), 'not (country near "Bonn")'),
        ({"segment": "enterprise"}, 'in segment "enterprise"'),
        ({"segment": "enterprise", "negate": True}, 'not in segment "enterprise"'),
        (condition("country", "in", "100 %"), 'country is "100 %"'),
        (condition("groups", "in", "beta", "staff"), 'in group "beta" or "staff"'),
        (condition("groups", "in", "beta", negate=True), 'not in group "beta"'),
        (condition("groups", "startswith", "be"), 'groups starts with "be"'),
    ],
)
def test_condition_is_a_sentence(written: dict[str, Any], expected: str) -> None:
    assert conditions_text([written]) == expected


def test_conditions_and_rules_are_joined() -> None:
    both = [condition("country", "in", "DE"), {"segment": "enterprise"}]
    assert conditions_text(both) == 'country is "DE" and in segment "enterprise"'
    staff = {"name": "staff", "conditions": [condition("country", "in", "DE")]}
    others = {"conditions": [condition("country", "in", "AT")], "rollout_percent": 25}
    first, second = '"staff": 100 % if country is "DE"', '25 % if country is "AT"'
    assert rules_text([staff, others]) == f"{first}; rule 2: {second}"
    assert rule_texts([staff, others]) == [first, second]
    assert rule_texts([]) == []


def rules_of(text: str) -> list[dict[str, Any]]:
    """The rules of a text such as "5 staff": one without a name for 5 %, and one for 100 %."""
    return [
        {"conditions": [condition("country", "in", "DE")]}
        | ({"rollout_percent": int(word)} if word.isdecimal() else {"name": word})
        for word in text.split()
    ]


def texts_of(old: object, new: object) -> list[str]:
    return [change.text for change in rule_changes(old, new) or ()]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("1 2", "1 5", ["rule 2: 2 % {} → rule 2: 5 % {}"]),
        ("", "1", ["added rule 1: 1 % {}"]),
        ("1 2 3", "2 3", ["removed rule 1: 1 % {}"]),
        ("1 2", "3 1 2 4", ["added rule 1: 3 % {}", "added rule 4: 4 % {}"]),
        ("1 2", "4", ["rule 1: 1 % {} → rule 1: 4 % {}", "removed rule 2: 2 % {}"]),
        ("a b", "c b", ['"a": 100 % {} → "c": 100 % {}']),
        ("a 5", "5 c", ['removed "a": 100 % {}', 'added "c": 100 % {}']),
        (
            "a 5",
            "7 c",
            ["rule 2: 5 % {} → rule 1: 7 % {}", 'removed "a": 100 % {}', 'added "c": 100 % {}'],
        ),
        ("a b 3", "3 a b", ["moved to place 1: 3 % {}"]),
        ("a b c", "c b", ['removed "a": 100 % {}', 'moved to place 1: "c": 100 % {}']),
        ("1 1", "1", ["removed rule 2: 1 % {}"]),
    ],
)
def test_change_of_rules_names_those_that_differ(old: str, new: str, expected: list[str]) -> None:
    texts = [text.replace("{}", 'if country is "DE"') for text in expected]
    assert texts_of(rules_of(old), rules_of(new)) == texts


def test_rule_that_was_changed_is_the_one_of_the_same_name() -> None:
    old, new = rules_of("a b c"), rules_of("b a c")
    new[1]["rollout_percent"] = 5
    assert texts_of(old, new) == ['"a": 100 % if country is "DE" → "a": 5 % if country is "DE"']


def test_json_of_another_form_and_rules_without_end_have_no_changed_rules() -> None:
    assert rule_changes(rules_of("1"), {"a": 1}) is None
    assert rule_changes(rules_of("1"), rules_of("1") * 101) is None


def test_rule_of_the_number_one_differs_from_that_of_true() -> None:
    number, true = ([{"conditions": [condition("country", "in", value)]}] for value in (1, True))
    assert texts_of(number, true) == [
        "rule 1: 100 % if country is 1 → rule 1: 100 % if country is true"
    ]


def test_number_of_values_is_limited() -> None:
    assert (
        conditions_text([condition("country", "in", 1, 2, 3, 4)], 2)
        == "country is 1 or 2 or 2 more"
    )
    assert conditions_text([condition("country", "in", 1, 2)], 2) == "country is 1 or 2"


@pytest.mark.parametrize(
    "written", [None, {}, "x", [1], [{}], [{"conditions": []}], [{"conditions": [{"values": 1}]}]]
)
def test_json_of_another_form_has_no_sentence(written: object) -> None:
    assert rules_text(written) is None
    assert rule_texts(written) is None
    assert conditions_text(written) is None


def test_history_describes_rules_in_sentences_and_other_json_as_it_is() -> None:
    rules = [{"conditions": [condition("country", "in", "DE")]}]
    assert describe_value(rules, field="rules") == 'rule 1: 100 % if country is "DE"'
    assert describe_value([], field="rules") == "no rules"
    many = [{"conditions": [condition("country", "in", *range(9))]}]
    assert describe_value(many, field="rules").endswith(" or 8")
    assert describe_value(many, field="rules", limit=99).endswith(" or 4 or 4 more")
    assert describe_value([1], field="rules") == "[1]"
    assert describe_value(rules, field="value").startswith("[{")


def test_members_are_in_the_order_in_which_people_write_them() -> None:
    in_dach = {"values": ["DE", "AT"], "operator": "in", "attribute": "country", "new": 1}
    large = {"negate": True, "segment": "large"}
    rules = [{"rollout_percent": 25, "conditions": [in_dach, large], "name": "beta"}]
    [rule] = in_reading_order(rules)
    assert [rule] == rules
    assert [*rule] == ["name", "conditions", "rollout_percent"]
    names = ["attribute", "operator", "values", "new"]
    assert [[*condition] for condition in rule["conditions"]] == [names, ["segment", "negate"]]


@pytest.mark.parametrize("value", [[], [{}], [{"conditions": [1]}], {"a": [1]}, "text", None])
def test_order_keeps_any_other_json(value: Any) -> None:
    assert in_reading_order(value) == value


@pytest.mark.parametrize("choices", [[], ["a", "A"], [1, True, "1"], [0, False, ""]])
def test_choices_that_differ_are_accepted(choices: list[object]) -> None:
    assert choices_problem(choices) is None


@pytest.mark.parametrize("choices", [["a", "b", "a"], [1, 1.0], [True, True]])
def test_choice_that_is_there_twice_is_named(choices: list[object]) -> None:
    assert "is given twice; remove one" in str(choices_problem(choices))


def test_time_for_many_choices_grows_with_their_number_only() -> None:
    start = process_time()
    assert choices_problem([*range(20_000)]) is None
    # Comparing each with each other takes a minute.
    assert process_time() - start < 5


def test_rules_below_the_rollout_are_partial() -> None:
    written = [{"conditions": []}, {"name": "Germany", "rollout_percent": 10}, "no rule"]
    for rollout in (100, 11):
        places = [(str(place), percent) for place, percent in partial_rules(written, rollout)]
        assert places == [('rule 2 ("Germany")', 10)]
    assert not [*partial_rules(written, 10)]
