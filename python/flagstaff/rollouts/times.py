"""The column of a time, which SQL may have set to one that Python cannot represent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models.sql.compiler import SQLCompiler

if TYPE_CHECKING:
    _Field = models.DateTimeField[Any, Any]
else:
    _Field = models.DateTimeField

__all__ = ["MAX_YEAR", "TimeField"]

#: Later times are read as the beginning of this year.
MAX_YEAR = 9000

# Inside of Python's years: a page converts times to other zones, and adds the times of steps.
_FIRST = "'0001-01-02 00:00:00+00'::pg_catalog.timestamptz"
_LAST = f"'{MAX_YEAR}-01-01 00:00:00+00'::pg_catalog.timestamptz"


class TimeField(_Field):
    """Reads infinity as the year 9000, and -infinity as the year 1.

    Otherwise a single row with such a time would fail each query that reads it: no page would list
    the plans, and no command could stop or delete the plan.
    """

    def select_format(self, compiler: SQLCompiler, sql: str, params: Any) -> tuple[str, Any]:
        """Returns the SQL that reads the column."""
        if compiler.connection.vendor != "postgresql":
            return sql, params
        # Both functions ignore NULL.
        read = f"CASE WHEN {sql} IS NOT NULL THEN LEAST(GREATEST({sql}, {_FIRST}), {_LAST}) END"
        return read, (*params, *params)

    def deconstruct(self) -> Any:
        """Returns the field for migrations: the column is that of any time."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.DateTimeField", arguments, options
