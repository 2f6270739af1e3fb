"""Converts the fields of a row to JSON values and back."""

from __future__ import annotations

import json
from typing import cast

from django.core.exceptions import ValidationError
from django.db.models import (
    BooleanField,
    CharField,
    FloatField,
    IntegerField,
    JSONField,
    Model,
    TextField,
)

from flagstaff._tables.model_fields import (
    AnyField,
    is_auto_now,
    is_auto_now_add,
    is_generated,
    stored_fields,
)
from flagstaff._tables.rows import Row
from flagstaff._words.json_text import UnreadableJson
from flagstaff.history.kinds import Kind

_TYPES: dict[type[AnyField], tuple[tuple[type, ...], str]] = {
    BooleanField: ((bool,), "true or false"),
    IntegerField: ((int,), "an integer"),
    FloatField: ((int, float), "a number"),
    CharField: ((str,), "a string"),
    TextField: ((str,), "a string"),
}


def exported_fields(kind: Kind) -> dict[str, AnyField]:
    """Returns the fields that a file contains, by name, in the order of the model.

    Without the key, which names the item, the primary key, and the fields that the model or the
    database sets by itself.
    """
    return {
        field.name: field
        for field in stored_fields(kind.model)
        if not field.primary_key
        and field.name != "key"
        and not is_auto_now(field)
        and not is_auto_now_add(field)
        and not is_generated(field)
    }


def serialize(field: AnyField, row: Model | Row) -> object:
    """Returns a field as a JSON value; if JSON has no such type, as the text of a fixture."""
    value = getattr(row, field.attname)
    if value is None:
        return None
    if isinstance(value, UnreadableJson):
        return value
    if isinstance(field, JSONField):
        return json.loads(json.dumps(value, cls=field.encoder))
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    return field.value_to_string(cast("Model", row))


def parse(field: AnyField, value: object) -> object:
    """Returns the field's value for a JSON value. Raises ValueError with the expected type."""
    if isinstance(field, JSONField):
        # Including null, which a row may contain: the model refuses it if it would be a change.
        return value
    if value is None:
        if field.null:
            return None
        raise ValueError("must not be null")
    for field_type, (types, expected) in _TYPES.items():
        if isinstance(field, field_type):
            is_bool = isinstance(value, bool)
            if not isinstance(value, types) or (is_bool and bool not in types):
                raise ValueError(f"must be {expected}, not {_type_name(value)}")
            return value
    return _to_python(field, value)


def _to_python(field: AnyField, value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ValueError(f"must be a string or a number, not {_type_name(value)}")  # noqa: TRY004 (a problem of the file)
    try:
        return field.to_python(value)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from error
    except TypeError as error:  # A date is parsed from a text only.
        raise ValueError(f"must be a string, not {_type_name(value)}") from error


def _type_name(value: object) -> str:
    """Returns the type of a value. The value itself may be secret."""
    names = {bool: "a boolean", str: "a string", list: "a list", dict: "a mapping"}
    return names.get(type(value), "a number")
