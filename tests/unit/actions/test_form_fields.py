"""The field that an argument of an action has on a page, and what the action gets from it."""

from typing import Any

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import override

from flagstaff.actions.arguments import (
    Argument,
    Json,
    JsonFile,
    Parsed,
    Several,
    YesNo,
    percent,
)

TEXT = Argument("a text")
PERCENT = Parsed("a number", "PERCENT", percent)
BOTH = YesNo("yes or no")


@pytest.mark.parametrize(
    ("argument", "typed", "value"),
    [
        (TEXT, "a b", "a b"),
        (TEXT, "", None),
        (PERCENT, "25%", 25),
        (PERCENT, "0", 0),
        (PERCENT, "", None),
        (BOTH, "on", True),
        (BOTH, "false", False),
        (BOTH, "", False),
        (JsonFile("rules"), "[1]", [1]),
        (JsonFile("rules"), "[]", []),
        (Json("choices"), '{"a": 1}', {"a": 1}),
    ],
)
def test_field_reads_what_the_action_gets(argument: Argument, typed: str, value: Any) -> None:
    cleaned = argument.form_field("Label", required=False).clean(typed)
    assert (cleaned, type(cleaned)) == (value, type(value))


@pytest.mark.parametrize(
    ("argument", "typed", "problem"),
    [
        (TEXT, "", "required"),
        (PERCENT, "101", "a whole number from 0 to 100, not '101'"),
        (PERCENT, "", "required"),
        (Parsed("users", "N", int), "many", "a number such as 20000, no separators, not 'many'"),
        (JsonFile("rules"), "[", "not valid JSON"),
        (Json("choices"), '{"a": 1, "a": 2}', "has a name twice"),
    ],
)
def test_field_refuses_what_the_action_cannot_get(
    argument: Argument, typed: str, problem: str
) -> None:
    with pytest.raises(ValidationError) as error:
        argument.form_field("Label", required=True).clean(typed)
    assert problem in " ".join(error.value.messages)


@pytest.mark.parametrize(
    ("argument", "widget"), [(PERCENT, forms.TextInput), (Several("tags"), forms.Textarea)]
)
def test_only_an_argument_of_several_texts_has_lines(argument: Argument, widget: Any) -> None:
    assert type(argument.form_field("Label", required=False).widget) is widget


def test_problem_is_in_the_language_of_the_page() -> None:
    with override("de"), pytest.raises(ValidationError, match="ganze Zahl von 0 bis 100"):
        PERCENT.form_field("Anteil", required=True).clean("101")
