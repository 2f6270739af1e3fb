from __future__ import annotations

from collections.abc import Mapping

from django.core.management.base import CommandError, CommandParser
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import FoundTable, find_table
from flagstaff._tables.names import fill, names, sql
from flagstaff.cli.errors import FAILED
from flagstaff.cli.output import Output
from flagstaff.cli.parsers import Options
from flagstaff.conf import conf

__all__ = ["EXAMPLES", "HELP", "add_arguments", "run"]

HELP = "print the SQL that makes a role for the engine, which may only read"
EXAMPLES = (
    "reader-role flagstaff_reader",
    "reader-role flagstaff_reader --connections 500",
)

# What the engine reads, by its place in the templates.
_READ = ("flag_table", "allowed_users_table", "value_table", "token_table")


def add_arguments(parser: CommandParser) -> None:
    """Give the parser the role and its limit."""
    parser.add_argument("role", metavar="ROLE", help="the name of the role")
    parser.add_argument(
        "--connections",
        type=int,
        default=200,
        metavar="LIMIT",
        help="how many connections it may have, by default 200",
    )


def run(options: Options, out: Output) -> None:
    """Print the script, for the tables of this project. It changes nothing."""
    connection = connections[conf.database]
    if connection.vendor != "postgresql":
        raise CommandError("roles are made for the engine, on PostgreSQL", returncode=FAILED)
    places = {
        **_places(connection),
        "role": _quoted(options["role"]),
        "connections": str(options["connections"]),
    }
    script = fill(sql("reader_role_v1"), places)
    if out.is_json:
        out.document({"role": options["role"], "sql": script})
    else:
        out.line(script.rstrip("\n"))


def _places(connection: BaseDatabaseWrapper) -> Mapping[str, str]:
    tables = [_found(connection, names(connection)[place]) for place in _READ]
    return {
        "database": _quoted(str(connection.get_connection_params()["dbname"])),
        "schemas": ", ".join(dict.fromkeys(table.schema for table in tables)),
        "tables": ",\n    ".join(table.qualified for table in tables),
    }


def _found(connection: BaseDatabaseWrapper, table: str) -> FoundTable:
    found = find_table(connection, table)
    if found is None:
        message = f'there is no table {table}; "manage.py migrate" makes it'
        raise CommandError(message, returncode=FAILED)
    return found


def _quoted(name: str) -> str:
    """As PostgreSQL's quote_ident, always with quotes. A line break would end a comment."""
    if not name.isprintable() or not name:
        raise CommandError("a role has a printable name", returncode=FAILED)
    return '"' + name.replace('"', '""') + '"'
