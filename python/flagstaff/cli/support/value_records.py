"""A value as a record."""

from __future__ import annotations

from typing import Any

from flagstaff._words.cells import Record, with_fields


def value_record(row: Any) -> Record:
    """Returns all fields of a value's row, the key and the value first."""
    return with_fields(row, {"key": row.key, "value": row.value})
