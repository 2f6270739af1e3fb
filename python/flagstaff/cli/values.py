"""A value as the verbs show it."""

from __future__ import annotations

import json
from typing import Any

from django.db.models import JSONField

from flagstaff._tables.decoding import encoded, value_field
from flagstaff.cli.cells import as_json, with_fields
from flagstaff.history.describe import SECRET

__all__ = ["SECRET", "as_stored", "value_record"]


def value_record(row: Any) -> dict[str, Any]:
    """All fields of an entry, those first that matter most."""
    return with_fields(row, {"key": row.key, "value": as_stored(row.value)})


def as_stored(value: Any) -> Any:
    """The value as JSON holds it: the model's field may make something else of it."""
    if not isinstance(value_field(), JSONField):
        return value
    try:
        return json.loads(encoded(value))
    except TypeError:  # the field reads what it could not write
        return json.loads(as_json(value))
