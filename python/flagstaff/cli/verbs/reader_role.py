"""A read-only database role for workers: reader-role."""

from __future__ import annotations

from collections.abc import Mapping

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.catalog import find_table
from flagstaff._tables.names import fill, names, sql
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf

# The tables that the engine reads, by their placeholder in SQL templates.
_READ = (
    "flag_table",
    "allowed_users_table",
    "value_table",
    "segment_table",
    "membership_table",
    "group_table",
    "token_table",
    "plan_table",
    "experiment_table",
)


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument("role", metavar="ROLE", help="the name of the role")
    parser.add_argument(
        "--connections",
        type=int,
        default=200,
        metavar="LIMIT",
        help="the connection limit of the role, by default 200",
    )


def _run(options: Options, out: Output) -> None:
    connection = connections[conf.database]
    if not is_postgresql(connection):
        raise CommandError("reader-role needs PostgreSQL", returncode=FAILED)
    placeholders = {
        **_placeholders(connection),
        "role": _quoted(options["role"], "role"),
        "connections": str(options["connections"]),
    }
    script = fill(sql("reader_role_v1"), placeholders)
    if out.is_json:
        out.document({"role": options["role"], "sql": script})
    else:
        out.line(script.rstrip("\n"))


def _placeholders(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    known = names(connection)
    tables = [_table(connection, known[name]) for name in _READ if name in known]
    database = str(connection.get_connection_params()["dbname"])
    return {
        "database": _quoted(database, "database"),
        "schemas": ", ".join(dict.fromkeys(schema for schema, _ in tables)),
        "tables": ",\n    ".join(qualified for _, qualified in tables),
    }


def _table(connection: BaseDatabaseWrapper, table: str) -> tuple[str, str]:
    """Returns the schema of a table, and the table with its schema. Raises CommandError."""
    known_table = find_table(connection, table)
    if known_table is None:
        message = f'the table {table} does not exist; run "manage.py migrate"'
        raise CommandError(message, returncode=FAILED)
    return known_table.schema, known_table.qualified


def _quoted(name: str, thing: str) -> str:
    """Returns the quoted identifier. Refuses line breaks: one would end a comment in the script."""
    if not name.isprintable() or not name:
        raise CommandError(
            f"the name of the {thing} is {name!a}; use a name of printable characters",
            returncode=FAILED,
        )
    return '"' + name.replace('"', '""') + '"'


READER_ROLE = Verb(
    name="reader-role",
    help="print the SQL that creates a read-only role for workers",
    examples=("reader-role flagstaff_reader", "reader-role flagstaff_reader --connections 500"),
    add_arguments=_add_arguments,
    run=_run,
    topic=Topic.UPKEEP,
)
