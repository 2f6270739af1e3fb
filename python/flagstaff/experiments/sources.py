"""SQL of the rows that a project gives: of metrics, and of units that are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.core.exceptions import EmptyResultSet, FieldError
from django.db import Error as DatabaseError
from django.db.models import QuerySet

from flagstaff._tables.database import db, fill, sql
from flagstaff._text import say
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Source, Sql, imported

#: What a driver reads in a query: "%%" is a percent sign, the others are parameters.
_PLACEHOLDER = re.compile(r"%(.?)", re.DOTALL)


def rows_of(source: Source, columns: Sequence[str], source_name: str) -> tuple[str, list[Any]]:
    """Returns a subquery with these columns, and its parameters. Does not query.

    `source_name` is for errors. Raises ConfigurationError for a source of another database, that
    returns neither a QuerySet nor `Sql`, that names a field that does not exist, or that raises an
    error itself; those of the database stay what they are.
    """
    try:
        return _rows_of(source(), columns, source_name)
    except (ConfigurationError, DatabaseError):
        raise
    except (EmptyResultSet, FieldError) as error:
        why = str(error) or say("it is an empty QuerySet")
        raise ConfigurationError(
            "{source} cannot be read: {why}", source=source_name, why=why
        ) from error
    except Exception as error:
        # The project's own code: a report without it is better than a page that fails.
        text = f"{type(error).__name__}: {error}"
        raise ConfigurationError(
            "{source} fails: {error}", source=source_name, error=text
        ) from error


def _rows_of(returned: Any, columns: Sequence[str], source_name: str) -> tuple[str, list[Any]]:
    if isinstance(returned, Sql):
        _require_placeholders(returned, source_name)
        # The text may end with a semicolon, or with a comment.
        text = returned.text.rstrip().rstrip(";")
        return f"({text}\n) AS given_rows", list(returned.params)
    if not isinstance(returned, QuerySet):
        raise ConfigurationError(
            "{source} returned {type}; return a QuerySet or Sql",
            source=source_name,
            type=type(returned).__name__,
        )
    if returned.db != db.alias:
        raise ConfigurationError(
            '{source} reads the database "{database}", but exposures are in "{expected}"; it must '
            "read the same database",
            source=source_name,
            database=returned.db,
            expected=db.alias,
        )
    text, params = _columns_of(returned, columns).query.sql_with_params()
    # A union keeps the columns of its first query, in their order; their names say which they are.
    names = "" if returned.query.combinator else f" ({', '.join(columns)})"
    return f"({text}) AS given_rows{names}", list(params)


def _require_placeholders(statement: Sql, source_name: str) -> None:
    signs = _PLACEHOLDER.findall(statement.text)
    placeholders, params = signs.count("s"), len(statement.params)
    if placeholders != params or set(signs) - {"%", "s"}:
        raise ConfigurationError(
            "{source} has {placeholders} placeholders, but {params} params; write %% for a percent "
            "sign",
            source=source_name,
            placeholders=placeholders,
            params=params,
        )


def _columns_of(queryset: QuerySet[Any, Any], columns: Sequence[str]) -> QuerySet[Any, Any]:
    query = queryset.query
    # In these, the order decides which rows there are.
    is_ordered = query.is_sliced or query.distinct_fields
    return (queryset if is_ordered else queryset.order_by()).values_list(*columns)


_TIMES = ("timestamp with time zone", "timestamp without time zone")
_NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")
_DAY = say(
    "is a date, so events on the day of an exposure would be missing; use the moment of the event"
)
#: The types that a column may have, and what to do about another one.
_TYPES = {
    "time": (_TIMES, say("is of the type {type}, which is no moment; cast it to timestamptz")),
    "value": (_NUMBERS, say("is of the type {type}, which is no number; cast it to numeric")),
}
_EPOCH = say("is a number; if it counts seconds since 1970, write to_timestamp(…)")
_TRUTH = say("is true or false; cast it to integer")


# A number of these types has the digits that a whole number of any type has as a unit.
_FRACTIONS = ("numeric", "double precision", "real")
_DIGITS = "pg_catalog.trim_scale(unit::text::numeric)::text"
_UNIT_OF_ANY_TYPE = f"""CASE
            WHEN pg_catalog.pg_typeof(unit)::text OPERATOR(pg_catalog.=) ANY (
                '{{{",".join(_FRACTIONS)}}}'::text[]
            ) THEN {_DIGITS}
            ELSE unit::text
        END"""


def checked_unit(text: str, params: Sequence[Any], columns: Sequence[str], source: str) -> str:
    """Returns the SQL of the unit of a row of a subquery, as exposures have it.

    The server says which types the columns are, in one query that reads no row. Raises
    ConfigurationError for a time that is no moment, and for a value that is no number.
    """
    types = ", ".join(f"pg_catalog.pg_typeof({column})::text" for column in columns)
    template = sql("column_types_v1", "flagstaff.experiments")
    with db.connection.cursor() as cursor:
        cursor.execute(fill(template, {"types": types, "rows": text}), params)
        type_names = dict(zip(columns, cursor.fetchone(), strict=True))
    for column, (allowed, problem) in _TYPES.items():
        if (type_name := type_names.get(column, allowed[0])) not in allowed:
            if column == "time":
                others = {"date": _DAY, **dict.fromkeys(_NUMBERS, _EPOCH)}
            else:
                others = {"boolean": _TRUTH}
            why = say(others.get(type_name, problem), type=type_name)
            raise ConfigurationError(
                "the {column} of {source} {why}", column=column, source=source, why=why
            )
    return _DIGITS if type_names["unit"] in _FRACTIONS else "unit::text"


def excluded_units(bucket_by: str, forced: Iterable[str] = ()) -> tuple[str, list[Any]]:
    """Returns the SQL that leaves out units of FLAGSTAFF["EXCLUDED_UNITS"], and its parameters.

    It also leaves out units that are forced to a variant, which may have met another one before. It
    continues a WHERE on the exposures `e`. Does not query. Raises ConfigurationError.
    """
    columns = {bucket_by: "e.unit"}
    if bucket_by == "visitor":
        columns["user"] = "e.user_pk"
    parts: list[str] = []
    params: list[Any] = []
    if units := list(forced):
        parts.append("AND e.unit OPERATOR(pg_catalog.<>) ALL (%s::text[])")
        params.append(units)
    for unit, path in conf.excluded_units.items():
        if unit in columns:
            try:
                text, unit_params = rows_of(_callable(unit, path), ("unit",), _setting(unit))
            except ConfigurationError as error:
                if isinstance(error.__cause__, EmptyResultSet):
                    # Such as `filter(pk__in=[])`: no unit is excluded.
                    continue
                raise
            parts.append(
                f"AND NOT EXISTS (SELECT FROM (SELECT {_UNIT_OF_ANY_TYPE} AS unit FROM "  # noqa: S608
                f"{text}) AS excluded WHERE excluded.unit OPERATOR(pg_catalog.=) {columns[unit]})"
            )
            params += unit_params
    return " ".join(parts), params


def _setting(unit: str) -> str:
    return f'FLAGSTAFF["EXCLUDED_UNITS"]["{unit}"]'


def _callable(unit: str, path: str) -> Source:
    function = imported(_setting(unit), path)
    if not callable(function):
        raise ConfigurationError(
            '{setting} is "{path}", which is no function', setting=_setting(unit), path=path
        )
    return cast("Source", function)
