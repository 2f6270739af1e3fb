"""Checks that the tables exist once, can be read, and that other roles cannot add to the schema."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.catalog import FoundTable, find_table, query_catalog, table_exists
from flagstaff._tables.names import names, own_names
from flagstaff.checks.check import Problem
from flagstaff.checks.database import Database
from flagstaff.checks.hints import (
    alias_to_migrate,
    is_migrating,
    migrate,
)
from flagstaff.conf import conf
from flagstaff.extensions import model_of

_READ_BY_THE_ENGINE = (
    "flag_table",
    "allowed_users_table",
    "value_table",
    "segment_table",
    "token_table",
    "plan_table",
    "experiment_table",
)
#: What happens if row level security applies to Django's role or to the owner of the functions.
_IF_ROWS_ARE_HIDDEN = {
    "flag_table": "the admin and the history are incomplete",
    "allowed_users_table": "the admin and the history are incomplete",
    "value_table": "the admin and the history are incomplete",
    "segment_table": "the admin and the history are incomplete",
    "plan_table": "rollout plans are not driven",
    "experiment_table": "experiments give the default of the call",
    "token_table": "changes of flags can fail",
    "change_table": "the history cannot be read or lacks entries",
    "usage_table": "usage cannot be read or is incomplete",
    "report_table": "lost workers are not found",
    "worker_table": "it is not known which workers have applied a change",
}


def encodings_but_utf8(database: Database) -> Iterator[Problem]:
    """Yields the database if its texts are in another encoding."""
    if database.encoding != "UTF8":
        alias = database.connection.alias
        yield Problem(f'database "{alias}" is in the encoding {database.encoding}')


def missing_tables(database: Database) -> Iterator[Problem]:
    """Yields the tables that are missing."""
    connection = database.connection
    missing: dict[str, list[str]] = defaultdict(list)
    for placeholder, table in _tables(connection):
        if not table_exists(connection, table):
            missing[_hint(placeholder)].append(table)
    for hint, tables in missing.items():
        if hint:
            shown = ", ".join(tables)
            yield Problem(
                f'tables are missing in database "{connection.alias}": {shown}', hint=hint
            )


def unreadable_tables(database: Database) -> Iterator[Problem]:
    """Yields the tables that the role of the connection may not read."""
    alias = database.connection.alias
    for _, table in _existing(database, _READ_BY_THE_ENGINE):
        if not table.may_read:
            yield Problem(
                f'role {table.role} of database "{alias}" may not read {table.qualified}',
                table=table.qualified,
                role=table.role,
            )


def open_schemas(database: Database) -> Iterator[Problem]:
    """Yields the schemas of tables in which every role may create objects."""
    schemas = (table.schema for _, table in _existing(database) if table.open_schema)
    for schema in dict.fromkeys(schemas):
        yield Problem(
            f"every role may create objects in schema {schema} of database "
            f'"{database.connection.alias}", so each of them can make Django call functions that '
            "it has created there, with the rights of Django's role",
            schema=schema,
        )


def rows_hidden_from_workers(database: Database) -> Iterator[Problem]:
    """Yields the tables whose rows row level security can hide from the connection's role."""
    for _, table in _existing(database, _READ_BY_THE_ENGINE):
        if table.hides_rows:
            yield _hidden(database, table, table.role, "workers keep their last snapshot")


def rows_hidden_from_django(database: Database) -> Iterator[Problem]:
    """Yields the tables whose rows row level security can hide from Django's role or the owner.

    The functions of the triggers run as the owner, to whom it applies if it is forced.
    """
    is_engine = database.connection.alias == conf.engine_database
    for placeholder, table in _existing(database, _IF_ROWS_ARE_HIDDEN):
        for role in _roles_without_all_rows(table):
            # W022 reports the role of the engine.
            if not (is_engine and placeholder in _READ_BY_THE_ENGINE and role == table.role):
                yield _hidden(database, table, role, _IF_ROWS_ARE_HIDDEN[placeholder])


def sequence_behind_the_history(database: Database) -> Iterator[Problem]:
    """Yields that new entries of the history would have ids below those of older ones."""
    for _, table in _existing(database, ("change_table",)):
        # Only a role with rights on both can compare them.
        query = f"""
            SELECT pg_catalog.max(id) OPERATOR(pg_catalog.>) CASE
                WHEN pg_catalog.has_sequence_privilege(own.sequence, 'SELECT')
                THEN COALESCE(pg_catalog.pg_sequence_last_value(own.sequence::regclass), 0) END
            FROM {table.qualified}, (
                SELECT pg_catalog.pg_get_serial_sequence('{table.in_quotes}', 'id') AS sequence
            ) AS own
            GROUP BY own.sequence
        """  # noqa: S608 (quoted)
        if table.may_read and (True,) in query_catalog(database.connection, query):
            yield Problem(
                f"the sequence of {table.qualified} is lower than the highest id in the table, so "
                "new entries are sorted among older ones, and a change may not be noticed",
                statement=table.set_sequence,
            )


def _hidden(database: Database, table: FoundTable, role: str, effect: str) -> Problem:
    return Problem(
        f"row level security can hide rows of {table.qualified} in database "
        f'"{database.connection.alias}" from role {role}, so {effect}',
        table=table.qualified,
        role=role,
    )


def _existing(
    database: Database, placeholders: Container[str] | None = None
) -> Iterator[tuple[str, FoundTable]]:
    """Yields the tables that exist, all or those of some placeholders. W013 reports the others."""
    for placeholder, name in _tables(database.connection):
        if placeholders is None or placeholder in placeholders:
            table = find_table(database.connection, name)
            if table:
                yield placeholder, table


def _roles_without_all_rows(table: FoundTable) -> dict[str, None]:
    """Returns the quoted names of those roles that use the table: the current one, the owner."""
    candidates = {table.role: table.hides_rows, table.owner: table.hides_rows_from_owner}
    return dict.fromkeys(role for role, is_affected in candidates.items() if is_affected)


def _tables(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """Yields the placeholder and the name of each table that this database should have."""
    # flagstaff's own tables are created on PostgreSQL only.
    absent = () if is_postgresql(connection) else own_names(connection)
    for placeholder, name in names(connection).items():
        if placeholder.endswith("_table") and placeholder not in absent:
            yield placeholder, name


def _hint(placeholder: str) -> str:
    """Returns the hint, or "" if the running `migrate` creates the table."""
    models = {"flag_table": conf.flag_model, "allowed_users_table": conf.flag_model}
    model = conf.value_model if placeholder == "value_table" else models.get(placeholder)
    app = model._meta.app_label if model else _app_of(placeholder)
    alias = alias_to_migrate(model or conf.flag_model)
    if not router.allow_migrate(alias, app):
        allow = f'change allow_migrate in your router to allow {app} on "{alias}"'
        return f"{allow}; then {migrate(alias)}"
    return "" if is_migrating() else migrate(alias)


def _app_of(placeholder: str) -> str:
    """Returns the label of the app with this table: an optional one, or flagstaff itself."""
    model = model_of(placeholder)
    return model._meta.app_label if model else "flagstaff"
