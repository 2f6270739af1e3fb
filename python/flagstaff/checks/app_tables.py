"""Checks the table of an optional app of which workers notice changes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from django.core.checks import CheckMessage
from django.db import Error, connections, transaction
from django.db.models import Model

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.catalog import table_exists
from flagstaff._tables.found_triggers import triggers_of
from flagstaff._tables.triggers import expected_triggers
from flagstaff.checks.check import Check, Problem
from flagstaff.checks.hints import INSTALL_AGAIN
from flagstaff.conf import conf


def app_messages(
    model: type[Model], checks: Iterable[Check], databases: Collection[str] | None
) -> list[CheckMessage]:
    """Returns the messages of checks that query the table of an app's model.

    None without the flags' database among `databases`, or without the table.
    """
    if conf.problems() or conf.database not in (databases or ()):
        return []
    connection = connections[conf.database]
    if not is_postgresql(connection):
        return []
    try:
        with transaction.atomic(using=conf.database):
            # W013 reports a missing table.
            if not table_exists(connection, connection.ops.quote_name(model._meta.db_table)):
                return []
            return [message for check in checks for message in check.messages()]
    except Error:
        # W012 reports a database that cannot be reached, W014 a table that cannot be read.
        return []


def unwatched_table(model: type[Model], rows: str) -> Iterator[Problem]:
    """Yields that a table lacks token triggers; `rows` are its rows, such as "rollout plans"."""
    connection = connections[conf.database]
    table = connection.ops.quote_name(model._meta.db_table)
    found = triggers_of(connection, table).own
    always = {name for name, trigger in found.items() if trigger.enabled == "A"}
    silent = [name for name in expected_triggers("token_trigger_v1") if name not in always]
    if silent:
        yield Problem(
            f"triggers on {table} are missing or disabled: {', '.join(silent)}; workers do not "
            f"notice all changes of {rows}",
            hint=INSTALL_AGAIN,
        )
