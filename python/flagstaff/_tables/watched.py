"""The watched tables: each change of them writes a change token and entries of the history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._stored_value_schema import SECRET_FIELDS
from flagstaff._tables.catalog import qualified
from flagstaff._tables.model_fields import auto_now_columns
from flagstaff._tables.names import flag_names, segment_names, value_names

_NO_COLUMNS = "''"
# The columns that are masked of a secret value, as the text of an array.
_SECRET_COLUMNS = "'{" + ",".join(SECRET_FIELDS) + "}'"


@dataclass(frozen=True)
class WatchedTable:
    """A watched table. All names are quoted, so that they can be put into a statement."""

    #: The model whose migrations create the table.
    model: type[Model]
    #: The table as the model names it, and with its schema.
    name: str
    table: str
    #: The relation of its tokens and entries: f, m, k or s.
    relation: str
    #: The columns of the primary key, or of the pair of flag and user.
    pk_columns: tuple[str, ...]
    #: The function of the history triggers, and its arguments after the relation.
    history_function: str
    arguments: tuple[str, ...]

    def placeholders(self) -> dict[str, str]:
        """Returns the values of the placeholders in `triggers_v1` and `drop_triggers_v1`."""
        return {
            "table": self.table,
            "relation": self.relation,
            "pk_columns": ", ".join(self.pk_columns),
            "history_function": self.history_function,
            "arguments": ", ".join(self.arguments),
        }


def watched_tables(
    connection: BaseDatabaseWrapper,
    flag_model: type[Model] | None,
    value_model: type[Model] | None,
    segment_model: type[Model] | None = None,
) -> Iterator[WatchedTable]:
    """Yields the watched tables of these models, which may be models of a migration's state.

    Queries the catalog for their schemas.
    """
    if flag_model:
        yield _flags(connection, flag_model)
        yield _allowed_users(connection, flag_model)
    if value_model:
        yield _values(connection, value_model)
    if segment_model:
        yield _segments(connection, segment_model)


def _flags(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = flag_names(connection, model)
    columns = (names["flag_pk"], names["flag_key"], _NO_COLUMNS)
    return _rows(connection, model, names["flag_table"], "f", columns)


def _values(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = value_names(connection, model)
    columns = (names["value_pk"], names["value_key"], _SECRET_COLUMNS)
    return _rows(connection, model, names["value_table"], "k", columns)


def _segments(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = segment_names(connection, model)
    columns = (names["segment_pk"], names["segment_key"], _NO_COLUMNS)
    return _rows(connection, model, names["segment_table"], "s", columns)


def _rows(
    connection: BaseDatabaseWrapper,
    model: type[Model],
    name: str,
    relation: str,
    columns: tuple[str, ...],
) -> WatchedTable:
    """A table of which each row is a flag, a value or a segment."""
    quote = connection.ops.quote_name
    arguments = (*columns, *map(quote, auto_now_columns(model)))
    table = qualified(connection, name)
    history = "flagstaff_row_history_v1"
    return WatchedTable(model, name, table, relation, columns[:1], history, arguments)


def _allowed_users(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = flag_names(connection, model)
    name = names["allowed_users_table"]
    flag_table = qualified(connection, names["flag_table"]).replace("'", "''")
    pair = (names["allowed_users_flag"], names["allowed_users_user"])
    arguments = (*pair, f"'{flag_table}'", names["flag_pk"], names["flag_key"])
    table = qualified(connection, name)
    history = "flagstaff_allowed_users_history_v1"
    return WatchedTable(model, name, table, "m", pair, history, arguments)
