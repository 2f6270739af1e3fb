"""The database of the flags: what its connection is asked for, and what its errors say.

Also rows of several tables, read in one query.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from django.conf import settings
from django.core.exceptions import EmptyResultSet
from django.db import (
    DatabaseError,
    Error,
    IntegrityError,
    OperationalError,
    connections,
    transaction,
)
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

from flagstaff._connection import is_postgresql
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._text import say
from flagstaff.conf import conf

Item = TypeVar("Item")
ModelRow = TypeVar("ModelRow", bound=Model)

# The history gets one entry per statement, so statements are large.
_MAX_PER_STATEMENT = 10_000

# Such as a NUL character: untranslatable character, character not in repertoire.
_NOT_STORABLE = frozenset({"22P05", "22021"})
#: Two transactions wait for each other. PostgreSQL has ended this one.
DEADLOCK = "40P01"
#: A time limit, or a person, has ended the query.
QUERY_CANCELED = "57014"
#: A lock was not free in time.
LOCK_NOT_AVAILABLE = "55P03"
#: Another row has the key.
UNIQUE_VIOLATION = "23505"
#: The role has no right to do this.
NO_PRIVILEGE = "42501"
# Undefined table, undefined column.
_MISSING_TABLE = frozenset({"42P01", "42703"})
# The classes of PostgreSQL, by the first two characters of the SQLSTATE.
_CLASSES = {
    "08": say("connection exception"),
    "0A": say("feature not supported"),
    "21": say("cardinality violation"),
    "22": say("data exception, such as text where a number is expected"),
    "23": say("integrity constraint violation"),
    "25": say("invalid transaction state"),
    "28": say("invalid authorization"),
    "40": say("transaction rollback"),
    "42": say("wrong SQL, an unknown name, or no privilege"),
    "53": say("insufficient resources"),
    "54": say("program limit exceeded"),
    "55": say("object not in the required state"),
    "57": say("operator intervention, such as a time limit"),
    "58": say("system error"),
    "P0": say("error raised by a function"),
    "XX": say("internal error"),
}
# Each has a parameter for each of its fields.
_MAX_ROWS = 1_000
_LENGTH = re.compile(r"\([0-9, ]+\)")
_LOCK = "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(%s, 0))"
_OTHER = say("database error")
_WITH_STATE = "{error} (SQLSTATE {state})"


class _Database:
    """The database of the flags, as the settings, the thread and its tenant say at the time.

    It keeps nothing: neither a connection, which belongs to a thread, nor a name, which depends on
    the schema of a tenant.
    """

    @property
    def alias(self) -> str:
        return conf.database

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """The connection of this thread. Does not connect."""
        return connections[self.alias]

    @property
    def is_postgresql(self) -> bool:
        """Only PostgreSQL has workers, a history, usage, webhooks, plans and experiments."""
        return is_postgresql(self.connection)

    @property
    def tables(self) -> dict[str, str]:
        """The quoted names of flagstaff's own tables, by their placeholders in SQL."""
        return own_names(self.connection)

    def table(self, model: type[Model]) -> str:
        """Returns the quoted name of the table of a model."""
        return self.connection.ops.quote_name(model._meta.db_table)

    def atomic(self, **options: bool) -> AbstractContextManager[None]:
        """Runs a block in a transaction. The options are those of `transaction.atomic`."""
        return transaction.atomic(using=self.alias, **options)

    def rows(self, model: type[ModelRow]) -> QuerySet[ModelRow]:
        """Returns the rows of a model of flagstaff. Does not query."""
        return model._default_manager.using(self.alias)

    def query(
        self,
        file: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        more_names: Mapping[str, str] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Returns the rows of the query in `sql/FILE.sql`.

        Its placeholders are the tables of flagstaff, and `more_names`.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(fill(sql(file), {**self.tables, **(more_names or {})}), parameters)
            return list(cursor.fetchall())

    def lock(self, name: str) -> None:
        """Waits for the lock with this name, held until the transaction ends. PostgreSQL only."""
        with self.connection.cursor() as cursor:
            cursor.execute(_LOCK, [name])

    def update(self, model: type[Model], names: Iterable[str], rows: Sequence[Any]) -> None:
        """Writes these fields of locked rows, in one statement for many. PostgreSQL only.

        The fields are columns of the model's own table. Sends no signals.
        """
        connection, quote = self.connection, self.connection.ops.quote_name
        pk, by_name = model._meta.pk, {field.name: field for field in model._meta.concrete_fields}
        fields = [by_name[name] for name in names]
        columns = {quote(str(field.column)): _type(field, connection) for field in (pk, *fields)}
        pk_column, *written = columns
        names_of_table = {
            "table": self.table(model),
            "assignments": ", ".join(f"{name} = new.{name}::{columns[name]}" for name in written),
            "columns": ", ".join(columns),
            "pk": pk_column,
            "pk_type": columns[pk_column],
        }
        row_places = f"({', '.join(['%s'] * len(columns))})"
        for batch in self.batches(rows, _MAX_ROWS):
            values = [
                field.get_db_prep_save(value, connection)
                for row in batch
                for field, value in [
                    (pk, row.pk),
                    *((field, field.pre_save(row, add=False)) for field in fields),
                ]
            ]
            all_places = ", ".join([row_places] * len(batch))
            statement = fill(sql("update_rows_v1"), {**names_of_table, "rows": all_places})
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                if cursor.rowcount != len(batch):
                    raise DatabaseError(f"not every row of {model._meta.label} could be written")

    def batches(self, items: Iterable[Item], at_most: int | None = None) -> Iterator[list[Item]]:
        """Splits `items` into lists that fit into one statement."""
        limit = self.connection.features.max_query_params
        # One parameter is left for the flag.
        size = at_most or _MAX_PER_STATEMENT
        size = min(limit - 1, size) if limit else size
        everything = list(items)
        for start in range(0, len(everything), size):
            yield everything[start : start + size]

    def delete_in_batches(
        self, statement: str, parameters: Mapping[str, Any], batch: int
    ) -> Iterator[int]:
        """Runs a statement that deletes some rows until none is left to delete.

        Besides `parameters`, it gets `batch`, the number of rows, and `after`, at first 0. It
        returns how many rows it has deleted, and the `after` of the next batch; NULL after the last
        one. Yields the number of each batch, which is a transaction of its own and committed then.
        """
        after: int | None = 0
        while after is not None:
            with self.atomic(), self.connection.cursor() as cursor:
                cursor.execute(statement, {**parameters, "after": after, "batch": batch})
                deleted, after = cursor.fetchone()
            yield deleted


def _type(field: Any, connection: BaseDatabaseWrapper) -> str:
    """Returns the type of a column without its length: a cast would cut what is longer."""
    return _LENGTH.sub("", field.cast_db_type(connection))


db = _Database()


def sqlstate(error: Error) -> str | None:
    """Returns the SQLSTATE of an error, with psycopg and with psycopg2."""
    cause = error.__cause__
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def is_missing_table(error: Error) -> bool:
    """Returns True if a table or a column does not exist, as before a migration."""
    return sqlstate(error) in _MISSING_TABLE or "no such table" in str(error)


def error_text(error: Error | UnicodeEncodeError) -> str:
    """Returns what may be shown of an error: a message with its class in words and its SQLSTATE.

    The server's own text may quote rows and values. It is shown with DEBUG, and of errors that name
    only tables and constraints.
    """
    if isinstance(error, UnicodeEncodeError):
        return say("a character that the database cannot store")
    state, text = sqlstate(error), str(error).strip().partition("\n")[0]
    if settings.DEBUG or state == NO_PRIVILEGE or isinstance(error, IntegrityError):
        return text
    if state is None:
        # The driver's own text, such as that of a connection that fails.
        return text if isinstance(error, OperationalError) else type(error).__name__
    if state in _NOT_STORABLE:
        return say(
            _WITH_STATE, error=say("a character that the database cannot store"), state=state
        )
    return say(_WITH_STATE, error=say(_CLASSES.get(state[:2], _OTHER)), state=state)


# Rows of several tables, in one query.

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
