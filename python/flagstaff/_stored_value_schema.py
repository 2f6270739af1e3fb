"""The schema of values, as the rows have them: type, choices, value, and values of rules."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import CharField, Field, JSONField, Model

from flagstaff._words.rule_parts import places_of, problem_at
from flagstaff._words.text import Text
from flagstaff._words.value_schema import ANY, TYPES, ValueSchema, choices_problem, value_problem
from flagstaff.validators import rules_field, validate_choices

#: The names of the fields with the schema of a value, of its own field, and of its rules.
TYPE, CHOICES, VALUE, RULES = "type", "choices", "value", "rules"
#: The names of the fields that say who may read a value.
SECRET, CLIENT_SIDE = "secret", "client_side"


def has_value_schema(model: type[Model]) -> bool:
    """Whether the values of a model have a schema: fields for their type and their choices.

    Other fields of these names belong to the project.
    """
    fields: dict[str, Field[Any, Any]] = {
        field.name: field for field in model._meta.local_concrete_fields
    }
    value_type, choices = fields.get(TYPE), fields.get(CHOICES)
    return (
        isinstance(value_type, CharField)
        and set(TYPES) <= {name for name, _label in value_type.flatchoices}
        and isinstance(choices, JSONField)
        and validate_choices in choices.validators
    )


def value_schema_of(row: Model) -> ValueSchema:
    """Returns the schema of a value's row; ANY if the model has no schema."""
    if not has_value_schema(type(row)):
        return ANY
    # A project's own columns may be NULL.
    return ValueSchema(getattr(row, TYPE) or "", getattr(row, CHOICES) or ())


def value_schema_problems(row: Model) -> dict[str, Text]:
    """Returns what is wrong with the choices, or else with the value and with those of rules.

    And whether a secret is for browsers. A message by field.
    """
    readers: dict[str, Text] = {}
    if getattr(row, SECRET, False) and getattr(row, CLIENT_SIDE, False) is True:
        readers = {CLIENT_SIDE: Text("a secret value cannot be client side; choose one of the two")}
    return {**readers, **_schema_problems(row)}


def _schema_problems(row: Model) -> dict[str, Text]:
    schema = value_schema_of(row)
    if schema == ANY or schema.type not in ("", *TYPES):
        return {}
    secret = bool(getattr(row, "secret", False))
    of_choices = choices_problem(schema.choices, schema.type)
    if schema.choices and of_choices:
        return {CHOICES: of_choices}
    is_plain, value = _plain(row)
    problem = value_problem(value, schema, secret=secret) if is_plain else None
    of_rules = _rule_problem(row, schema, secret=secret)
    found = {VALUE: problem, RULES: of_rules}
    return {name: problem for name, problem in found.items() if problem is not None}


def _rule_problem(row: Model, schema: ValueSchema, *, secret: bool) -> Text | None:
    """Returns how the value of a rule breaks the schema, with the place of the rule, or None."""
    for place, rule in places_of(getattr(row, RULES) if rules_field(type(row)) else ()):
        # A rule without a value cannot be read. Its own field says so.
        if VALUE in rule and (problem := value_problem(rule[VALUE], schema, secret=secret)):
            return problem_at(place, problem)
    return None


def _plain(row: Model) -> tuple[bool, object]:
    """Returns the value as JSON has it, and whether there is one."""
    value = getattr(row, VALUE)
    if value is None:
        return False, None
    encoder = getattr(row._meta.get_field(VALUE), "encoder", None)
    try:
        return True, json.loads(json.dumps(value, cls=encoder))
    except (TypeError, ValueError, RecursionError):
        return False, None
