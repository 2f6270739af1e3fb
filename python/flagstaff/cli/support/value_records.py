"""A value as a record."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import JSONField

from flagstaff._tables.decoding import encoded, value_field
from flagstaff._words.cells import Record, as_json, with_fields


def value_record(row: Any) -> Record:
    """Returns all fields of a value's row, the key and the value first."""
    return with_fields(row, {"key": row.key, "value": as_stored(row.value)})


def as_stored(value: Any) -> Any:
    """Returns the value as the JSON column holds it: the model's field may decode it."""
    if not isinstance(value_field(), JSONField):
        return value
    try:
        return json.loads(encoded(value))
    except TypeError:  # the field decodes to a type that it cannot encode
        return json.loads(as_json(value))
