"""The database of the flags: the names in it, SQL, its connection, and what its errors say.

Names of tables and columns are quoted, and read from the models' `_meta`. Rows of several tables
are read in one query.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar, cast

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
from django.db.models import ForeignKey, ManyToManyField, Model, QuerySet

from flagstaff._connection import is_postgresql
from flagstaff._tables.rows import (
    AnyField,
    GroupFields,
    find_field,
    readable_groups,
    segment_model,
    shared_schema,
    through_model,
)
from flagstaff._text import say
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.extensions import TABLES

logger = logging.getLogger("flagstaff")

_INTEGER_TYPES = {"smallint", "integer", "bigint"}
# The type in which keys of a column are compared, by the type of the column.
_KEY_TYPES = {
    **dict.fromkeys(_INTEGER_TYPES, "int8"),
    **dict.fromkeys(("smallserial", "serial", "bigserial"), "int8"),
    "uuid": "uuid",
    **dict.fromkeys(("varchar", "text"), "text"),
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the value of every placeholder in the templates, quoted for this connection.

    Those of groups are absent where groups cannot be read, and the type of a key where the column
    is neither an integer nor uuid, varchar or text. Raises ConfigurationError if a configured model
    lacks a required field.
    """
    return {
        **own_names(connection),
        "worker_function": connection.ops.quote_name("flagstaff_worker_v1"),
        **flag_names(connection, conf.flag_model),
        **value_names(connection, conf.value_model),
        **segment_names(connection, segment_model()),
        **group_names(connection),
        **optional_names(connection),
    }


