"""What PostgreSQL's catalog says of our tables. A table is looked for along the search path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Found", "Trigger", "current_schema", "find_table", "triggers_of"]

# Functions are named with their schema, and casts choose PostgreSQL's own operators: others in the
# search path could fit the arguments better, and would be called with our rights.
_CURRENT_SCHEMA = "SELECT pg_catalog.quote_ident(pg_catalog.current_schema())"
_FIND_TABLE = """
    SELECT
        pg_catalog.quote_ident(nspname),
        pg_catalog.quote_ident(nspname) || '.' || pg_catalog.quote_ident(relname),
        pg_catalog.has_table_privilege(c.oid, 'SELECT'),
        pg_catalog.quote_ident(current_user)
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = pg_catalog.to_regclass(%s)::oid
"""
_TRIGGERS_OF = r"""
    SELECT t.tgname, t.tgenabled::text, pg_catalog.quote_ident(n.nspname), p.proname, t.tgargs
    FROM pg_catalog.pg_trigger AS t
    JOIN pg_catalog.pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
    WHERE t.tgrelid = pg_catalog.to_regclass(%s)::oid AND t.tgname::text LIKE 'flagstaff\_%%'
"""


@dataclass(frozen=True)
class Found:
    """A table that is there."""

    #: Its schema, and its name with that, both quoted.
    schema: str
    qualified: str
    may_read: bool
    #: The quoted name of who may or may not.
    role: str


@dataclass(frozen=True)
class Trigger:
    """A trigger of ours that is there."""

    name: str
    #: O in ordinary sessions, R in those that replicate, A in both, D in none.
    enabled: str
    #: The quoted schema of the function, and its name.
    schema: str
    function: str
    arguments: tuple[str, ...]


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """The quoted schema in which a table would be made; empty where there is none."""
    [[schema]] = _rows(connection, _CURRENT_SCHEMA)
    return schema or ""


def has_tables(connection: BaseDatabaseWrapper, *tables: str) -> bool:
    """Whether this is PostgreSQL and all of them, named as SQL names them, are there."""
    return connection.vendor == "postgresql" and all(
        find_table(connection, table) for table in tables
    )


def find_table(connection: BaseDatabaseWrapper, table: str) -> Found | None:
    """The table with this quoted name, if there is one."""
    for row in _rows(connection, _FIND_TABLE, table):
        return Found(*row)
    return None


def triggers_of(connection: BaseDatabaseWrapper, table: str) -> dict[str, Trigger]:
    """Our triggers on the table with this quoted name, by their names."""
    return {
        name: Trigger(name, enabled, schema, function, _arguments(packed))
        for name, enabled, schema, function, packed in _rows(connection, _TRIGGERS_OF, table)
    }


def _arguments(packed: bytes | memoryview) -> tuple[str, ...]:
    """Each argument ends with a zero byte."""
    return tuple(bytes(packed).decode(errors="replace").split("\0")[:-1])


def _rows(connection: BaseDatabaseWrapper, query: str, *parameters: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
