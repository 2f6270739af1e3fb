"""SQL of the rows that a project gives: of metrics, and of units that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError
from django.db.models import QuerySet
from django.utils.module_loading import import_string

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.experiments.metrics import Source, Sql

__all__ = ["excluded_units", "rows_of"]


def rows_of(source: Source, columns: Sequence[str], what: str) -> tuple[str, list[Any]]:
    """Returns a subquery with these columns, and its parameters. Does not query.

    `what` names the source in errors. Raises ConfigurationError for a source of another database,
    that returns neither a QuerySet nor `Sql`, or that names a field that does not exist.
    """
    try:
        return _rows_of(source(), columns, what)
    except (EmptyResultSet, FieldError) as error:
        why = str(error) or "it is an empty QuerySet"
        raise ConfigurationError(f"{what} cannot be read: {why}") from error


def _rows_of(given: Any, columns: Sequence[str], what: str) -> tuple[str, list[Any]]:
    if isinstance(given, Sql):
        return f"({given.text}) AS given_rows", list(given.params)
    if not isinstance(given, QuerySet):
        raise ConfigurationError(
            f"{what} returned {type(given).__name__}; return a QuerySet or Sql"
        )
    if given.db != conf.database:
        raise ConfigurationError(
            f'{what} reads the database "{given.db}", but exposures are in "{conf.database}"; it '
            "must read the same database"
        )
    text, params = given.order_by().values_list(*columns).query.sql_with_params()
    return f"({text}) AS given_rows ({', '.join(columns)})", list(params)


def excluded_units(bucket_by: str) -> tuple[str, list[Any]]:
    """Returns the SQL that leaves out units of FLAGSTAFF["EXCLUDED_UNITS"], and its parameters.

    It continues a WHERE on the exposures `e`. Does not query. Raises ConfigurationError.
    """
    columns = {bucket_by: "e.unit"}
    columns.setdefault("user", "e.user_pk")
    parts, params = [], []
    for unit, path in conf.excluded_units.items():
        if unit in columns:
            text, own = rows_of(_callable(unit, path), ("unit",), _setting(unit))
            parts.append(
                f"AND NOT EXISTS (SELECT FROM (SELECT unit::text FROM {text}) AS excluded "  # noqa: S608
                f"WHERE excluded.unit OPERATOR(pg_catalog.=) {columns[unit]})"
            )
            params += own
    return " ".join(parts), params


def _setting(unit: str) -> str:
    return f'FLAGSTAFF["EXCLUDED_UNITS"]["{unit}"]'


def _callable(unit: str, path: str) -> Source:
    try:
        found = import_string(path)
    except ImportError as error:
        raise ConfigurationError(
            f'{_setting(unit)} is "{path}", which cannot be imported: {error}'
        ) from error
    if not callable(found):
        raise ConfigurationError(f'{_setting(unit)} is "{path}", which is no function')
    source: Source = found
    return source
