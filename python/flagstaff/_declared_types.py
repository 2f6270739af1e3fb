"""The Python types of declared values: how each is stored as JSON, and read from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple, cast

from django.conf import settings
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime, parse_duration
from django.utils.duration import duration_string


class DeclaredType(NamedTuple):
    """A Python type, and the JSON that stores it."""

    python: type
    #: As workers check it: a type of `_value_schema`, or a text of this form.
    form: str
    #: The type of `_value_schema`.
    json: str
    #: An object → what JSON stores. Both may raise ValueError.
    to_json: Callable[[Any], object]
    #: The JSON text → the object; None if it is what JSON reads.
    from_text: Callable[[str], Any] | None = None


# `json.loads` would make one for each value.
_NUMBERS_AS_TEXT = json.JSONDecoder(parse_int=str, parse_float=str)


def _parsed(parse: Callable[[str], object | None], text: str) -> object:
    """Reads the text in a JSON text, as Django reads that of a form."""
    parsed = parse(json.loads(text))
    if parsed is None:
        raise ValueError(text)
    return parsed


def datetime_like(default: datetime | None, text: str) -> datetime:
    """Reads a datetime that code can compare with the default: both have a time zone, or none.

    Without a default, USE_TZ decides.
    """
    read = cast("datetime", _parsed(parse_datetime, text))
    is_aware = settings.USE_TZ if default is None else timezone.is_aware(default)
    if timezone.is_aware(read) is is_aware:
        return read
    convert = timezone.make_aware if is_aware else timezone.make_naive
    return convert(read, timezone.get_default_timezone())


def _plain(value: object) -> object:
    return value


def _decimal(text: str) -> Decimal:
    """Reads a decimal from its JSON text, never by way of float."""
    return Decimal(_NUMBERS_AS_TEXT.decode(text))


#: All types but enums.
TYPES: Final[Mapping[type, DeclaredType]] = {
    type_.python: type_
    for type_ in (
        DeclaredType(bool, "boolean", "boolean", _plain),
        DeclaredType(int, "integer", "integer", _plain),
        DeclaredType(float, "number", "number", _plain, lambda text: float(json.loads(text))),
        DeclaredType(str, "string", "string", _plain),
        DeclaredType(list, "array", "array", _plain),
        DeclaredType(dict, "object", "object", _plain),
        DeclaredType(Decimal, "decimal", "string", str, _decimal),
        DeclaredType(date, "date", "string", date.isoformat, partial(_parsed, parse_date)),
        DeclaredType(
            datetime, "datetime", "string", datetime.isoformat, partial(_parsed, parse_datetime)
        ),
        DeclaredType(
            timedelta, "duration", "string", duration_string, partial(_parsed, parse_duration)
        ),
    )
}


def declared_type(python: type) -> DeclaredType | None:
    """Returns how a type is stored, or None if no value can have it."""
    if python in TYPES or not issubclass(python, Enum):
        return TYPES.get(python)
    stored = {type(member.value) for member in python}
    of_values = TYPES.get(stored.pop()) if len(stored) == 1 else None
    if of_values is None:
        return None

    read = of_values.from_text or json.loads
    return DeclaredType(
        python,
        of_values.form,
        of_values.json,
        lambda member: of_values.to_json(member.value),
        lambda text: python(read(text)),
    )
