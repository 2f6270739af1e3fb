"""Tables and triggers in PostgreSQL's catalog. Table names are resolved by the search path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "FoundTable",
    "TableWithTriggers",
    "Trigger",
    "current_schema",
    "find_table",
    "has_rows",
    "has_tables",
    "tables_with_triggers",
    "triggers_of",
]

# Functions and operators are schema-qualified: others in the search path could match the arguments
# better, and would run with our privileges.
_CURRENT_SCHEMA = "SELECT pg_catalog.quote_ident(pg_catalog.current_schema())"
_FIND_TABLE = """
    SELECT
        pg_catalog.quote_ident(nspname),
        pg_catalog.concat(
            pg_catalog.quote_ident(nspname), '.', pg_catalog.quote_ident(relname)
        ),
        pg_catalog.has_table_privilege(c.oid, 'SELECT'),
        pg_catalog.quote_ident(current_user),
        pg_catalog.row_security_active(c.oid),
        pg_catalog.has_schema_privilege('public', n.oid, 'CREATE'),
        c.oid
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::oid
"""
# By name or by function, because either can be renamed.
_TRIGGERS_OF = r"""
    SELECT t.tgname, t.tgenabled::text, pg_catalog.quote_ident(n.nspname), p.proname, t.tgargs
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace
    WHERE t.tgrelid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(%s)::oid
        AND (
            t.tgname::text OPERATOR(pg_catalog.~~) 'flagstaff\_%%'
            OR p.proname::text OPERATOR(pg_catalog.~~) 'flagstaff\_%%'
        )
"""

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
class TableWithTriggers:
    """A table with triggers that call functions of flagstaff. All names are quoted."""

    #: The table with its schema.
    table: str
    triggers: tuple[str, ...]
    may_read: bool


@dataclass(frozen=True)
class FoundTable:
    """A table that exists."""

    #: The quoted name of its schema, and its quoted name with the schema.
    schema: str
    qualified: str
    may_read: bool
    #: The quoted name of the current role, to which `may_read` and `hides_rows` apply.
    role: str
    #: Whether row level security can hide rows.
    hides_rows: bool
    #: Whether every role may create objects in the schema.
    open_schema: bool
    oid: int


@dataclass(frozen=True)
class Trigger:
    """A trigger of flagstaff that exists."""

    name: str
    #: When it fires: O in ordinary sessions, R in replicating ones, A in both, D in none.
    enabled: str
    #: The quoted schema of its function, and the name of the function.
    schema: str
    function: str
    arguments: tuple[str, ...]

    @property
    def fires(self) -> bool:
        """Whether it fires in ordinary sessions."""
        return self.enabled in {"A", "O"}


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """Returns the quoted schema in which a new table is created, or "" without one."""
    for [schema] in _rows(connection, _CURRENT_SCHEMA):
        return str(schema or "")
    return ""


def has_tables(connection: BaseDatabaseWrapper, *tables: str) -> bool:
    """Whether this is PostgreSQL and all tables with these quoted names exist."""
    return connection.vendor == "postgresql" and all(
        find_table(connection, table) for table in tables
    )


def find_table(connection: BaseDatabaseWrapper, table: str) -> FoundTable | None:
    """Returns the table with this quoted name, or None."""
    for row in _rows(connection, _FIND_TABLE, table):
        return FoundTable(*row)
    return None


def triggers_of(connection: BaseDatabaseWrapper, table: str) -> dict[str, Trigger]:
    """Returns the triggers of flagstaff on the table with this quoted name, by their names."""
    found = (_trigger(*row) for row in _rows(connection, _TRIGGERS_OF, table))
    return {trigger.name: trigger for trigger in found}


def tables_with_triggers(
    connection: BaseDatabaseWrapper, function_schema: str
) -> list[TableWithTriggers]:
    """Returns all tables whose triggers call flagstaff's functions in this quoted schema."""
    rows = _rows(connection, _TABLES_WITH_TRIGGERS, function_schema)
    return [TableWithTriggers(table, (*names,), may_read) for table, names, may_read in rows]


def has_rows(connection: BaseDatabaseWrapper, table: str) -> bool:
    """Whether the table with this quoted name has a row. Needs the right to read it."""
    [[found]] = _rows(connection, f"SELECT EXISTS (SELECT FROM {table})")  # noqa: S608 (quoted)
    return bool(found)


def _trigger(
    name: str, enabled: str, schema: str, function: str, packed: bytes | memoryview
) -> Trigger:
    # Each argument ends with a zero byte.
    arguments = bytes(packed).decode(errors="replace").split("\0")[:-1]
    return Trigger(name, enabled, schema, function, tuple(arguments))


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
