"""Checks the table of an optional app of which workers notice changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from flagstaff._tables.catalog import table_exists
from flagstaff._tables.found_triggers import triggers_of
from flagstaff.conf import conf

__all__ = ["AppTable"]

_TRIGGER = "flagstaff_token_v1"


@dataclass(frozen=True)
class AppTable:
    """A table with a token trigger, whose migration ends with the trigger."""

    model: type[Model]
    #: What the rows are, such as "rollout plans".
    rows: str
    #: The app and the name of the migration.
    migration: str
    #: The id of the message about the trigger.
    id: str

    def check(
        self,
        databases: Collection[str] | None,
        others: Callable[[], Iterable[CheckMessage]],
    ) -> list[CheckMessage]:
        """Returns the message about the trigger and those of `others`, which may query the table.

        Nothing without the flags' database among `databases`, or without the table.
        """
        if conf.problems() or conf.database not in (databases or ()):
            return []
        connection = connections[conf.database]
        if connection.vendor != "postgresql":
            return []
        try:
            with transaction.atomic(using=conf.database):
                table = connection.ops.quote_name(self.model._meta.db_table)
                # W013 reports a missing table.
                if not table_exists(connection, table):
                    return []
                return [*self._unwatched(connection, table), *others()]
        except Error:
            # W012 reports a database that cannot be reached, W014 a table that cannot be read.
            return []

    def _unwatched(self, connection: BaseDatabaseWrapper, table: str) -> list[CheckMessage]:
        trigger = triggers_of(connection, table).own.get(_TRIGGER)
        if trigger is not None and trigger.enabled == "A":
            return []
        alias = "" if connection.alias == "default" else f" --database={connection.alias}"
        return [
            Warning(
                f"the trigger {_TRIGGER} on {table} is missing or disabled, so workers do not "
                f"notice changes of {self.rows}",
                hint=f'run "manage.py sqlmigrate {self.migration}{alias}", and run its last two '
                "statements as the owner of the table",
                id=self.id,
            )
        ]
