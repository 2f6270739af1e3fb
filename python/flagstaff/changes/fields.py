"""Fields of one row: checked by the model's own rules, and written where they differ."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import DataError, IntegrityError, transaction
from django.db.models import JSONField, Model

from flagstaff._tables.decoding import encoded, is_secret, value_field
from flagstaff._tables.model_fields import auto_now_fields
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError

__all__ = [
    "canonical",
    "differing",
    "insert",
    "touch",
    "validate",
    "validate_new",
    "write",
]


def differing(row: Model, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the fields that the row has not like this yet."""
    return {name: new for name, new in fields.items() if not _same(row, name, new)}


def write(row: Model, fields: Mapping[str, Any]) -> None:
    """Write these fields of a row, and no other but its clocks."""
    for name, new in fields.items():
        validate(row, name, new)
    for name, new in fields.items():
        setattr(row, name, new)
    _save(row, update_fields=[*fields, *_auto_now_names(row)])


def insert(row: Model) -> None:
    """Write a new row. Raises InvalidChangeError where the database has one like it."""
    _save(row, force_insert=True)


def touch(row: Model) -> None:
    """Move the clocks of a row whose allow-list has changed."""
    if names := _auto_now_names(row):
        row.save(using=conf.database, update_fields=names)


def validate(row: Model, name: str, new: Any) -> None:
    """Refuse what the model's own rules for this field refuse.

    The rest of the row is left alone: a kill must not fail for another field.
    """
    field = _field(row, name)
    if new is None and not field.null:
        raise InvalidChangeError(f'{name} cannot be null; write JSON, such as "stripe", 25 or []')
    try:
        if not _is_empty_json(field, new):
            field.validate(new, row)
        field.run_validators(new)
    except ValidationError as error:
        raise InvalidChangeError(f"{name}: {' '.join(error.messages)}") from error


def validate_new(row: Model) -> None:
    """Refuse a new row that the model's own rules refuse. Raises ValidationError."""
    fields = row._meta.local_concrete_fields
    empty = {one.name for one in fields if _is_empty_json(one, getattr(row, one.attname))}
    row.full_clean(exclude=empty, validate_unique=False, validate_constraints=False)


def canonical(value: Any, *, allow_nan: bool = False) -> str:
    """One text for one JSON, whatever the order of its keys.

    Raises TypeError or ValueError where JSON cannot hold the value.
    """
    text = encoded(value)
    if not isinstance(value_field(), JSONField):
        return text
    plain = json.loads(text, parse_float=_as_held)
    return json.dumps(plain, sort_keys=True, allow_nan=allow_nan)


def _as_held(text: str) -> int | float:
    """A number as PostgreSQL gives it back: 1e16 as a whole one, and zero without its sign."""
    number = float(text)
    if not number:
        return 0.0
    return int(Decimal(text)) if math.isfinite(number) and "e+" in repr(number) else number


def _auto_now_names(row: Model) -> list[str]:
    return [field.name for field in auto_now_fields(type(row))]


def _save(row: Model, **how: Any) -> None:
    try:
        with transaction.atomic(using=conf.database):
            row.save(using=conf.database, **how)
    except (IntegrityError, DataError) as error:
        message = str(error).strip().partition("\n")[0]
        # The cause tells the whole row below its first line, and of a secret no log is to have it.
        cause = None if is_secret(row) else error
        raise InvalidChangeError(f"the database refuses it: {message}") from cause


def _is_empty_json(field: Any, value: Any) -> bool:
    """Whether it is [], {} or "": values like any other, also where a field is not to be blank."""
    return isinstance(field, JSONField) and value is not None and value in field.empty_values


def _same(row: Model, name: str, new: Any) -> bool:
    old = getattr(row, _field(row, name).attname)
    if name == "value" and isinstance(row, conf.value_model):
        return _same_json(old, new)
    return bool(old == getattr(new, "pk", new))


def _same_json(old: Any, new: Any) -> bool:
    """Whether they are the same JSON; in Python True equals 1 equals 1.0."""
    try:
        return canonical(old, allow_nan=True) == canonical(new)
    except TypeError:  # the field reads what it could not write
        return bool(old == new)


def _field(row: Model, name: str) -> Any:
    try:
        field: Any = row._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    if field is None or not field.concrete or field.primary_key:
        raise InvalidChangeError(f"a {row._meta.verbose_name} has no field {name!r} to be changed")
    return field
