"""The schema of each value, its type and its choices, as a constraint of the database."""

from __future__ import annotations

from typing import Any

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import BaseConstraint, Model

from flagstaff._connection.vendor import is_postgresql
from flagstaff._stored_value_schema import CHOICES, TYPE, VALUE, has_value_schema, rules_field
from flagstaff._words.value_schema import TYPES

__all__ = ["ValueSchemaConstraint"]

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
){check_of_rules}
)"""
# The values of rules as an array: a CHECK has no subquery. What is no rule has none.
_OF_RULES = """pg_catalog.jsonb_path_query_array(
        {rules}, 'strict $[*] ? (exists (@.value)).value', '{{}}', true
    )"""
_CHECK_OF_RULES = """
AND CASE {type}
    WHEN '' THEN true
    WHEN 'integer' THEN
        {values}::text OPERATOR(pg_catalog.~) '^\\[(-?[0-9]+(, -?[0-9]+)*)?\\]$'
    ELSE NOT pg_catalog.jsonb_path_exists(
        {values}, 'strict $[*] ? (@.type() != $type)',
        pg_catalog.jsonb_build_object('type', {type}), true
    )
END
AND (
    {choices} OPERATOR(pg_catalog.=) '[]'
    OR {choices} OPERATOR(pg_catalog.@>) {values}
)"""


class ValueSchemaConstraint(BaseConstraint):
    """PostgreSQL refuses a value that breaks the schema of its row, also in plain SQL.

    If the model has rules, this includes the value of each rule. Has no effect on SQLite, or on a
    model without a JSONField or without these fields.
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
        """Does nothing: the model validates the schema without a query."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueSchemaConstraint) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)


def _check(model: type[Model], schema_editor: BaseDatabaseSchemaEditor) -> str | None:
    connection = schema_editor.connection
    fields = {field.name: field for field in model._meta.local_concrete_fields}
    value = fields.get(VALUE)
    is_jsonb = value is not None and value.db_type(connection) == "jsonb"
    if not is_postgresql(connection) or not is_jsonb or not has_value_schema(model):
        return None
    columns = {
        name: schema_editor.quote_name(str(fields[name].column)) for name in (TYPE, CHOICES, VALUE)
    }
    types = ", ".join(f"'{name}'" for name in ("", *TYPES))
    rules = rules_field(model)
    if rules is None:
        of_rules = ""
    else:
        values = _OF_RULES.format(rules=schema_editor.quote_name(str(rules.column)))
        of_rules = _CHECK_OF_RULES.format(**columns, values=values)
    return _CHECK.format(**columns, types=types, nested=_IS_NESTED, check_of_rules=of_rules)
