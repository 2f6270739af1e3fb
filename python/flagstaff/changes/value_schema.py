"""How a change of a value, of its type or of its choices would break the schema of the value."""

from __future__ import annotations

from copy import copy
from typing import cast

from django.db.models import Model

from flagstaff._stored_value_schema import (
    CHOICES,
    TYPE,
    VALUE,
    has_value_schema,
    value_schema_problems,
)
from flagstaff._tables.decoding import is_secret
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.rows import Fields, Row, model_of
from flagstaff._words.message import Message
from flagstaff._words.value_schema import TYPES, choices_problem
from flagstaff.changes.messages import NO_TYPE


def value_schema_problems_of(row: Row, fields: Fields) -> dict[str, Message]:
    """Returns how a value would break its schema after a change, a message by field; or {}."""
    if not {VALUE, TYPE, CHOICES}.intersection(fields) or not has_value_schema(model_of(row)):
        return {}
    changed = copy(cast("Model", row))
    for name, new in fields.items():
        setattr(changed, name, new)
    if is_secret(row):
        changed.__dict__["secret"] = True  # Else the problem would contain the value.
    return value_schema_problems(changed)


def value_schema_field_problem(row: Row | Model, field: AnyField, new: object) -> Message | None:
    """Returns why a value cannot have this type or these choices; None for other fields."""
    if field.name not in (TYPE, CHOICES) or not has_value_schema(cast("type[Model]", type(row))):
        return None
    if field.name == CHOICES:
        return choices_problem(new)
    return None if new in ("", *TYPES) else NO_TYPE(types=TYPES)
