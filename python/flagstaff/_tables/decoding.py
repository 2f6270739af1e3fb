"""How the field of the value model reads and writes the text of its column."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from django.db import connections
from django.db.models import JSONField

from flagstaff._tables.model_fields import AnyField
from flagstaff.conf import conf

__all__ = ["decoder", "encoded", "is_plain_json", "is_secret", "value_field"]


def value_field() -> AnyField:
    """Returns the field `value` of the value model."""
    return cast("AnyField", conf.value_model._meta.get_field("value"))


def is_plain_json(field: AnyField) -> bool:
    """Whether the field reads JSON as json.loads does, so that Rust can decode scalars."""
    reads = getattr(type(field), "from_db_value", None)
    return reads is JSONField.from_db_value and getattr(field, "decoder", None) is None


def decoder() -> Callable[[str], Any]:
    """Returns a function from the text of the column to the field's Python value."""
    field, alias = value_field(), conf.database
    converters = field.get_db_converters(connections[alias])

    def decode(text: str) -> Any:
        value: Any = text
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


def is_secret(row: object) -> bool:
    """Whether the row is secret: the history stores a digest of its value."""
    return bool(getattr(row, "secret", False))
