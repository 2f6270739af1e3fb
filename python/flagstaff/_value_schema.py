"""The schema of a value: its type and its choices, and what of a row breaks it. No database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from flagstaff._text import Sentence, say, some
from flagstaff._text.rules import places_of, problem_at

#: The types that a schema can name. Each integer is also a number.
TYPES = ("string", "number", "integer", "boolean", "object", "array")
#: With articles, for sentences.
TYPE_LABELS = {
    "string": say("a string"),
    "number": say("a number"),
    "integer": say("an integer"),
    "boolean": say("true or false"),
    "object": say("an object"),
    "array": say("an array"),
    "null": say("null"),
}
_MAX_LENGTH = 80

#: The names of the fields with the schema of a value, and of its own field.
TYPE, CHOICES, VALUE = "type", "choices", "value"
#: The names of the fields that say who may read a value.
SECRET, CLIENT_SIDE = "secret", "client_side"
#: The fields that are masked of a secret value: what it is, what it may be, which is one of a few,
#: and what its rules give.
SECRET_FIELDS = (VALUE, CHOICES, "rules")


class ValueSchema(NamedTuple):
    """What a value may be."""

    #: One of TYPES; empty for any type.
    type: str = ""
    #: Strings, numbers or booleans; empty for any value of the type.
    choices: Sequence[object] = ()


ANY = ValueSchema()


def type_of(value: object) -> str:
    """Returns the JSON type of a value, as `jsonb_typeof` names it."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):  # Forms have a subclass.
        return "string"
    if isinstance(value, list | tuple):
        return "array"
    return "null" if value is None else "object"


def value_problem(value: object, schema: ValueSchema, *, secret: bool = False) -> Sentence | None:
    """Returns how a value breaks the schema, or None. Does not contain a secret value."""
    if schema.type and not _has_type(value, schema.type):
        wanted, present = TYPE_LABELS[schema.type], TYPE_LABELS[type_of(value)]
        return say("the value must be {type}, not {present}", type=wanted, present=present)
    if not schema.choices or any(_is_same(value, choice) for choice in schema.choices):
        return None
    if secret:
        return say("the value is not one of its choices")
    allowed = some(map(_text, schema.choices))
    return say("{value} is not one of {allowed}", value=_text(value), allowed=allowed)


def choices_problem(choices: object, value_type: str = "") -> Sentence | None:
    """Returns why this cannot be the choices of values of a type, or None.

    Does not contain a choice: that of a secret value is one of them.
    """
    if not isinstance(choices, list):
        return say('the choices are not a list; write a JSON list, such as ["stripe", "paypal"]')
    earlier: set[tuple[str, object]] = set()
    for number, choice in enumerate(choices, start=1):
        if not isinstance(choice, str | int | float):
            return say(
                "choice {number} is not a string, a number, true or false", number=str(number)
            )
        if value_type and not _has_type(choice, value_type):
            return say(
                "choice {number} must be {type}, because of the type",
                number=str(number),
                type=TYPE_LABELS[value_type],
            )
        # As in `_is_same`, but not in quadratic time.
        if (same := (type_of(choice), choice)) in earlier:
            return say("choice {number} is given twice; remove one", number=str(number))
        earlier.add(same)
    return None


def _has_type(value: object, name: str) -> bool:
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    return type_of(value) == name


def _is_same(left: object, right: object) -> bool:
    """Whether PostgreSQL finds both equal: 1 and 1.0 are, 1 and true are not."""
    return type_of(left) == type_of(right) and left == right


def _text(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}…"


def is_secret(row: object) -> bool:
    """Whether the row is a secret value: the history does not store what it is."""
    return bool(getattr(row, SECRET, False))


def secret_fields(row: object) -> tuple[str, ...]:
    """Returns the fields of a row that are masked wherever it is shown, exported or recorded."""
    return SECRET_FIELDS if is_secret(row) else ()


def value_schema_of(row: Any) -> ValueSchema:
    """Returns the schema of a value's row."""
    return ValueSchema(row.type, row.choices or ())


def value_schema_problems(row: Any, *, secret: bool | None = None) -> dict[str, Sentence]:
    """Returns what is wrong with the choices, or else with the value and with those of rules.

    And whether a secret is for browsers. A message by field. With `secret`, which is by default
    what the row says, no message contains a value.
    """
    secret = is_secret(row) if secret is None else secret
    problems: dict[str, Sentence | None] = {}
    if is_secret(row) and row.client_side is True:
        problems[CLIENT_SIDE] = say("a secret value cannot be client side; choose one of the two")
    schema = value_schema_of(row)
    of_choices = choices_problem(schema.choices, schema.type) if schema.choices else None
    if of_choices:
        problems[CHOICES] = of_choices
    # Another type is refused by its own field.
    elif schema != ANY and schema.type in ("", *TYPES):
        is_plain, value = _plain(row.value)
        problems[VALUE] = value_problem(value, schema, secret=secret) if is_plain else None
        problems["rules"] = _rule_problem(row, schema, secret=secret)
    return {name: problem for name, problem in problems.items() if problem is not None}


def _rule_problem(row: Any, schema: ValueSchema, *, secret: bool) -> Sentence | None:
    """Returns how the value of a rule breaks the schema, with the place of the rule, or None."""
    for place, rule in places_of(row.rules):
        # A rule without a value cannot be read: its own field says so. Code decides about null.
        value = rule.get(VALUE)
        if value is not None and (problem := value_problem(value, schema, secret=secret)):
            return problem_at(place, problem)
    return None


def _plain(value: object) -> tuple[bool, object]:
    """Returns the value as JSON has it, and whether there is one."""
    if value is None:
        return False, None
    try:
        return True, json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return False, None
