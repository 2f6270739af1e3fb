"""Checks that each watched table has its triggers, as they would be installed now."""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage, Warning  # noqa: A004
from django.db.backends.base.base import BaseDatabaseWrapper

from flagstaff._tables.catalog import find_table, has_rows, qualified
from flagstaff._tables.found_triggers import replaced_functions, tables_with_triggers
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.names import optional_names, own_names
from flagstaff._tables.triggers import TriggerHealth, expected_triggers, trigger_health
from flagstaff._tables.watched import WatchedTable
from flagstaff.checks.hints import install_functions_again, installations
from flagstaff.conf import conf

__all__ = [
    "check_functions_are_original",
    "check_heirs_write_tokens",
    "check_only_watched_tables_have_triggers",
    "check_triggers_are_current",
    "check_triggers_exist",
    "check_triggers_fire",
]

_NOT_FIRING = "workers may see changes late, and the history may be incomplete"
_OUTDATED = "the history may be incomplete or have wrong keys"

_Affected = dict[WatchedTable, list[str]]


def check_triggers_exist(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W015: a watched table lacks triggers."""
    missing = {health.table: health.missing() for health in _existing(connection)}
    return [
        Warning(f"triggers are missing: {names}; {_NOT_FIRING}", hint=hint, id="flagstaff.W015")
        for names, hint in _with_hints(missing)
    ]


def check_triggers_fire(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W016: a trigger is disabled."""
    disabled = {health.table: health.disabled() for health in _existing(connection)}
    return [
        Warning(f"triggers are disabled: {names}; {_NOT_FIRING}", hint=hint, id="flagstaff.W016")
        for names, hint in _with_hints(disabled)
    ]


def check_triggers_are_current(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W017: a trigger differs from the one that would be installed now."""
    tokens = find_table(connection, own_names(connection)["token_table"])
    schema = tokens.schema if tokens else ""
    outdated = {health.table: health.outdated(schema) for health in _existing(connection)}
    return [
        Warning(
            f"triggers are outdated: {names}; {_OUTDATED}",
            hint=hint,
            id="flagstaff.W017",
        )
        for names, hint in _with_hints(outdated, outdated=True)
    ]


def check_only_watched_tables_have_triggers(
    connection: BaseDatabaseWrapper,
) -> list[CheckMessage]:
    """flagstaff.W026: a table has triggers and rows, but is not that of FLAG_MODEL or VALUE_MODEL.

    An empty table is no problem: flagstaff's own tables stay empty beside models of a project.
    """
    tokens = find_table(connection, own_names(connection)["token_table"])
    if tokens is None:
        return []
    watched = {
        name for health in _existing(connection) for name in (health.table.table, *health.heirs)
    }
    watched.update(qualified(connection, name) for name in optional_names(connection).values())
    return [
        Warning(
            f"{found.table} has triggers of flagstaff, but is not the table of FLAG_MODEL or "
            "VALUE_MODEL: its changes have no effect, but make every worker check for changes",
            hint="when no process uses the table any more, run as its owner: "
            + " ".join(f"DROP TRIGGER {name} ON {found.table};" for name in found.triggers),
            id="flagstaff.W026",
        )
        for found in tables_with_triggers(connection, tokens.schema)
        if found.table not in watched and found.may_read and has_rows(connection, found.table)
    ]


def check_heirs_write_tokens(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W027: a table that inherits from a watched table lacks the token trigger."""
    tokens = find_table(connection, own_names(connection)["token_table"])
    schema = tokens.schema if tokens else ""
    return [
        Warning(
            f"{heir} inherits from {health.table.table} and has no token trigger, so every worker "
            "loads all flags and values at each poll",
            hint=f"as the owner of {heir}, run: CREATE TRIGGER flagstaff_token_v1 "
            f"AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {heir} FOR EACH STATEMENT "
            f"EXECUTE FUNCTION {schema}.flagstaff_token_v1({health.table.relation}); "
            f"ALTER TABLE {heir} ENABLE ALWAYS TRIGGER flagstaff_token_v1;",
            id="flagstaff.W027",
        )
        for health in _existing(connection)
        for heir in health.silent_heirs()
    ]


def check_functions_are_original(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """flagstaff.W028: the body of a function is not the one that a migration installed."""
    tokens = find_table(connection, own_names(connection)["token_table"])
    found = replaced_functions(connection, tokens.schema) if tokens else []
    # W039 reports the function of groups, which no migration of flagstaff installs.
    names = [name for name in found if name != "flagstaff_groups_v1"]
    if not (tokens and names):
        return []
    return [
        Warning(
            f"functions in schema {tokens.schema} were replaced: {', '.join(names)}; {_NOT_FIRING}",
            hint=install_functions_again(connection.alias),
            id="flagstaff.W028",
        )
    ]


def _existing(connection: BaseDatabaseWrapper) -> Iterator[TriggerHealth]:
    """Yields the health of the tables that exist. W013 reports missing ones.

    Yields none without the token table: no trigger can be installed without it.
    """
    if find_table(connection, own_names(connection)["token_table"]) is None:
        return
    for health in trigger_health(connection, conf.flag_model, conf.value_model, segment_model()):
        if find_table(connection, health.table.name):
            yield health


def _with_hints(affected: _Affected, *, outdated: bool = False) -> Iterator[tuple[str, str]]:
    """Yields the affected triggers with the hint that fixes them."""
    affected = {table: names for table, names in affected.items() if names}
    # The hint requires a read of all migrations.
    for tables, hint in installations(affected, outdated=outdated) if affected else ():
        shown = (f"{_joined(affected[table])} on {table.table}" for table in tables)
        yield "; ".join(shown), hint


def _joined(names: list[str]) -> str:
    return "all" if len(names) == len(expected_triggers()) else ", ".join(names)
