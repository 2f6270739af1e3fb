"""The triggers of flagstaff in PostgreSQL's catalog, and the functions that they call."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import query_catalog
from flagstaff._tables.names import sql

_TABLES_WITH_TRIGGERS = r"""
    SELECT
        pg_catalog.concat(
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(c.relname)
        ) AS qualified,
        pg_catalog.array_agg(pg_catalog.quote_ident(t.tgname) ORDER BY t.tgname::text),
        pg_catalog.has_table_privilege(c.oid, 'SELECT')
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.tgrelid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    JOIN pg_catalog.pg_namespace AS f ON f.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE p.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_%%'
        AND pg_catalog.quote_ident(f.nspname) OPERATOR(pg_catalog.=) %s
    GROUP BY n.nspname, c.relname, c.oid
    ORDER BY qualified
"""


@dataclass(frozen=True)
class Trigger:
    """A trigger of flagstaff that exists."""

    name: str
    #: When it fires: O in ordinary sessions, R in replicating ones, A in both, D in none.
    enabled: str
    #: The bits of the events after which it fires once for each statement, whatever that changes.
    events: int
    #: The quoted schema of its function, and the name of the function.
    schema: str
    function: str
    arguments: tuple[str, ...]
    #: Whether the function, and the one that it calls, are those that were installed.
    is_original: bool

    @property
    def fires(self) -> bool:
        """Whether it fires in ordinary sessions."""
        return self.enabled in {"A", "O"}


#: By name.
Triggers: TypeAlias = dict[str, Trigger]


@dataclass(frozen=True)
class FamilyTriggers:
    """The triggers of flagstaff on a table and on those that inherit from it."""

    own: Triggers
    #: By the quoted name of the table with its schema. Partitions are included.
    heirs: dict[str, Triggers]


@dataclass(frozen=True)
class TableWithTriggers:
    """A table with triggers that call functions of flagstaff. All names are quoted."""

    #: The table with its schema.
    table: str
    triggers: tuple[str, ...]
    may_read: bool


def triggers_of(connection: BaseDatabaseWrapper, table: str) -> FamilyTriggers:
    """Returns the triggers of flagstaff on the table with this quoted name, and on its heirs."""
    return triggers_of_tables(connection, [table])[table]


def triggers_of_tables(
    connection: BaseDatabaseWrapper, tables: Collection[str]
) -> dict[str, FamilyTriggers]:
    """Returns the triggers of each of the tables with these quoted names. One query."""
    found = {table: FamilyTriggers({}, {}) for table in tables}
    rows = query_catalog(connection, sql("triggers_of_v1"), [*tables])
    for table, qualified, is_heir, name, *trigger in rows:
        family = found[table]
        triggers = family.heirs.setdefault(qualified, {}) if is_heir else family.own
        if name is not None:
            triggers[name] = _trigger(name, trigger)
    return found


def replaced_functions(connection: BaseDatabaseWrapper, schema: str) -> list[str]:
    """Returns the functions in this quoted schema whose body is not the one that was installed."""
    return [name for [name] in query_catalog(connection, sql("replaced_functions_v1"), schema)]


def tables_with_triggers(
    connection: BaseDatabaseWrapper, function_schema: str
) -> list[TableWithTriggers]:
    """Returns all tables whose triggers call flagstaff's functions in this quoted schema."""
    rows = query_catalog(connection, _TABLES_WITH_TRIGGERS, function_schema)
    return [TableWithTriggers(table, (*names,), may_read) for table, names, may_read in rows]


def _trigger(name: str, row: list[Any]) -> Trigger:
    enabled, events, schema, function, packed, is_original = row
    # Each argument ends with a zero byte.
    arguments = bytes(packed).decode(errors="replace").split("\0")[:-1]
    return Trigger(name, enabled, events, schema, function, tuple(arguments), is_original)
