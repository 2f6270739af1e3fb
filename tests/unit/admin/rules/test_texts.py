"""The text of a condition's values: types, separators, quotes, and the way back."""

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from flagstaff.admin.rules.forms import parse_values, values_text

TEXTS = ("contains", "startswith", "endswith", "regex", "version_lt", "version_gte")
TYPED = ("in", "lt", "lte", "gt", "gte")
# What PostgreSQL can store.
STORABLE = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
HARD = st.sampled_from([*"\",\\ \n\r\t'#", "true", "42", "1.0", "null", "\\n", '""', "\x85", " "])
TEXT = st.one_of(st.text(STORABLE, max_size=12), st.lists(HARD, max_size=5).map("".join))
NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(TEXT, NUMBER, st.booleans()), min_size=1, max_size=6))
def test_values_survive_their_text(values: list[Any]) -> None:
    for operator in TYPED:
        text = values_text(values, operator)
        assert json.dumps(parse_values(text, operator)) == json.dumps(values)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from((*TEXTS, *TYPED)), st.lists(TEXT, min_size=1, max_size=6))
def test_texts_survive_their_text_and_the_line_breaks_of_a_browser(
    operator: str, values: list[str]
) -> None:
    text = values_text(values, operator)
    assert parse_values(text, operator) == values
    assert parse_values(text.replace("\n", "\r\n"), operator) == values


@settings(max_examples=500, deadline=None)
@given(st.sampled_from((*TEXTS, *TYPED)), TEXT)
def test_any_typed_text_has_values_or_a_problem(operator: str, typed: str) -> None:
    try:
        values = parse_values(typed, operator)
    except ValidationError:
        return
    text = values_text(values, operator)
    assert json.dumps(parse_values(text, operator)) == json.dumps(values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("DE, AT,CH", ["DE", "AT", "CH"]),
        ("DE\nAT\r\nCH\n", ["DE", "AT", "CH"]),
        ("New York, ", ["New York"]),
        ("42, 1.5, -7, 2.0, 1e3", [42, 1.5, -7, 2.0, 1000.0]),
        ("true, false, True", [True, False, "True"]),
        ('"42", "true", "a, b", ""', ["42", "true", "a, b", ""]),
        ("007, +1, .5, 1_000, null", ["007", "+1", ".5", "1_000", "null"]),
        ("1e400", ["1e400"]),
        ("9" * 5_000, ["9" * 5_000]),
        ("2026-03-01", ["2026-03-01"]),
        ('say "hi", it\'s', ['say "hi"', "it's"]),
        ('"a"\n"b"', ["a", "b"]),
        (" , ,", []),
        ("", []),
    ],
)
def test_text_of_in_is_read_by_type(text: str, values: list[Any]) -> None:
    assert json.dumps(parse_values(text, "in")) == json.dumps(values)


@pytest.mark.parametrize("operator", ["contains", "version_gte"])
def test_number_is_a_text_for_operators_of_texts(operator: str) -> None:
    assert parse_values("1.10, true", operator) == ["1.10", "true"]


def test_pattern_has_a_line_of_its_own_and_may_have_commas() -> None:
    assert parse_values(r"^a{1,3}$" + "\n" + r"^\d+$", "regex") == [r"^a{1,3}$", r"^\d+$"]
    assert values_text([r"^a{1,3}$", r"^\d+$"], "regex") == "^a{1,3}$\n^\\d+$"


def test_values_without_need_have_no_quotes() -> None:
    assert values_text(["DE", 42, "42", True, "a b"], "in") == 'DE, 42, "42", true, a b'


@pytest.mark.parametrize(
    ("text", "problem"),
    [('DE, "AT', '"AT is not'), ('"DE" AT', '"DE" AT is not'), (r'"\d"', "for one")],
)
def test_text_without_values_says_why(text: str, problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        parse_values(text, "in")
