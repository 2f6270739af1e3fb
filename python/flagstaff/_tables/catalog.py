"""Tables in PostgreSQL's catalog. Table names are resolved by the search path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = [
    "FoundTable",
    "current_schema",
    "find_table",
    "has_rows",
    "has_tables",
    "query_catalog",
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


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """Returns the quoted schema in which a new table is created, or "" without one."""
    for [schema] in query_catalog(connection, _CURRENT_SCHEMA):
        return str(schema or "")
    return ""


def has_tables(connection: BaseDatabaseWrapper, *tables: str) -> bool:
    """Whether this is PostgreSQL and all tables with these quoted names exist."""
    return connection.vendor == "postgresql" and all(
        find_table(connection, table) for table in tables
    )


def find_table(connection: BaseDatabaseWrapper, table: str) -> FoundTable | None:
    """Returns the table with this quoted name, or None."""
    for row in query_catalog(connection, _FIND_TABLE, table):
        return FoundTable(*row)
    return None


def has_rows(connection: BaseDatabaseWrapper, table: str) -> bool:
    """Whether the table with this quoted name has a row. Needs the right to read it."""
    [[found]] = query_catalog(connection, f"SELECT EXISTS (SELECT FROM {table})")  # noqa: S608 (quoted)
    return bool(found)


def query_catalog(
    connection: BaseDatabaseWrapper, query: str, *parameters: str
) -> list[tuple[Any, ...]]:
    """Returns the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
