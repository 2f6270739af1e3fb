"""The schema of values, as the rows have them: type, choices, value, and values of rules."""

from __future__ import annotations

import json
from typing import Any

from flagstaff._words.rule_parts import places_of, problem_at
from flagstaff._words.text import Sentence, say
from flagstaff._words.value_schema import ANY, TYPES, ValueSchema, choices_problem, value_problem

#: The names of the fields with the schema of a value, and of its own field.
TYPE, CHOICES, VALUE = "type", "choices", "value"
#: The names of the fields that say who may read a value.
SECRET, CLIENT_SIDE = "secret", "client_side"
#: The fields that are masked of a secret value: what it is, what it may be, which is one of a few,
#: and what its rules give.
SECRET_FIELDS = (VALUE, CHOICES, "rules")


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
        # A rule without a value cannot be read. Its own field says so.
        if VALUE in rule and (problem := value_problem(rule[VALUE], schema, secret=secret)):
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
