"""The tables whose changes leave a token and a history, and what their triggers are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.catalog import current_schema, find_table
from flagstaff._tables.names import clocks, flag_names, value_names

__all__ = ["WatchedTable", "watched_tables"]

_NO_VALUE = "''"


@dataclass(frozen=True)
class WatchedTable:
    """A table to watch. Everything in it is quoted, to be put into a statement."""

    #: The model whose migrations make the table.
    model: type[Model]
    #: The table as the model names it, and with its schema.
    name: str
    table: str
    relation: str
    history: str
    #: What the history's triggers are told after the relation.
    arguments: tuple[str, ...]

    def places(self) -> dict[str, str]:
        """What the templates of the triggers ask for."""
        return {
            "table": self.table,
            "relation": self.relation,
            "history": self.history,
            "arguments": ", ".join(self.arguments),
        }


def watched_tables(
    connection: BaseDatabaseWrapper,
    flag_model: type[Model] | None,
    value_model: type[Model] | None,
) -> Iterator[WatchedTable]:
    """The tables of two models, each in the present or in a migration's state."""
    if flag_model:
        yield _flags(connection, flag_model)
        yield _allow_lists(connection, flag_model)
    if value_model:
        yield _values(connection, value_model)


def _flags(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = flag_names(connection, model)
    name, columns = names["flag_table"], (names["flag_pk"], names["flag_key"], _NO_VALUE)
    arguments = (*columns, *clocks(connection, model))
    table = _qualified(connection, name)
    return WatchedTable(model, name, table, "f", "flagstaff_row_history_v1", arguments)


def _allow_lists(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = flag_names(connection, model)
    name, columns = (
        names["allowed_users_table"],
        (names["allowed_users_flag"], names["allowed_users_user"]),
    )
    flags = _qualified(connection, names["flag_table"]).replace("'", "''")
    arguments = (*columns, f"'{flags}'", names["flag_pk"], names["flag_key"])
    table = _qualified(connection, name)
    return WatchedTable(model, name, table, "m", "flagstaff_allowed_users_history_v1", arguments)


def _values(connection: BaseDatabaseWrapper, model: type[Model]) -> WatchedTable:
    names = value_names(connection, model)
    name, columns = names["value_table"], (names["value_pk"], names["value_key"])
    arguments = (*columns, names["value_value"], *clocks(connection, model))
    table = _qualified(connection, name)
    return WatchedTable(model, name, table, "k", "flagstaff_row_history_v1", arguments)


def _qualified(connection: BaseDatabaseWrapper, table: str) -> str:
    """A quoted table name with its schema: where the table is, or where it would be made."""
    if found := find_table(connection, table):
        return found.qualified
    return table if '"."' in table else f"{current_schema(connection)}.{table}"
