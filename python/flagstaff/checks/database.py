"""Checks that query the database. They run only for the databases that Django selects."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.checks.bucket_units import check_bucket_units
from flagstaff.checks.groups import check_groups, check_tables_of_groups
from flagstaff.checks.guard import with_valid_settings
from flagstaff.checks.keys import (
    check_forced_off_flags_exist,
    check_keys,
    check_keys_that_differ_in_case,
)
from flagstaff.checks.rules import check_rules
from flagstaff.checks.stored_rules import StoredRules
from flagstaff.checks.tables import (
    check_row_security,
    check_row_security_of_django,
    check_schemas_are_closed,
    check_tables,
    check_tables_are_readable,
)
from flagstaff.checks.tenants import check_tenants_have_no_tables
from flagstaff.checks.triggers import (
    check_functions_are_original,
    check_heirs_write_tokens,
    check_only_watched_tables_have_triggers,
    check_triggers_are_current,
    check_triggers_exist,
    check_triggers_fire,
)
from flagstaff.checks.visitors import check_visitors_have_middleware
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["check_database"]

DatabaseCheck = Callable[[BaseDatabaseWrapper], list[CheckMessage]]


def _check_stored_rules(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """Checks the rules, and the groups that they read."""
    stored = StoredRules.read(connection)
    return [*check_rules(stored), *check_groups(connection, stored)]


_ON_ANY_DATABASE: tuple[DatabaseCheck, ...] = (
    check_tables,
    check_keys,
    check_keys_that_differ_in_case,
    check_forced_off_flags_exist,
    _check_stored_rules,
    check_bucket_units,
    check_visitors_have_middleware,
)
_ON_POSTGRESQL = (
    check_triggers_exist,
    check_triggers_fire,
    check_triggers_are_current,
    check_only_watched_tables_have_triggers,
    check_heirs_write_tokens,
    check_functions_are_original,
    check_schemas_are_closed,
    check_row_security_of_django,
    check_tenants_have_no_tables,
)
_OF_THE_ENGINE = (check_tables_are_readable, check_row_security, check_tables_of_groups)


@with_valid_settings
def check_database(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """flagstaff.W012: cannot connect to the database. Otherwise runs all checks that query it."""
    found: list[CheckMessage] = []
    for alias, checks in _plan(databases or ()):
        connection = connections[alias]
        try:
            connection.ensure_connection()
        except Error as error:
            found.append(_not_connected(alias, error))
            continue
        found += _run(connection, checks)
    return found


def _plan(databases: Collection[str]) -> Iterator[tuple[str, tuple[DatabaseCheck, ...]]]:
    """Yields the aliases with their checks. Two aliases of one database are not checked twice."""
    aliases = dict.fromkeys((conf.database, conf.engine_database))
    selected = [alias for alias in aliases if alias in databases]
    for alias in selected:
        checks = _ON_ANY_DATABASE + _ON_POSTGRESQL if alias == selected[0] else ()
        yield alias, checks + _OF_THE_ENGINE * (alias == conf.engine_database)


def _run(
    connection: BaseDatabaseWrapper, checks: Collection[DatabaseCheck]
) -> Iterator[CheckMessage]:
    for check in checks:
        if check in _ON_ANY_DATABASE or connection.vendor == "postgresql":
            # E005 to E010 report a model that lacks a field.
            with suppress(ConfigurationError):
                yield from check(connection)


def _not_connected(alias: str, error: Error) -> CheckMessage:
    return Warning(
        f'cannot connect to database "{alias}": {str(error).strip()}',
        hint="start the database server, or correct its settings in DATABASES; then check again",
        id="flagstaff.W012",
    )
