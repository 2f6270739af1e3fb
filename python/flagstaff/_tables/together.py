"""Rows of several tables, read in one query."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from flagstaff._tables.database import db
from flagstaff._tables.names import fill

#: Yields the rows that it needs, gets them as a list, and returns what it makes of them.
Reading: TypeAlias = "Generator[QuerySet[Any], list[Any], Any]"

_PART = "SELECT {number}, pg_catalog.to_jsonb(part)::text FROM ({query}) AS part"


def read_together(*readings: Reading) -> list[Any]:
    """Runs readings, and returns what they return. Makes one query.

    The rows are in the flags' database, of fields that JSON can hold, and in no certain order.
    """
    wanted = [next(reading) for reading in readings]
    is_single = len(wanted) == 1 or not db.is_postgresql
    read = [[*rows] for rows in wanted] if is_single else _read(wanted)
    return [_result(reading, rows) for reading, rows in zip(readings, read, strict=True)]


def _result(reading: Reading, rows: list[Any]) -> Any:
    try:
        reading.send(rows)
    except StopIteration as end:
        return end.value
    raise AssertionError("a reading yields once")


def _read(wanted: Sequence[QuerySet[Any]]) -> list[list[Any]]:
    parts, parameters = list[str](), list[Any]()
    for number, rows in enumerate(wanted):
        try:
            sql, values = rows.query.get_compiler(using=db.alias).as_sql()
        except EmptyResultSet:
            continue
        parts.append(fill(_PART, {"number": str(number), "query": sql}))
        parameters += values
    read: list[list[Any]] = [[] for _rows in wanted]
    if parts:
        with db.connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), parameters)
            for number, text in cursor.fetchall():
                read[number].append(_row(wanted[number], json.loads(text)))
    return read


def _row(rows: QuerySet[Any], columns: dict[str, Any]) -> Any:
    """Returns a row with its annotations."""
    model = rows.model
    fields = [field for field in model._meta.concrete_fields if field.column in columns]
    values = [_value(field.to_python(columns[field.column])) for field in fields]
    row = model.from_db(db.alias, [field.attname for field in fields], values)
    for name in rows.query.annotation_select:
        setattr(row, name, columns[name])
    return row


def _value(value: Any) -> Any:
    # As Django reads it: the session has the time zone of the settings.
    is_naive = isinstance(value, datetime) and not settings.USE_TZ
    return value.replace(tzinfo=None) if is_naive else value
