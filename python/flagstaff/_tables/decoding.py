"""How the field of the value model reads and writes the text of its column."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import cast

from django.db import connections
from django.db.models import JSONField

from flagstaff._tables.model_fields import AnyField
from flagstaff._words.json_text import sorted_json
from flagstaff.conf import conf

#: The fields that are masked of a secret value: what it is, what it may be, which is one of a few,
#: and what its rules give.
SECRET_FIELDS = ("value", "choices", "rules")


def value_field() -> AnyField:
    """Returns the field `value` of the value model."""
    return cast("AnyField", conf.value_model._meta.get_field("value"))


def is_plain_json(field: AnyField) -> bool:
    """Whether the field reads JSON as json.loads does, so that Rust can decode scalars."""
    reads = getattr(type(field), "from_db_value", None)
    return reads is JSONField.from_db_value and getattr(field, "decoder", None) is None


def decoder() -> Callable[[str], object]:
    """Returns a function from the text of the column to the field's Python value."""
    field, alias = value_field(), conf.database
    converters = field.get_db_converters(connections[alias])

    def decode(text: str) -> object:
        value: object = text
        for converter in converters:
            value = converter(value, None, connections[alias])
        return value

    return decode


def encoded(value: object) -> str:
    """Returns the text that the column would hold.

    Raises TypeError if the field cannot hold the value.
    """
    field = value_field()
    if isinstance(field, JSONField):
        return json.dumps(value, cls=field.encoder)
    return str(field.get_prep_value(value))


def canonical(value: object, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON, whatever the order of its keys.

    Raises TypeError or ValueError if JSON cannot hold the value.
    """
    text = encoded(value)
    is_json = isinstance(value_field(), JSONField)
    return sorted_json(text, allow_nan=allow_nan) if is_json else text


def canonical_json(value: object, *, allow_nan: bool = False) -> str:
    """Returns the same text for the same JSON, as `canonical` does for values."""
    return sorted_json(json.dumps(value), allow_nan=allow_nan)


def is_secret(row: object) -> bool:
    """Whether the row is secret: the history does not store its value."""
    return bool(getattr(row, "secret", False))


def secret_fields(row: object) -> tuple[str, ...]:
    """Returns the fields of a row that are masked wherever it is shown, exported or recorded."""
    return SECRET_FIELDS if is_secret(row) else ()
