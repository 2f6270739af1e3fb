"""The system checks: each reports what will not work, and its hint is what to do."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from django.core.checks import CheckMessage
from django.db import connections

from flagstaff._connection import is_postgresql, is_supported
from flagstaff._tables.database import db
from flagstaff.checks.database import may_migrate, row_messages, table_messages
from flagstaff.checks.project import (
    managers_that_hide_rows,
    missing_middleware,
    models_that_differ,
    models_written_elsewhere,
    unknown_keys_in_code,
    unsupported_connection_parameters,
    unsupported_databases,
    wrong_settings,
)
from flagstaff.conf import conf
from flagstaff.extensions import CHECKS, DATABASE_CHECKS


def project_messages(databases: Collection[str] | None = None) -> list[CheckMessage]:
    """Returns the messages of the checks that do not connect. They run with every command.

    Only that of the project's code reads rows, if the database of the flags is checked.
    """
    messages = [*wrong_settings()]
    if conf.problems():  # the other checks read the settings
        return messages
    return [
        *messages,
        *unsupported_databases(),
        *unsupported_connection_parameters(),
        *models_written_elsewhere(),
        *models_that_differ(),
        *managers_that_hide_rows(),
        *missing_middleware(),
        *unknown_keys_in_code(databases),
        *chain.from_iterable(check() for check in CHECKS),
    ]


def database_messages(databases: Collection[str] | None) -> list[CheckMessage]:
    """Returns the messages about those of the databases that flagstaff uses. Queries them."""
    if conf.problems() or any(models_that_differ()):
        return []
    aliases = dict.fromkeys((db.alias, conf.engine_database))
    selected = [connections[alias] for alias in aliases if alias in (databases or ())]
    messages: list[CheckMessage] = []
    for connection in filter(is_postgresql, selected):
        if not may_migrate(connection):
            messages += table_messages(connection, is_first=connection is selected[0])
    for connection in filter(is_supported, selected[:1]):
        messages += row_messages(connection)
    if db.alias in (databases or ()) and is_supported(db.connection):
        messages += chain.from_iterable(check() for check in DATABASE_CHECKS)
    return messages
