"""A field of a row ↔ what a file says of it."""

from __future__ import annotations

import json
from typing import Any

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
    is_auto_now,
    is_auto_now_add,
    is_generated,
    stored_fields,
)
from flagstaff.history.kinds import Kind

__all__ = ["exported_fields", "parse", "serialize"]

_TYPES: dict[type[Any], tuple[tuple[type, ...], str]] = {
    BooleanField: ((bool,), "true or false"),
    IntegerField: ((int,), "a whole number"),
    FloatField: ((int, float), "a number"),
    CharField: ((str,), "a text"),
    TextField: ((str,), "a text"),
}


def exported_fields(kind: Kind) -> dict[str, Any]:
    """The fields that a file has, by name, in the order of the model.

    Neither the primary key, nor the times that the database itself keeps. The key stands before.
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


def serialize(field: Any, row: Model) -> Any:
    """What a file says of a field: what JSON can hold, and else the text of Django's fixtures."""
    value = getattr(row, field.attname)
    if value is None:
        return None
    if isinstance(field, JSONField):
        return json.loads(json.dumps(value, cls=field.encoder))
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return str(value)
    return field.value_to_string(row)


def parse(field: Any, said: Any) -> Any:
    """The value of a field that a file says. Raises ValueError, which tells what is wanted."""
    if isinstance(field, JSONField):
        # The null of JSON too, which a row may have: where it would change, the model refuses it.
        return said
    if said is None:
        if field.null:
            return None
        raise ValueError("cannot be null")
    for of, (types, wanted) in _TYPES.items():
        if isinstance(field, of):
            is_bool = isinstance(said, bool)
            if not isinstance(said, types) or (is_bool and bool not in types):
                raise ValueError(f"is {wanted}, and not {_called(said)}")
            return said
    return _parsed(field, said)


def _parsed(field: Any, said: Any) -> Any:
    if not isinstance(said, str | int | float):
        raise ValueError(f"is a text or a number, and not {_called(said)}")  # noqa: TRY004 (of a file)
    try:
        return field.to_python(said)
    except ValidationError as error:
        raise ValueError(" ".join(error.messages)) from error


def _called(said: Any) -> str:
    """What it is, without what it holds."""
    names = {bool: "true or false", str: "a text", list: "a list", dict: "a mapping"}
    return names.get(type(said), "a number")
