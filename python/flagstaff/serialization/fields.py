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
from flagstaff._words.text import Text, marked, text_of
from flagstaff._words.value_schema import TYPE_LABELS
from flagstaff.history.kinds import Kind

_WRONG_TYPE = marked("must be {expected}, not {present}")
_STRING_OR_NUMBER = Text("a string or a number")
_TYPE_NAMES = {
    bool: Text("a boolean"),
    str: Text("a string"),
    list: Text("a list"),
    dict: Text("a mapping"),
}
_TYPES: dict[type[AnyField], tuple[tuple[type, ...], Text]] = {
    BooleanField: ((bool,), TYPE_LABELS["boolean"]),
    IntegerField: ((int,), TYPE_LABELS["integer"]),
    FloatField: ((int, float), TYPE_LABELS["number"]),
    CharField: ((str,), TYPE_LABELS["string"]),
    TextField: ((str,), TYPE_LABELS["string"]),
}


class ParseError(Exception):
    """A JSON value is no value of its field. The value itself may be secret."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


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
    """Returns the field's value for a JSON value. Raises ParseError with the expected type."""
    if isinstance(field, JSONField):
        # Including null, which a row may contain: the model refuses it if it would be a change.
        return value
    if value is None:
        if field.null:
            return None
        raise ParseError(Text("must not be null"))
    for field_type, (types, expected) in _TYPES.items():
        if isinstance(field, field_type):
            is_bool = isinstance(value, bool)
            if not isinstance(value, types) or (is_bool and bool not in types):
                raise ParseError(Text(_WRONG_TYPE, expected=expected, present=_type_name(value)))
            return value
    return _to_python(field, value)


def _to_python(field: AnyField, value: object) -> object:
    if not isinstance(value, str | int | float):
        raise ParseError(Text(_WRONG_TYPE, expected=_STRING_OR_NUMBER, present=_type_name(value)))
    try:
        return field.to_python(value)
    except ValidationError as error:
        raise ParseError(text_of(error.error_list)) from error
    except TypeError as error:  # A date is parsed from a text only.
        text = Text(_WRONG_TYPE, expected=TYPE_LABELS["string"], present=_type_name(value))
        raise ParseError(text) from error


def _type_name(value: object) -> Text:
    """Returns the type of a value. The value itself may be secret."""
    return _TYPE_NAMES.get(type(value), TYPE_LABELS["number"])
