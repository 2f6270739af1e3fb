"""SQL of the rows that a project gives: of metrics, and of units that are left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.core.exceptions import EmptyResultSet, FieldError
from django.db import Error as DatabaseError
from django.db.models import DateField, DateTimeField, QuerySet

from flagstaff._words.text import Text
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Source, Sql, imported

#: What a driver reads in a query: "%%" is a percent sign, the others are parameters.
_PLACEHOLDER = re.compile(r"%(.?)", re.DOTALL)


def rows_of(source: Source, columns: Sequence[str], what: str) -> tuple[str, list[Any]]:
    """Returns a subquery with these columns, and its parameters. Does not query.

    `what` names the source in errors. Raises ConfigurationError for a source of another database,
    that returns neither a QuerySet nor `Sql`, that names a field that does not exist, or that
    raises an error itself; those of the database stay what they are.
    """
    try:
        return _rows_of(source(), columns, what)
    except (ConfigurationError, DatabaseError):
        raise
    except (EmptyResultSet, FieldError) as error:
        why = str(error) or Text("it is an empty QuerySet")
        raise ConfigurationError("{source} cannot be read: {why}", source=what, why=why) from error
    except Exception as error:
        # The project's own code: a report without it is better than a page that fails.
        text = f"{type(error).__name__}: {error}"
        raise ConfigurationError("{source} fails: {error}", source=what, error=text) from error


def _rows_of(given: Any, columns: Sequence[str], what: str) -> tuple[str, list[Any]]:
    if isinstance(given, Sql):
        _require_placeholders(given, what)
        # The text may end with a semicolon, or with a comment.
        text = given.text.rstrip().rstrip(";")
        return f"({text}\n) AS given_rows", list(given.params)
    if not isinstance(given, QuerySet):
        raise ConfigurationError(
            "{source} returned {type}; return a QuerySet or Sql",
            source=what,
            type=type(given).__name__,
        )
    if given.db != conf.database:
        raise ConfigurationError(
            '{source} reads the database "{database}", but exposures are in "{expected}"; it must '
            "read the same database",
            source=what,
            database=given.db,
            expected=conf.database,
        )
    text, params = _columns_of(given, columns, what).query.sql_with_params()
    # A union keeps the columns of its first query, in their order; their names say which they are.
    names = "" if given.query.combinator else f" ({', '.join(columns)})"
    return f"({text}) AS given_rows{names}", list(params)


def _require_placeholders(given: Sql, what: str) -> None:
    found = _PLACEHOLDER.findall(given.text)
    placeholders, params = found.count("s"), len(given.params)
    if placeholders != params or set(found) - {"%", "s"}:
        raise ConfigurationError(
            "{source} has {placeholders} placeholders, but {params} params; write %% for a percent "
            "sign",
            source=what,
            placeholders=placeholders,
            params=params,
        )


def _columns_of(given: QuerySet[Any, Any], columns: Sequence[str], what: str) -> QuerySet[Any, Any]:
    query = given.query
    # In these, the order decides which rows there are.
    is_ordered = query.is_sliced or query.distinct_fields
    found = (given if is_ordered else given.order_by()).values_list(*columns)
    if "time" in columns and not query.combinator:
        _require_time(found, columns.index("time"), what)
    return found


def _require_time(rows: QuerySet[Any, Any], place: int, what: str) -> None:
    """Raises ConfigurationError for a date: its midnight is before most exposures of the day."""
    compiler = rows.query.get_compiler(using=rows.db)
    compiler.pre_sql_setup()
    field = getattr(compiler.select[place][0], "output_field", None)
    if isinstance(field, DateField) and not isinstance(field, DateTimeField):
        raise ConfigurationError(
            "the time of {source} is a date, so events on the day of an exposure would be "
            "missing; use a DateTimeField",
            source=what,
        )


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
                text, own = rows_of(_callable(unit, path), ("unit",), _setting(unit))
            except ConfigurationError as error:
                if isinstance(error.__cause__, EmptyResultSet):
                    # Such as `filter(pk__in=[])`: no unit is excluded.
                    continue
                raise
            parts.append(
                f"AND NOT EXISTS (SELECT FROM (SELECT unit::text FROM {text}) AS excluded "  # noqa: S608
                f"WHERE excluded.unit OPERATOR(pg_catalog.=) {columns[unit]})"
            )
            params += own
    return " ".join(parts), params


def _setting(unit: str) -> str:
    return f'FLAGSTAFF["EXCLUDED_UNITS"]["{unit}"]'


def _callable(unit: str, path: str) -> Source:
    found = imported(_setting(unit), path)
    if not callable(found):
        raise ConfigurationError(
            '{setting} is "{path}", which is no function', setting=_setting(unit), path=path
        )
    return cast("Source", found)
