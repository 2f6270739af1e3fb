"""Columns of times and days, which SQL may have set to one that Python cannot represent."""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models
from django.db.models.sql.compiler import SQLCompiler
from django.utils.dateparse import parse_date, parse_datetime

from flagstaff._connection.vendor import is_postgresql

if TYPE_CHECKING:
    _TimeField = models.DateTimeField[Any, Any]
    _DayField = models.DateField[Any, Any]
else:
    _TimeField = models.DateTimeField
    _DayField = models.DateField

#: Later times are read as the beginning of this year.
MAX_YEAR = 9000

# Inside of Python's years: a page converts times to other zones, and adds the times of steps.
_FIRST, _LAST = date(1, 1, 2), date(MAX_YEAR, 1, 1)


class TimeField(_TimeField):
    """Reads infinity as the year 9000, and -infinity as the year 1.

    Otherwise a single row with such a time would fail each query that reads it: no page would list
    the rows, and no command could change or delete this one.
    """

    def select_format(self, compiler: SQLCompiler, sql: str, params: Any) -> tuple[str, Any]:
        """Returns the SQL that reads the column."""
        return _bounded(compiler, sql, params, "{} 00:00:00+00'::pg_catalog.timestamptz")

    def deconstruct(self) -> Any:
        """Returns the field for migrations: the column is that of any time."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.DateTimeField", arguments, options


class DayField(_DayField):
    """Reads infinity as a day of the year 9000, and -infinity as one of the year 1."""

    def select_format(self, compiler: SQLCompiler, sql: str, params: Any) -> tuple[str, Any]:
        """Returns the SQL that reads the column."""
        return _bounded(compiler, sql, params, "{}'::pg_catalog.date")

    def deconstruct(self) -> Any:
        """Returns the field for migrations: the column is that of any day."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.DateField", arguments, options


def bound_of(field: models.Field[Any, Any], text: object) -> date | None:
    """Returns how a row is read that has this text of a time or day, which Python cannot represent.

    `text` is as PostgreSQL writes it in JSON. Returns None if Python can represent it, and for
    other fields.
    """
    if not isinstance(text, str) or not isinstance(field, TimeField | DayField):
        return None
    if _is_readable(field, text):
        return None
    bound = _FIRST if text.startswith("-") or text.endswith("BC") else _LAST
    if isinstance(field, DayField):
        return bound
    zone = timezone.utc if settings.USE_TZ else None
    return datetime(bound.year, bound.month, bound.day, tzinfo=zone)


def _is_readable(field: TimeField | DayField, text: str) -> bool:
    parse = parse_datetime if isinstance(field, TimeField) else parse_date
    try:
        return parse(text) is not None
    except ValueError:
        return False


def _bounded(compiler: SQLCompiler, sql: str, params: Any, literal: str) -> tuple[str, Any]:
    if not is_postgresql(compiler.connection):
        return sql, params
    first, last = (f"'{literal.format(bound.isoformat())}" for bound in (_FIRST, _LAST))
    # Both functions ignore NULL.
    read = f"CASE WHEN {sql} IS NOT NULL THEN LEAST(GREATEST({sql}, {first}), {last}) END"
    return read, (*params, *params)
