"""How the value model's field writes and reads JSON text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from django.db import connections
from django.db.models import Field, JSONField

from flagstaff.conf import conf

__all__ = ["decoder", "encoded", "is_plain_json", "is_secret", "value_field"]


def value_field() -> Field[Any, Any]:
    """The field `value` of the value model."""
    return cast("Field[Any, Any]", conf.value_model._meta.get_field("value"))


def is_plain_json(field: Field[Any, Any]) -> bool:
    """Whether the field reads JSON as json.loads does, so that scalars can be made at once."""
    reads = getattr(type(field), "from_db_value", None)
    return reads is JSONField.from_db_value and getattr(field, "decoder", None) is None


def decoder() -> Callable[[str], Any]:
    """A function from the text of the column to the value that the field makes of it."""
    field, alias = value_field(), conf.database
    converters = field.get_db_converters(connections[alias])

    def decode(text: str) -> Any:
        value: Any = text
        for converter in converters:
            value = converter(value, None, connections[alias])
        return value

    return decode


def encoded(value: Any) -> str:
    """The text that the column would hold.

    Raises TypeError where the field cannot hold the value.
    """
    field = value_field()
    if isinstance(field, JSONField):
        return json.dumps(value, cls=field.encoder)
    return str(field.get_prep_value(value))


def is_secret(row: Any) -> bool:
    """Whether the history keeps a digest of it; our own model of values can say so."""
    return bool(getattr(row, "secret", False))
