"""What PostgreSQL's catalog says of our tables. A table is looked for along the search path."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["Found", "Trigger", "current_schema", "find_table", "triggers_of"]

_CURRENT_SCHEMA = "SELECT quote_ident(current_schema())"
_FIND_TABLE = """
    SELECT
        quote_ident(nspname),
        quote_ident(nspname) || '.' || quote_ident(relname),
        has_table_privilege(c.oid, 'SELECT'),
        quote_ident(current_user)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(%s)
"""
_TRIGGERS_OF = r"""
    SELECT t.tgname, t.tgenabled::text, quote_ident(n.nspname), p.proname, t.tgargs
    FROM pg_trigger AS t
    JOIN pg_proc AS p ON p.oid = t.tgfoid
    JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE t.tgrelid = to_regclass(%s) AND t.tgname LIKE 'flagstaff\_%%'
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
