"""The system checks of rollout plans."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import table_exists
from flagstaff._tables.found_triggers import triggers_of
from flagstaff._text.lists import join_some
from flagstaff.changes.changed import quoted_command
from flagstaff.conf import conf
from flagstaff.rollouts.models import Plan
from flagstaff.rollouts.unguarded import unguarded_plans

__all__ = ["check_plans"]

_TRIGGER = "flagstaff_token_v1"
_MIGRATION = "flagstaff_rollouts 0001_initial"


def check_plans(
    *, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Runs the checks that query the flags' database, if it is selected and can be reached."""
    if conf.problems() or conf.database not in (databases or ()):
        return []
    connection = connections[conf.database]
    if connection.vendor != "postgresql":
        return []
    try:
        with transaction.atomic(using=conf.database):
            table = connection.ops.quote_name(Plan._meta.db_table)
            # W013 reports a missing table.
            if not table_exists(connection, table):
                return []
            return [*_unwatched(connection, table), *_unguarded()]
    except Error:
        # W012 reports a database that cannot be reached, W014 a table that cannot be read.
        return []


def _unwatched(connection: BaseDatabaseWrapper, table: str) -> Iterator[CheckMessage]:
    """flagstaff.W043: the trigger of the plans is missing or disabled."""
    trigger = triggers_of(connection, table).own.get(_TRIGGER)
    if trigger is None or trigger.enabled != "A":
        alias = "" if connection.alias == "default" else f" --database={connection.alias}"
        yield Warning(
            f"the trigger {_TRIGGER} on {table} is missing or disabled, so workers do not notice "
            "changes of rollout plans",
            hint=f'run "manage.py sqlmigrate {_MIGRATION}{alias}", and run its last two statements '
            "as the owner of the table",
            id="flagstaff.W043",
        )


def _unguarded() -> Iterator[CheckMessage]:
    """flagstaff.W044: plans are running, and run-jobs is not."""
    keys = [plan.key for plan in unguarded_plans()]
    if keys:
        yield Warning(
            f"rollout plans are unguarded, because run-jobs has not driven them in the last "
            f"5 minutes: {join_some(keys)}",
            hint=f"start {quoted_command('run-jobs', '--loop')} or repair its cron job; to stop a "
            f"plan, run {quoted_command('plan', 'KEY', 'pause')}",
            id="flagstaff.W044",
        )
