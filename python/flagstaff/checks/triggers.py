"""Checks that each watched table has its triggers, as they would be installed now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from flagstaff._tables.catalog import has_rows, qualified
from flagstaff._tables.found_triggers import replaced_functions, tables_with_triggers
from flagstaff._tables.names import optional_names
from flagstaff._tables.triggers import expected_triggers
from flagstaff._tables.watched import WatchedTable
from flagstaff.checks.check import Problem
from flagstaff.checks.database import Database
from flagstaff.checks.hints import INSTALL_AGAIN, installations

_NOT_FIRING = "workers may see changes late, and the history may be incomplete"


def missing_triggers(database: Database) -> Iterator[Problem]:
    """Yields the triggers that watched tables lack."""
    missing = {health.table: health.missing() for health in database.watched}
    for names, hint in _with_hints(missing):
        yield Problem(f"triggers are missing: {names}; {_NOT_FIRING}", hint=hint)


def disabled_triggers(database: Database) -> Iterator[Problem]:
    """Yields the triggers that do not fire."""
    disabled = {health.table: health.disabled() for health in database.watched}
    for names, hint in _with_hints(disabled):
        yield Problem(f"triggers are disabled: {names}; {_NOT_FIRING}", hint=hint)


def outdated_triggers(database: Database) -> Iterator[Problem]:
    """Yields the triggers that differ from those that would be installed now."""
    schema = database.token_schema or ""
    outdated = {health.table: health.outdated(schema) for health in database.watched}
    effect = "the history may be incomplete or have wrong keys"
    for names, hint in _with_hints(outdated, outdated=True):
        yield Problem(f"triggers are outdated: {names}; {effect}", hint=hint)


def triggers_on_other_tables(database: Database) -> Iterator[Problem]:
    """Yields tables with triggers and rows that are not those of FLAG_MODEL or VALUE_MODEL.

    An empty table is no problem: flagstaff's own tables stay empty beside models of a project.
    """
    connection = database.connection
    if database.token_schema is None:
        return
    watched = {name for health in database.watched for name in (health.table.table, *health.heirs)}
    watched.update(qualified(connection, name) for name in optional_names(connection).values())
    for other in tables_with_triggers(connection, database.token_schema):
        if other.table not in watched and other.may_read and has_rows(connection, other.table):
            drops = (f"DROP TRIGGER {name} ON {other.table};" for name in other.triggers)
            yield Problem(
                f"{other.table} has triggers of flagstaff, but is not the table of FLAG_MODEL or "
                "VALUE_MODEL: its changes have no effect, but make every worker check for changes",
                statements=" ".join(drops),
            )


def heirs_without_token_trigger(database: Database) -> Iterator[Problem]:
    """Yields tables that inherit from a watched table and lack a token trigger."""
    for health in database.watched:
        for heir, events in health.silent_heirs().items():
            yield Problem(
                f"{heir} inherits from {health.table.table} and has no enabled token trigger for "
                f"{', '.join(events)}, so every worker loads all flags and values at each poll",
                heir=heir,
                function=f"{database.token_schema}.flagstaff_token_v1({health.table.relation})",
            )


def replaced_functions_of_triggers(database: Database) -> Iterator[Problem]:
    """Yields the functions whose body is not the one that a migration installed."""
    connection, schema = database.connection, database.token_schema
    names = replaced_functions(connection, schema) if schema else []
    if names:
        yield Problem(
            f"functions in schema {schema} were replaced: {', '.join(names)}; {_NOT_FIRING}",
            hint=INSTALL_AGAIN,
        )


def _with_hints(
    affected: Mapping[WatchedTable, list[str]], *, outdated: bool = False
) -> Iterator[tuple[str, str]]:
    """Yields the affected triggers with the hint that fixes them."""
    affected = {table: names for table, names in affected.items() if names}
    # The hint requires a read of all migrations.
    for tables, hint in installations(affected, outdated=outdated) if affected else ():
        shown = (f"{_joined(affected[table])} on {table.table}" for table in tables)
        yield "; ".join(shown), hint


def _joined(names: list[str]) -> str:
    return "all" if len(names) == len(expected_triggers()) else ", ".join(names)
