"""Tables in PostgreSQL's catalog. Table names are resolved by the search path."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection import is_postgresql
from flagstaff._text import Sentence, say

# Functions and operators are schema-qualified: others in the search path could match the arguments
# better, and would run with our privileges.
_CURRENT_SCHEMA = "SELECT pg_catalog.quote_ident(pg_catalog.current_schema())"
_FIND_TABLES = """
    SELECT
        given.name,
        pg_catalog.quote_ident(nspname),
        pg_catalog.concat(
            pg_catalog.quote_ident(nspname), '.', pg_catalog.quote_ident(relname)
        ),
        pg_catalog.has_table_privilege(c.oid, 'SELECT'),
        pg_catalog.quote_ident(current_user),
        pg_catalog.row_security_active(c.oid),
        pg_catalog.has_schema_privilege('public', n.oid, 'CREATE'),
        pg_catalog.quote_ident(r.rolname),
        c.relforcerowsecurity AND c.relrowsecurity AND NOT (r.rolsuper OR r.rolbypassrls),
        c.oid
    FROM pg_catalog.unnest(%s::text[]) AS given (name)
    JOIN pg_catalog.pg_class AS c
        ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(given.name)::oid
    JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) c.relowner
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
"""
_FOREIGN_OBJECTS = """
    SELECT
        pg_catalog.concat(
            pg_catalog.quote_ident(n.nspname), '.', pg_catalog.quote_ident(o.name)
        ),
        pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)),
        pg_catalog.quote_ident(current_user)
    FROM (
        SELECT relname AS name, relowner AS owner, relnamespace AS namespace
        FROM pg_catalog.pg_class
        UNION ALL
        SELECT proname, proowner, pronamespace FROM pg_catalog.pg_proc
    ) AS o
    JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) o.namespace
    WHERE pg_catalog.quote_ident(n.nspname) OPERATOR(pg_catalog.=) %s
        AND o.name::text OPERATOR(pg_catalog.=) ANY (%s)
        AND pg_catalog.pg_get_userbyid(o.owner) OPERATOR(pg_catalog.<>) current_user
        AND pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(o.owner)) OPERATOR(pg_catalog.<>) %s
    ORDER BY 1
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
    #: The quoted name of its owner, and whether row level security can hide rows from it.
    owner: str
    hides_rows_from_owner: bool
    oid: int


@dataclass(frozen=True)
class ForeignObject:
    """A table, an index or a function of another role, with the name of one of ours."""

    #: Its quoted name with the schema, the quoted name of its owner, and that of the current role.
    qualified: str
    owner: str
    role: str


def current_schema(connection: BaseDatabaseWrapper) -> str:
    """Returns the quoted schema in which a new table is created, or "" without one."""
    for [schema] in query_catalog(connection, _CURRENT_SCHEMA):
        return str(schema or "")
    return ""


def why_unavailable(connection: BaseDatabaseWrapper, *tables: str) -> Sentence | None:
    """Returns why not all rows of the tables with these quoted names can be read, or None.

    One query.
    """
    by_name = find_tables(connection, *tables) if is_postgresql(connection) else {}
    for table in tables:
        if table not in by_name:
            return say('use PostgreSQL and run "manage.py migrate"')
        if by_name[table].hides_rows:
            return why_hidden(by_name[table])
    return None


def why_hidden(table: FoundTable) -> Sentence:
    """Returns that row level security can hide rows from the current role, and what to do."""
    return say(
        "row level security can hide rows of {table} from role {role}; as the owner of the table, "
        "run: ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; or as a superuser: ALTER ROLE "
        "{role} BYPASSRLS;",
        table=table.qualified,
        role=table.role,
    )


def find_table(connection: BaseDatabaseWrapper, table: str) -> FoundTable | None:
    """Returns the table with this quoted name, or None."""
    return find_tables(connection, table).get(table)


def find_tables(connection: BaseDatabaseWrapper, *tables: str) -> dict[str, FoundTable]:
    """Returns those of the tables with these quoted names that exist, by name. One query."""
    rows = query_catalog(connection, _FIND_TABLES, [*tables])
    return {name: FoundTable(*row) for name, *row in rows}


def qualified(connection: BaseDatabaseWrapper, table: str) -> str:
    """Returns a quoted name with its schema: where the table is, or where it would be created."""
    if existing := find_table(connection, table):
        return existing.qualified
    return table if '"."' in table else f"{current_schema(connection)}.{table}"


def foreign_objects(
    connection: BaseDatabaseWrapper, schema: str, names: Collection[str], *, trusted: str = ""
) -> list[ForeignObject]:
    """Returns objects with these names that belong neither to the current role nor to `trusted`.

    `schema` and `trusted` are quoted, `names` are not.
    """
    rows = query_catalog(connection, _FOREIGN_OBJECTS, schema, [*names], trusted)
    return [ForeignObject(*row) for row in rows]


def query_catalog(
    connection: BaseDatabaseWrapper, query: str, *parameters: str | list[str]
) -> list[tuple[Any, ...]]:
    """Returns the rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