def engine_names(
    connection: BaseDatabaseWrapper, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns `names` and `more` as evaluations use them: never the tables of a tenant.

    A worker connects without a tenant. So do evaluations over Django's own connection, in tests.
    """
    by_placeholder, schema = {**names(connection), **(more or {})}, shared_schema(connection)
    if schema is None:
        return by_placeholder
    # A model can name a schema itself.
    endings = ("_table", "_function")
    schema = connection.ops.quote_name(schema)
    return {
        placeholder: f"{schema}.{name}"
        if placeholder.endswith(endings) and '"."' not in name
        else name
        for placeholder, name in by_placeholder.items()
    }


def own_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the tables of flagstaff itself, which do not depend on the models."""
    quote = connection.ops.quote_name
    return {
        "token_table": quote("flagstaff_token"),
        "change_table": quote("flagstaff_change"),
        "waiting_table": quote("flagstaff_waitingaction"),
        "usage_table": quote("flagstaff_usage"),
        "report_table": quote("flagstaff_report"),
        "worker_table": quote("flagstaff_worker"),
        "echo_table": quote("flagstaff_echo"),
    }


def flag_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of a flag model, which may be a model of a migration's state."""
    quote = connection.ops.quote_name
    allowed = _allowed_users(model)
    through = through_model(allowed)._meta
    flag = cast("AnyField", through.get_field(allowed.m2m_field_name()))
    user = cast("AnyField", through.get_field(allowed.m2m_reverse_field_name()))
    fields = ("key", "enabled", "client_side", "rules", "bucket_by")
    return {
        **_row_names(connection, model, "flag", fields),
        "flag_rollout": quote(_column(model, "rollout_percent")),
        "allowed_users_table": quote(through.db_table),
        "allowed_users_flag": quote(_own_column(flag)),
        "allowed_users_user": quote(_own_column(user)),
        "allowed_users_type": _pk_type(user.db_type(connection)),
        **_key_type(connection, "allowed_users_user_type", user),
    }


def value_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of a value model, which may be a model of a migration's state."""
    fields = ("key", "value", "secret", "client_side", "rules", "bucket_by")
    return _row_names(connection, model, "value", fields)


def segment_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of the segment model, which may be a model of a migration's state."""
    return _row_names(connection, model, "segment", ("key", "conditions"))


def _row_names(
    connection: BaseDatabaseWrapper, model: type[Model], kind: str, fields: Iterable[str]
) -> dict[str, str]:
    """Returns the names of a table of which each row is a flag, a value or a segment."""
    quote = connection.ops.quote_name
    return {
        f"{kind}_table": quote(model._meta.db_table),
        f"{kind}_pk": quote(_column(model, "pk")),
        **_key_type(connection, f"{kind}_pk_type", model._meta.pk),
        **{f"{kind}_{name}": quote(_column(model, name)) for name in fields},
    }


def group_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the names of the groups of users; none where groups cannot be read."""
    fields = readable_groups(connection, conf.flag_model, user_field(conf.flag_model).model)
    return {} if isinstance(fields, str) else names_of_groups(connection, fields)


def names_of_groups(connection: BaseDatabaseWrapper, fields: GroupFields) -> dict[str, str]:
    """Returns the names of the groups with these fields."""
    quote = connection.ops.quote_name
    return {
        "membership_table": quote(fields.membership._meta.db_table),
        "membership_user": quote(_own_column(fields.user)),
        "membership_group": quote(_own_column(fields.group)),
        "membership_user_type": _pk_type(fields.user.db_type(connection)),
        **_key_type(connection, "membership_user_key_type", fields.user),
        "group_table": quote(fields.name.model._meta.db_table),
        "group_pk": quote(_own_column(fields.key)),
        **_key_type(connection, "group_pk_type", fields.key),
        "group_name": quote(_own_column(fields.name)),
    }


def optional_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the tables of the optional apps that are installed."""
    quote = connection.ops.quote_name
    return {
        placeholder: quote(model._meta.db_table)
        for of_app in TABLES
        for placeholder, model in of_app.items()
    }


def user_field(model: type[Model]) -> AnyField:
    """Returns the field of the user model that a flag model's `allowed_users` refers to."""
    allowed = _allowed_users(model)
    reference = through_model(allowed)._meta.get_field(allowed.m2m_reverse_field_name())
    return cast("ForeignKey[Model, Model]", reference).target_field


def sql(name: str, package: str = "flagstaff") -> str:
    """Returns the text of `sql/NAME.sql` in a package."""
    return (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def fill(template: str, names: Mapping[str, str]) -> str:
    """Replaces each `{placeholder}` in one pass: a name with braces is not a template."""
    return _PLACEHOLDER.sub(lambda match: names[match[1]], template)


def _allowed_users(model: type[Model]) -> ManyToManyField[Model, Model]:
    return cast("ManyToManyField[Model, Model]", _field(model, "allowed_users"))


def _column(model: type[Model], name: str) -> str:
    return _own_column(model._meta.pk if name == "pk" else _field(model, name))


def _own_column(field: object) -> str:
    column = getattr(field, "column", None)
    if not column:
        raise ConfigurationError(
            "{field} has no column, expected a field that is stored", field=str(field)
        )
    return str(column)


def _field(model: type[Model], name: str) -> AnyField:
    field = find_field(model, name)
    if field is None:
        raise ConfigurationError(
            "{model} has no field {name}; inherit from AbstractFeatureFlag or "
            "AbstractKeyValueStore, and install triggers after the migration that adds its fields",
            model=model._meta.label,
            name=name,
        )
    return field


def _pk_type(column_type: str | None) -> str:
    """Returns the type in which primary keys are read: `int8` for integers, else `text`."""
    return "int8" if _first_word(column_type) in _INTEGER_TYPES else "text"


def _key_type(connection: BaseDatabaseWrapper, placeholder: str, field: AnyField) -> dict[str, str]:
    """Returns the type in which keys of a column are compared, if it is one that engines know."""
    key_type = _KEY_TYPES.get(_first_word(field.db_type(connection)))
    return {placeholder: key_type} if key_type else {}


def _first_word(column_type: str | None) -> str:
    """Returns the name of a type without its length."""
    return re.sub(r"\(\d+\)", "", str(column_type).lower()).split()[0]


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


def value_or_default(problem: str, compute: Callable[[], Item], default: Item) -> Item:
    """Returns what `compute` returns. If it fails, logs the problem and returns `default`."""
    try:
        with savepoint():
            return compute()
    except Exception:
        logger.exception("%s", problem)
        return default


def savepoint() -> AbstractContextManager[None]:
    """Keeps a query that fails from ending the surrounding transaction."""
    database = db.alias
    is_in_block = connections[database].in_atomic_block
    return transaction.atomic(using=database) if is_in_block else nullcontext()
