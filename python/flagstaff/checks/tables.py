"""Checks that the tables exist and can be read, and that other roles cannot add to the schema."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import connections, router
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._extensions import optional_apps
from flagstaff._tables.catalog import FoundTable, find_table, table_exists
from flagstaff._tables.names import names, own_names
from flagstaff._tables.tenants import is_shared, share_hint, shared_schema, tenant_schema
from flagstaff.checks.hints import alias_to_migrate, is_migrating, migrate
from flagstaff.conf import conf

__all__ = [
    "check_row_security",
    "check_row_security_of_django",
    "check_schemas_are_closed",
    "check_tables",
    "check_tables_are_readable",
]

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
    "usage_worker_table": "usage cannot be read or is incomplete",
    "receiver_table": "webhooks are not delivered",
    "delivery_table": "webhooks are not delivered",
}


def check_tables(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W013: a table is missing."""
    missing: dict[str, list[str]] = defaultdict(list)
    for placeholder, table in _tables(connection):
        if not table_exists(connection, table):
            missing[_hint(placeholder)].append(table)
    return [
        Warning(
            f'tables are missing in database "{connection.alias}": {", ".join(tables)}',
            hint=hint,
            id="flagstaff.W013",
        )
        for hint, tables in missing.items()
        if hint
    ]


def check_tables_are_readable(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W014: the role of the connection may not read a table."""
    return [
        Warning(
            f'role {found.role} of database "{connection.alias}" may not read {found.qualified}',
            hint="as the owner of the table, run: "
            f"GRANT SELECT ON {found.qualified} TO {found.role};",
            id="flagstaff.W014",
        )
        for placeholder, table in _tables(connection)
        if placeholder in _READ_BY_THE_ENGINE
        if (found := find_table(connection, table)) and not found.may_read
    ]


def check_schemas_are_closed(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W021: every role may create objects in the schema of a table."""
    found = (find_table(connection, table) for _, table in _tables(connection))
    schemas = dict.fromkeys(table.schema for table in found if table and table.open_schema)
    return [
        Warning(
            f'every role may create objects in schema {schema} of database "{connection.alias}", '
            "so each of them can make Django call functions that it has created there, with the "
            "rights of Django's role",
            hint=f"as the owner of the schema, run: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
            id="flagstaff.W021",
        )
        for schema in schemas
    ]


def check_row_security(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W022: row level security can hide rows from the role of the connection."""
    return [
        Warning(
            f"row level security can hide rows of {found.qualified} in database "
            f'"{connection.alias}" from role {found.role}, so workers keep their last snapshot',
            hint="as the owner of the table, run: "
            f"ALTER TABLE {found.qualified} DISABLE ROW LEVEL SECURITY; "
            f"or as a superuser: ALTER ROLE {found.role} BYPASSRLS;",
            id="flagstaff.W022",
        )
        for placeholder, table in _tables(connection)
        if placeholder in _READ_BY_THE_ENGINE
        if (found := find_table(connection, table)) and found.hides_rows
    ]


def check_row_security_of_django(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W023: row level security can hide rows from Django's role or from the owner.

    The functions of the triggers run as the owner, to whom it applies if it is forced.
    """
    is_engine = connection.alias == conf.engine_database
    return [
        Warning(
            f"row level security can hide rows of {found.qualified} in database "
            f'"{connection.alias}" from role {role}, so {_IF_ROWS_ARE_HIDDEN[placeholder]}',
            hint="as the owner of the table, run: "
            f"ALTER TABLE {found.qualified} DISABLE ROW LEVEL SECURITY; "
            f"or as a superuser: ALTER ROLE {role} BYPASSRLS;",
            id="flagstaff.W023",
        )
        for placeholder, table in _tables(connection)
        if placeholder in _IF_ROWS_ARE_HIDDEN
        if (found := find_table(connection, table))
        for role in _roles_without_all_rows(found)
        # W022 reports the role of the engine.
        if not (is_engine and placeholder in _READ_BY_THE_ENGINE and role == found.role)
    ]


def _roles_without_all_rows(table: FoundTable) -> dict[str, None]:
    """Returns the quoted names of those roles that use the table: the current one, the owner."""
    candidates = {table.role: table.hides_rows, table.owner: table.hides_rows_from_owner}
    return dict.fromkeys(role for role, is_affected in candidates.items() if is_affected)


def _tables(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    """Yields the placeholder and the name of each table that this database should have."""
    # flagstaff's own tables are created on PostgreSQL only.
    absent = () if connection.vendor == "postgresql" else own_names(connection)
    for placeholder, name in names(connection).items():
        if placeholder.endswith("_table") and placeholder not in absent:
            yield placeholder, name


def _hint(placeholder: str) -> str:
    """Returns the hint, or "" if the running `migrate` creates the table."""
    models = {"flag_table": conf.flag_model, "allowed_users_table": conf.flag_model}
    model = conf.value_model if placeholder == "value_table" else models.get(placeholder)
    app = model._meta.app_label if model else _app_of(placeholder)
    alias = alias_to_migrate(model or conf.flag_model)
    connection = connections[alias]
    if shared_schema(connection) is not None and not is_shared(app):
        return f"{share_hint(app)}; then {migrate(alias)}"
    if tenant_schema(connection) is not None:
        return migrate(alias)
    if not router.allow_migrate(alias, app):
        allow = f'change allow_migrate in your router to allow {app} on "{alias}"'
        return f"{allow}; then {migrate(alias)}"
    return "" if is_migrating() else migrate(alias)


def _app_of(placeholder: str) -> str:
    """Returns the label of the app with this table: an optional one, or flagstaff itself."""
    owners = (app.label for app in optional_apps() if placeholder in app.table_names())
    return next(owners, "flagstaff")
