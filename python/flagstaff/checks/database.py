"""What only the database can tell. It is asked where Django was told to, and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff.checks.guard import with_usable_settings
from flagstaff.checks.keys import check_keys
from flagstaff.checks.tables import check_tables, check_tables_may_be_read
from flagstaff.checks.triggers import (
    check_triggers_are_current,
    check_triggers_are_there,
    check_triggers_fire,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = ["check_database"]

DatabaseCheck = Callable[[BaseDatabaseWrapper], list[CheckMessage]]

_ANYWHERE: tuple[DatabaseCheck, ...] = (check_tables, check_keys)
_ON_POSTGRESQL = (check_triggers_are_there, check_triggers_fire, check_triggers_are_current)


@with_usable_settings
def check_database(
    *, databases: Collection[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """flagstaff.W012: the database does not answer. If it does: all checks that ask it."""
    found: list[CheckMessage] = []
    for alias, checks in _plan(databases or ()):
        connection = connections[alias]
        try:
            connection.ensure_connection()
        except Error as error:
            found.append(_no_answer(alias, error))
            continue
        found += _ask(connection, checks)
    return found


def _plan(databases: Collection[str]) -> Iterator[tuple[str, tuple[DatabaseCheck, ...]]]:
    """Whom to ask what. Two aliases may lead to one database, only one of which the engine has."""
    aliases = dict.fromkeys((conf.database, conf.engine_database))
    given = [alias for alias in aliases if alias in databases]
    for alias in given:
        checks = _ANYWHERE + _ON_POSTGRESQL if alias == given[0] else ()
        yield alias, checks + (check_tables_may_be_read,) * (alias == conf.engine_database)


def _ask(
    connection: BaseDatabaseWrapper, checks: Collection[DatabaseCheck]
) -> Iterator[CheckMessage]:
    for check in checks:
        if check in _ANYWHERE or connection.vendor == "postgresql":
            # A model that lacks a field has no table to ask for: E005 to E010 tell of that.
            with suppress(ConfigurationError):
                yield from check(connection)


def _no_answer(alias: str, error: Error) -> CheckMessage:
    return Warning(
        f'database "{alias}" does not answer: {str(error).strip()}',
        hint="start it, or mend its settings in DATABASES; then run this check again",
        id="flagstaff.W012",
    )
