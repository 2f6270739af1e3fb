"""The rule of each value, its type and its choices, as a constraint of the database."""

from __future__ import annotations

import json
from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import BaseConstraint, CharField, Field, JSONField, Model

from flagstaff._text.json_text import UnreadableJson
from flagstaff._text.value_rules import ANY, TYPES, ValueRule, choices_problem, value_problem
from flagstaff.validators import validate_choices

# The other names are internal.
__all__ = ["ValueRuleConstraint"]

#: The names of the fields with the rule of a value.
TYPE, CHOICES, VALUE = "type", "choices", "value"

_IS_NESTED = 'strict $[*] ? (@.type() == "object" || @.type() == "array" || @.type() == "null")'
# Qualified, because another function in the search path could match the arguments better.
_CHECK = """(
{type} OPERATOR(pg_catalog.=) ANY (ARRAY[{types}])
AND CASE {type}
    WHEN '' THEN true
    WHEN 'integer' THEN
        pg_catalog.jsonb_typeof({value}) OPERATOR(pg_catalog.=) 'number'
        AND {value}::text OPERATOR(pg_catalog.~) '^-?[0-9]+$'
    ELSE pg_catalog.jsonb_typeof({value}) OPERATOR(pg_catalog.=) {type}
END
AND pg_catalog.jsonb_typeof({choices}) OPERATOR(pg_catalog.=) 'array'
AND NOT pg_catalog.jsonb_path_exists({choices}, '{nested}', '{{}}', true)
AND (
    {choices} OPERATOR(pg_catalog.=) '[]'
    OR {choices} OPERATOR(pg_catalog.@>) pg_catalog.jsonb_build_array({value})
)
)"""


class ValueRuleConstraint(BaseConstraint):
    """PostgreSQL refuses a value that breaks the rule of its row, also in plain SQL.

    Has no effect on other databases, or on a model without a JSONField or without these fields.
    """

    def __init__(self, *, name: str) -> None:
        super().__init__(name=name)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        """Returns the part of CREATE TABLE, or None."""
        check = _check(model, schema_editor)
        name = schema_editor.quote_name(self.name)
        return check and f"CONSTRAINT {name} CHECK {check}"

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """Returns the statement that adds the constraint, or None."""
        constraint = self.constraint_sql(model, schema_editor)
        table = schema_editor.quote_name(model._meta.db_table)
        return constraint and f"ALTER TABLE {table} ADD {constraint}"

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        """Returns the statement that drops the constraint, or None."""
        if _check(model, schema_editor) is None:
            return None
        table, name = map(schema_editor.quote_name, (model._meta.db_table, self.name))
        return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"

    def validate(self, *args: Any, **kwargs: Any) -> None:
        """Does nothing: the model validates the rule without a query."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueRuleConstraint) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def has_rule(model: type[Model]) -> bool:
    """Whether the values of a model have rules.

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


def rule_of(row: Model) -> ValueRule:
    """Returns the rule of a value's row; ANY if the model has no rules."""
    if not has_rule(type(row)):
        return ANY
    # A project's own columns may be NULL.
    return ValueRule(getattr(row, TYPE) or "", getattr(row, CHOICES) or ())


def rule_problems(row: Model) -> dict[str, str]:
    """Returns what is wrong with the choices, or else with the value: a sentence by field."""
    rule = rule_of(row)
    if rule == ANY or isinstance(rule.choices, UnreadableJson) or rule.type not in ("", *TYPES):
        return {}
    if rule.choices and (problem := choices_problem(rule.choices, rule.type)):
        return {CHOICES: problem}
    secret = bool(getattr(row, "secret", False))
    is_plain, value = _plain(row)
    problem = value_problem(value, rule, secret=secret) if is_plain else None
    return {} if problem is None else {VALUE: problem}


def _plain(row: Model) -> tuple[bool, object]:
    """Returns the value as JSON has it, and whether there is one."""
    value = getattr(row, VALUE)
    if value is None or isinstance(value, UnreadableJson):
        return False, None
    encoder = getattr(row._meta.get_field(VALUE), "encoder", None)
    try:
        return True, json.loads(json.dumps(value, cls=encoder))
    except (TypeError, ValueError, RecursionError):
        return False, None


def _check(model: type[Model], schema_editor: BaseDatabaseSchemaEditor) -> str | None:
    connection = schema_editor.connection
    fields = {field.name: field for field in model._meta.local_concrete_fields}
    value = fields.get(VALUE)
    is_jsonb = value is not None and value.db_type(connection) == "jsonb"
    if connection.vendor != "postgresql" or not is_jsonb or not has_rule(model):
        return None
    columns = {
        name: schema_editor.quote_name(str(fields[name].column)) for name in (TYPE, CHOICES, VALUE)
    }
    types = ", ".join(f"'{name}'" for name in ("", *TYPES))
    return _CHECK.format(**columns, types=types, nested=_IS_NESTED)
