"""`explain_value`: the result of `get_value`, why, and the steps in sentences."""

from typing import Any

import pytest

from flagstaff import explain_value, get_value
from flagstaff._evaluation import step_text
from flagstaff.models import Segment
from flagstaff.testing import override_value
from tests.support.conditions import condition
from tests.support.stored import create_value
from tests.support.terminals import document, flags, typed

pytestmark = pytest.mark.usefixtures("open_shop", "plain_terminal")

KEY = "items_per_page"
GERMANY = {"name": "germany", "conditions": [condition("country", "in", "DE")], "value": 50}
OTHERS = {"conditions": [], "rollout_percent": 25, "value": 20}


def steps(user: int | None = None, **context: object) -> list[tuple[str, bool | None, str]]:
    explained = explain_value(KEY, user, context=context).steps
    assert sum(step.decides for step in explained) == 1
    assert next(step for step in explained if step.decides).met
    return [(step.name, step.met, step_text(step, "")) for step in explained]


def test_explanation_is_the_result_of_get_value_with_its_reason() -> None:
    create_value(KEY, GERMANY, OTHERS)
    for user in (None, *range(1, 30)):
        for context in ({}, {"country": "DE"}):
            explained = explain_value(KEY, user, context=context)
            assert explained.value == get_value(KEY, user=user, context=context)
    explained = explain_value(KEY, 1, context={"country": "DE"})
    assert (
        explained.value,
        explained.reason,
        explained.rule,
        explained.rule_name,
        explained.has_own,
    ) == (*(50, "TARGETING_MATCH", 1, "germany"), False)
    assert explained.deciding_step.values == {"name": "germany", "percent": 100}


def test_value_of_an_explanation_is_not_in_its_repr() -> None:
    create_value(KEY, {**GERMANY, "value": "s3cret"})
    assert "s3cret" not in repr(explain_value(KEY, context={"country": "DE"}))


@pytest.mark.parametrize(
    ("rules", "context", "expected"),
    [
        (
            [GERMANY, OTHERS],
            {"country": "DE"},
            [
                ("rule 1", True, '"germany", 100 %: matches'),
                ("condition 1", True, 'country is "DE"'),
                ("rule 2", None, ""),
                ("the value itself", None, ""),
            ],
        ),
        (
            [GERMANY],
            {},
            [
                ("rule 1", False, '"germany", 100 %: does not match'),
                ("condition 1", False, 'missing: country is "DE"'),
                ("the value itself", True, "no rule matches"),
            ],
        ),
        ([], {}, [("the value itself", True, "the value has no rules")]),
    ],
    ids=["a rule", "no rule", "no rules"],
)
def test_steps_end_with_what_decides(
    rules: list[Any], context: dict[str, str], expected: list[tuple[str, bool | None, str]]
) -> None:
    create_value(KEY, *rules)
    assert steps(1, **context) == [("exists", True, "the value exists"), *expected]


@pytest.mark.parametrize(
    ("percent", "user", "text"),
    [
        (0, 1, "0 %: matches, so the value itself is the result"),
        (25, None, "25 %: matches, but there is no user, so the value itself is the result"),
    ],
)
def test_rule_that_matches_and_leaves_the_value_itself_decides(
    percent: int, user: int | None, text: str
) -> None:
    create_value(KEY, {"conditions": GERMANY["conditions"], "rollout_percent": percent, "value": 5})
    assert steps(user, country="DE")[1] == ("rule 1", True, text)
    explained = explain_value(KEY, user, context={"country": "DE"})
    assert (explained.value, explained.has_own) == (10, True)


def test_bucket_is_compared_with_the_percentage() -> None:
    create_value(KEY, OTHERS)
    explained = explain_value(KEY, 1)
    assert explained.bucket is not None
    place = "in" if explained.value == 20 else "not in"
    assert steps(1)[1][2] == f"25 %: matches; {place} the first 25 % (bucket {explained.bucket})"


def test_conditions_of_a_segment_are_steps() -> None:
    Segment.objects.create(key="germans", conditions=[condition("country", "in", "DE")])
    create_value(KEY, {"conditions": [{"segment": "germans"}], "value": 5})
    assert [name for name, _met, _text in steps(1, country="DE")] == [
        *("exists", "rule 1", "condition 1", "condition 1", "the value itself")
    ]


def test_rules_that_cannot_be_read_decide_nothing() -> None:
    create_value(KEY, {"value": None})
    explained = explain_value(KEY, 1)
    assert (explained.value, explained.reason, explained.rule) == (10, "STATIC", None)
    [_exists, rules, own] = steps(1)
    assert rules[0] == "rules"
    assert rules[2].startswith("cannot be read, so they decide nothing: ")
    assert own == ("the value itself", True, "no rule decides")


def test_override_decides_in_place_of_the_row() -> None:
    create_value(KEY, GERMANY)
    with override_value(KEY, 7):
        explained = explain_value(KEY, 1, context={"country": "DE"})
        assert (explained.value, explained.reason, explained.has_own) == (7, "STATIC", False)
        assert explained.override == "override_value"
        assert steps(1) == [("override", True, "overridden by a test")]


def test_unknown_value_is_an_error() -> None:
    missing = explain_value("nothing", 1)
    assert (missing.value, missing.reason, missing.error_code) == (None, "ERROR", "FLAG_NOT_FOUND")
    assert missing.deciding_step.name == "exists"


def test_command_explains_a_value() -> None:
    create_value(KEY, GERMANY, OTHERS)
    printed = document("explain", KEY, "alice", "--context", "country=DE")
    assert (printed["value"], printed["result"], printed["rule"]) == (50, "rule 1", 1)
    assert [step["name"] for step in printed["steps"] if step["decides"]] == ["rule 1"]
    shown = typed(f"flags explain {KEY} --anonymous")
    assert shown.splitlines()[0] == "items_per_page is 10 for anonymous users."


def test_command_shows_no_secret() -> None:
    create_value(KEY, {**GERMANY, "value": "s3cret"}, value="hidden", secret=True)
    for context in ((), ("--context", "country=DE")):
        arguments = ("explain", KEY, "alice", *context)
        shown = [
            *flags(*arguments),
            *flags(*arguments, "--json"),
            typed(" ".join(("flags", *arguments))),
        ]
        text = "\n".join(map(str, shown))
        assert "s3cret" not in text
        assert "hidden" not in text
        assert ("the result of rule 1" if context else "the result of the value itself") in text
