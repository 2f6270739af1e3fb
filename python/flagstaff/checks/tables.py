"""Whether the tables are there, and may be read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import find_table
from flagstaff._tables.names import names
from flagstaff.checks.remedies import alias_to_migrate, is_migrating, migrate
from flagstaff.conf import conf

__all__ = ["check_tables", "check_tables_may_be_read"]

_READ = ("flag_table", "allowed_users_table", "value_table", "token_table")
_OF_POSTGRESQL = (
    *("token_table", "change_table", "usage_table", "usage_worker_table"),
    *("receiver_table", "delivery_table"),
)


def check_tables(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W013: a table is not there."""
    missing: dict[str, list[str]] = defaultdict(list)
    for place, table in _tables(connection):
        if not _is_there(connection, table):
            missing[_how_to_make_it(place)].append(table)
    return [
        Warning(
            f'tables are missing in database "{connection.alias}": {", ".join(tables)}',
            hint=hint,
            id="flagstaff.W013",
        )
        for hint, tables in missing.items()
        if hint
    ]


def check_tables_may_be_read(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W014: the role that connects may not read a table."""
    return [
        Warning(
            f'role {found.role} of database "{connection.alias}" may not read {found.qualified}',
            hint=f"let its owner run: GRANT SELECT ON {found.qualified} TO {found.role};",
            id="flagstaff.W014",
        )
        for place, table in _tables(connection)
        if place in _READ
        if (found := find_table(connection, table)) and not found.may_read
    ]


def _tables(connection: BaseDatabaseWrapper) -> Iterator[tuple[str, str]]:
    for place, name in names(connection).items():
        here = connection.vendor == "postgresql" or place not in _OF_POSTGRESQL
        if place.endswith("_table") and here:
            yield place, name


def _is_there(connection: BaseDatabaseWrapper, table: str) -> bool:
    if connection.vendor == "postgresql":
        return find_table(connection, table) is not None
    known = connection.introspection.table_names()
    return table in map(connection.ops.quote_name, known)


def _how_to_make_it(place: str) -> str:
    """The hint; empty where the table is just being made."""
    models = {"flag_table": conf.flag_model, "allowed_users_table": conf.flag_model}
    model = conf.value_model if place == "value_table" else models.get(place)
    app = model._meta.app_label if model else "flagstaff"
    alias = alias_to_migrate(model or conf.flag_model)
    if not router.allow_migrate(alias, app):
        return f'let DATABASE_ROUTERS allow {app} on "{alias}"; then {migrate(alias)}'
    return "" if is_migrating() else migrate(alias)
