"""The context that a person types on a page or passes as arguments."""

import json

import pytest

from flagstaff._evaluation import parse_pairs, parse_text

BUILT_IN = "is built in: the user decides it; use another user or another name"
WRONG_TYPE = '"a" must be a text, a number, true, false, null or a list'


@pytest.mark.parametrize(
    ("written", "value"),
    [
        *[("DE", "DE"), ("", ""), ("a=b", "a=b"), ('"5"', "5"), ("5", 5), ("2.5", 2.5)],
        *[("true", True), ("True", "True"), ("NaN", "NaN"), ("1e999", "1e999")],
        *[("[1]", "[1]"), ("{}", "{}"), ("9" * 5_000, "9" * 5_000), (" a ", "a")],
    ],
)
def test_value_is_a_json_scalar_or_text(written: str, value: object) -> None:
    typed = parse_pairs([f"name={written}"])
    assert typed.attributes == {"name": value}
    assert type(typed.attributes["name"]) is type(value)


def test_visitor_is_a_text_and_a_context_is_lines_or_json() -> None:
    assert parse_pairs(["visitor=5"]).attributes == {"visitor": "5"}
    assert parse_text("a=5\r\n\n b = true \nc=").attributes == {"a": 5, "b": True, "c": ""}
    attributes = {"plans": ["a", "b"], "none": None}
    assert parse_text(json.dumps(attributes)).attributes == attributes


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("country", 'expected name=value, such as country=DE, not "country"'),
        ("=DE", 'expected name=value, such as country=DE, not "=DE"'),
        ("a=1\na=2", '"a" is given twice; remove one'),
        ("is_staff=true", f'"is_staff" {BUILT_IN}'),
        ("groups=beta", f'"groups" {BUILT_IN}'),
        ("a=\0", WRONG_TYPE),
        ('{"country": }', "the JSON has an error at line 1, column 13"),
        ('{"a": 1, "a": 2}', 'the JSON cannot be read: an object has the name "a" twice'),
        ('{"a": {"b": 1}}', WRONG_TYPE),
        ('{"a": NaN}', WRONG_TYPE),
        ('{"a":' * 1000, "the JSON cannot be read: it is nested deeper than 500 levels"),
    ],
)
def test_invalid_context_has_a_problem_and_no_attributes(text: str, problem: str) -> None:
    typed = parse_text(text)
    assert (typed.attributes, typed.problems) == ({}, (problem,))
