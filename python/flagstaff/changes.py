"""What a person changes. Each change locks its row, and writes only what differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import JSONField, Model

from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.rows import flag_row, value_row
from flagstaff.values import encoded, value_field

__all__ = ["Changed", "InvalidChangeError", "ramp", "set_value", "switch"]

_EVERYONE = 100


class InvalidChangeError(FlagstaffError, ValueError):
    """the new value is not valid, and nothing was changed"""


@dataclass(frozen=True)
class Changed:
    """What a change did to a field."""

    key: str
    field: str
    old: Any
    new: Any
    #: False where the field had the new value already, and nothing was written.
    written: bool


def switch(key: str, enabled: bool) -> Changed:  # noqa: FBT001 (the state is all that is said)
    """Turn a flag on or off. Its rollout and its allow-list stay.

    Raises UnknownFlagError, or InvalidChangeError where `enabled` is not a bool.
    """
    if not isinstance(enabled, bool):
        raise InvalidChangeError(f"a switch is True or False, not {enabled!r}")
    return _write(flag_row, key, "enabled", enabled)


def ramp(key: str, percent: int) -> Changed:
    """Roll a flag out to this share of all users. Its switch and its allow-list stay.

    Raises UnknownFlagError, or InvalidChangeError where `percent` is not a whole number from 0
    to 100.
    """
    # A bool is an int too.
    if type(percent) is not int or not 0 <= percent <= _EVERYONE:
        raise InvalidChangeError(
            f"a rollout percent is a whole number from 0 to 100, not {percent!r}"
        )
    return _write(flag_row, key, "rollout_percent", percent)


def set_value(key: str, value: Any) -> Changed:
    """Set a value to anything that JSON can hold.

    Raises UnknownValueError, or InvalidChangeError where JSON cannot hold it.
    """
    try:
        _canonical(value)
    except (TypeError, ValueError) as error:
        raise InvalidChangeError(f"JSON cannot hold this value: {error}") from error
    return _write(value_row, key, "value", value, same=_same_json)


def _write(
    find: Callable[..., Any],
    key: str,
    field: str,
    new: Any,
    *,
    same: Callable[[Any, Any], bool] = lambda old, new: old == new,
) -> Changed:
    with transaction.atomic(using=conf.database):
        row = find(key, lock=True)
        old = getattr(row, field)
        if same(old, new):
            return Changed(key, field, old, new, written=False)
        _validate(row, field, new)
        setattr(row, field, new)
        row.save(using=conf.database, update_fields=[field, *_clocks(row)])
    return Changed(key, field, old, new, written=True)


def _validate(row: Model, name: str, new: Any) -> None:
    """Refuse what the model's own rules for this field refuse.

    The rest of the row is left alone: a kill must not fail for another field.
    """
    field: Any = row._meta.get_field(name)
    if new is None and not field.null:
        raise InvalidChangeError(f'{name} cannot be null; write JSON, such as "stripe", 25 or []')
    try:
        field.run_validators(new)
    except ValidationError as error:
        raise InvalidChangeError(f"{name}: {' '.join(error.messages)}") from error


def _clocks(row: Model) -> list[str]:
    """The fields that a save moves by itself."""
    fields = row._meta.local_concrete_fields
    return [field.name for field in fields if getattr(field, "auto_now", False)]


def _same_json(old: Any, new: Any) -> bool:
    """Whether they are the same JSON; in Python True equals 1 equals 1.0."""
    try:
        return _canonical(old, allow_nan=True) == _canonical(new)
    except TypeError:  # the field reads what it could not write
        return bool(old == new)


def _canonical(value: Any, *, allow_nan: bool = False) -> str:
    text = encoded(value)
    if not isinstance(value_field(), JSONField):
        return text
    return json.dumps(json.loads(text), sort_keys=True, allow_nan=allow_nan)
