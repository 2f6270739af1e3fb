"""Values: set, edited, created, unset."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.db.models import JSONField

from flagstaff._tables.decoding import encoded, value_field
from flagstaff.changes.changed import Changed
from flagstaff.changes.fields import canonical
from flagstaff.changes.rows import create_row, delete_row, edit_row, set_field
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.kinds import Kind

__all__ = ["create_value", "delete_value", "set_value", "update_value"]


def set_value(key: str, value: Any, *, expect_version: int | None = None) -> Changed:
    """Set a value to anything that JSON can hold.

    Raises UnknownValueError, ConflictError, or InvalidChangeError where JSON cannot hold it.
    """
    _need_json(value)

    def back(old: Any) -> tuple[str, ...] | None:
        typed = None if old is None else _typed(old)
        # A terminal takes -5 for a number, and -1e-05 for an option.
        is_an_option = typed is not None and typed.startswith("-") and "e" in typed
        return None if typed is None or is_an_option else ("value", "set", key, typed)

    return set_field(Kind.VALUE, key, "value", value, expect_version, back)


def update_value(
    key: str, fields: Mapping[str, Any], *, expect_version: int | None = None
) -> Changed:
    """Change several fields of a value's row at once.

    Raises UnknownValueError, ConflictError, or InvalidChangeError.
    """
    if "value" in fields:
        _need_json(fields["value"])
    return edit_row(Kind.VALUE, key, fields, expect_version)


def create_value(key: str, value: Any, **fields: Any) -> Changed:
    """Create a value. Where there is one like it already, nothing is written.

    Raises InvalidChangeError where there is another one of this key, or where a field is not valid.
    """
    _need_json(value)
    return create_row(Kind.VALUE, key, {"value": value, **fields})


def delete_value(key: str, *, expect_version: int | None = None) -> Changed:
    """Delete a value: whoever asks for it gets the default. A second time it does nothing.

    Raises UnknownValueError where there never was one, or ConflictError.
    """
    return delete_row(Kind.VALUE, key, expect_version)


def _need_json(value: Any) -> None:
    try:
        canonical(value)
    except (TypeError, ValueError) as error:
        raise InvalidChangeError(f"JSON cannot hold this value: {error}") from error


def _typed(value: Any) -> str | None:
    """The value as `value set` takes it, if it can be typed at all."""
    try:
        if isinstance(value_field(), JSONField):
            value = json.loads(encoded(value))
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:  # the field reads what it could not write
        return None
    return text if text.isprintable() else json.dumps(value)
