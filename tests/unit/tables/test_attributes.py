"""Values of conditions that never match."""

import pytest

from flagstaff._tables.attributes import Attribute, AttributeType, impossible_value
from tests.support.conditions import condition

UUID = "550e8400-e29b-41d4-a716-446655440000"
KNOWN = {kind.value: Attribute(kind) for kind in AttributeType}
MOMENTS = [
    ("in", "2026-03-01", None),
    ("lt", "2026-03-01 12:00:00.123456789+0100", None),
    ("isnull", True, None),
    ("lt", "7d", "it is a date"),
    ("in", "20.11.2020", "it is a date"),
    ("gte", "2026-02-30", "it is a date"),
    ("gt", 20513, "it is a date"),
    ("contains", "2026", "it is a date"),
]


# What compares with numbers, with dates, or with texts alone.
ORDERS = [
    ("gte", 42, None),
    ("lt", "2026-03-01", None),
    ("lte", "2026-03-01 12:00:00.5+0100", None),
    ("gte", "-7d", "if it is a number or a date"),
    ("lt", "10", "if it is a number or a date"),
    ("lte", "now", "if it is a number or a date"),
    ("gt", "2026-02-30", "if it is a number or a date"),
    ("in", "-7d", None),
]


@pytest.mark.parametrize(
    ("attribute", "operator", "value", "hint"),
    [
        *(("date", *row) for row in MOMENTS),
        *(("datetime", *row) for row in MOMENTS),
        ("number", "in", 42, None),
        ("number", "in", "7", None),
        ("number", "version_lt", "1.2", None),
        ("number", "in", "ten", "it is a number"),
        ("number", "gt", "10", "it is a number"),
        ("number", "in", True, "it is a number"),
        ("bool", "in", False, None),
        ("bool", "in", "maybe", "it is true or false"),
        ("bool", "in", 1, "it is true or false"),
        ("bool", "contains", "true", "it is true or false"),
        ("text", "in", 42, None),
        ("text", "version_gte", "1.2", None),
        ("text", "lt", "m", None),
        ("text", "lt", 5, "it is a text"),
        ("text", "in", True, "it is a text"),
        ("text", "regex", "^DE$", None),
        ("text", "regex", "/^DE$/", "no text can match this pattern"),
        ("groups", "in", "beta", None),
        ("groups", "startswith", "beta", None),
        ("groups", "in", True, "it has the names of groups"),
        ("groups", "gt", 5, "it has the names of groups"),
        ("uuid", "in", UUID, None),
        ("uuid", "startswith", "550e", None),
        ("uuid", "in", UUID.upper(), "it is a UUID in lower case"),
        ("uuid", "in", UUID.replace("-", ""), "it is a UUID in lower case"),
        ("uuid", "in", "anna", "it is a UUID in lower case"),
        ("uuid", "in", 42, "it is a UUID in lower case"),
        ("uuid", "contains", "E29B", "it is a UUID in lower case"),
        *((attribute, *row) for row in ORDERS for attribute in ("other", "unknown")),
        ("uuid", "version_gte", "1.2", "it is a UUID in lower case"),
        ("unknown", "in", "ten", None),
        ("unknown", "regex", "a^", "no text can match this pattern"),
    ],
)
@pytest.mark.parametrize("negate", [False, True])
def test_value_that_never_matches_is_found(
    attribute: str, operator: str, value: object, hint: str | None, *, negate: bool
) -> None:
    own = {**condition(attribute, operator, value), "negate": negate}
    problem = impossible_value(own, KNOWN)
    if hint is None:
        assert problem is None
    else:
        assert problem is not None
        assert problem.problem.startswith(f'value 1 never matches "{attribute}": {hint}')
        assert problem.is_certain is (attribute in KNOWN and not hint.startswith("if it is"))


@pytest.mark.parametrize("attribute", ["text", "unknown"])
@pytest.mark.parametrize(
    ("operator", "value", "hint"),
    [
        ("in", UUID.upper(), "if it is a UUID"),
        ("in", "Anna@example.com", "an e-mail address"),
        ("endswith", "@Example.com", "an e-mail address"),
        ("in", UUID, None),
        ("in", "anna@example.com", None),
        ("in", "DE", None),
    ],
)
def test_text_that_looks_misspelled_is_found_and_not_certain(
    attribute: str, operator: str, value: str, hint: str | None
) -> None:
    problem = impossible_value(condition(attribute, operator, value), KNOWN)
    assert (problem is None) is (hint is None)
    assert problem is None or (str(hint) in str(problem.problem), problem.is_certain) == (
        True,
        False,
    )


def test_message_names_the_value_by_its_number_only() -> None:
    problem = impossible_value(condition("number", "in", 1, "secret"), KNOWN)
    assert problem is not None
    assert problem.problem == (
        'value 2 never matches "number": it is a number; write one, such as 42'
    )
