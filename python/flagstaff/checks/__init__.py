"""The system checks. The table says what each finds, and how to fix it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from django.core.checks import CheckMessage
from django.db import connections

from flagstaff._connection.vendor import is_postgresql, is_supported
from flagstaff._engine.forced_off import VARIABLE
from flagstaff.checks import (
    flags,
    models,
    settings,
    tables,
    triggers,
)
from flagstaff.checks.check import Check
from flagstaff.checks.database import (
    Database,
    database_without_engine,
    unreachable_database,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.validators import KEY_MAX_LENGTH

_SILENCE = "silence this with SILENCED_SYSTEM_CHECKS"
_SHOW_ALL_ROWS = (
    "as the owner of the table, run: ALTER TABLE {table} DISABLE ROW LEVEL SECURITY; "
    "or as a superuser: ALTER ROLE {role} BYPASSRLS;"
)
_CORRECT_SPELLING = (
    f"correct the spelling; if the context or your function has the attribute, {_SILENCE}"
)

#: Run with every command. They do not connect.
_OF_THE_SETTINGS = (
    Check("flagstaff.E001", settings.unknown_settings),
    Check("flagstaff.E002", settings.invalid_settings),
    Check(
        "flagstaff.W024",
        settings.invalid_forced_off_keys,
        f"write the keys of flags, separated by commas, such as {VARIABLE}=new_checkout",
    ),
)

#: Run with every command if the settings are valid. They do not connect.
_OF_THE_PROJECT = (
    Check("flagstaff.E035", settings.missing_objects),
    Check(
        "flagstaff.E049",
        settings.unsupported_databases,
        'use PostgreSQL, or SQLite for development and tests; or set "DATABASE" in FLAGSTAFF to '
        "an alias of such a database",
    ),
    Check(
        "flagstaff.E003",
        settings.unsupported_connection_parameters,
        "correct it in OPTIONS, in the environment or in the service or password file, or set "
        '"DATABASE" in FLAGSTAFF to an alias without it',
    ),
    Check(
        "flagstaff.W004",
        settings.models_written_elsewhere,
        'if "{read}" is a replica of "{written}", add "TEST": {{"MIRROR": "{written}"}} to '
        'DATABASES["{read}"] (flagstaff uses this outside of tests, too); otherwise set '
        '"DATABASE" to "{written}" in FLAGSTAFF, or change db_for_write in your router to return '
        '"{read}"',
    ),
    Check("flagstaff.E005", models.models_that_differ),
)

#: Run with `migrate` and `check --database`. The others below follow if this finds nothing.
_UNREACHABLE = Check(
    "flagstaff.W012",
    unreachable_database,
    "start the database server, or correct its settings in DATABASES; then check again",
)
_ON_ANY_DATABASE = (
    Check("flagstaff.W013", tables.missing_tables),
    Check(
        "flagstaff.W018",
        flags.invalid_keys,
        f'a key has 1 to {KEY_MAX_LENGTH} letters, digits, "_", "-" or ".", and does not begin '
        'with "-"; rename the keys in the table and in the code; the flags still work, but with '
        '":", two pairs of key and user can have the same hash input',
    ),
    Check(
        "flagstaff.W032",
        flags.keys_that_differ_in_case,
        "keys are case-sensitive, so these are different flags; delete those that the code does "
        "not use",
    ),
    Check(
        "flagstaff.W054",
        flags.keys_of_flags_and_values,
        "both work, but people confuse them, and their users have equal buckets; delete one of the "
        "two, or create it again with another key",
    ),
    Check("flagstaff.W025", flags.unknown_forced_off_keys),
    Check(
        "flagstaff.W033",
        flags.missing_segments,
        "such a condition is never true; create the segment with "
        '"manage.py flags segment create", or change the rules',
    ),
    Check(
        "flagstaff.W034",
        flags.unreadable_rules,
        'correct the {what} in the admin or with "manage.py flags {verb}", or update flagstaff if '
        "a newer version wrote them; meanwhile, workers use the last good {what} that they have "
        "read, or {otherwise}",
    ),
    Check("flagstaff.I036", flags.misspelled_attributes, _CORRECT_SPELLING),
    Check(
        "flagstaff.W058",
        flags.impossible_values,
        "such a condition is false, also if it is negated, unless another value matches; correct "
        f"the values; if a text is stored so, {_SILENCE}",
    ),
    Check(
        "flagstaff.W040",
        flags.unreadable_groups,
        'let the function of "ATTRIBUTES" return the names of groups as another attribute, and '
        "change the rules",
    ),
    Check(
        "flagstaff.W037",
        flags.unusable_units,
        "percentages from 1 to 99 include no user; set another unit in the admin, or with "
        '"manage.py flags update KEY --bucket-by UNIT", for a value "value update"',
    ),
    Check("flagstaff.I038", flags.misspelled_units, _CORRECT_SPELLING),
    Check(
        "flagstaff.W042",
        flags.visitors_without_middleware,
        'add "flagstaff.middleware.FlagstaffMiddleware" after AuthenticationMiddleware; if all '
        f"calls pass the visitor in the context, {_SILENCE}",
    ),
)
_ON_POSTGRESQL = (
    Check(
        "flagstaff.E060",
        tables.encodings_but_utf8,
        "workers need UTF8; restore a dump into a database that was created with "
        "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'",
    ),
    Check("flagstaff.W015", triggers.missing_triggers),
    Check("flagstaff.W016", triggers.disabled_triggers),
    Check("flagstaff.W017", triggers.outdated_triggers),
    Check(
        "flagstaff.W026",
        triggers.triggers_on_other_tables,
        "when no process uses the table any more, run as its owner: {statements}",
    ),
    Check(
        "flagstaff.W027",
        triggers.heirs_without_token_trigger,
        "as the owner of {heir}, run: CREATE OR REPLACE TRIGGER flagstaff_token_v1 "
        "AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {heir} FOR EACH STATEMENT "
        "EXECUTE FUNCTION {function}; "
        "ALTER TABLE {heir} ENABLE ALWAYS TRIGGER flagstaff_token_v1;",
    ),
    Check("flagstaff.W028", triggers.replaced_functions_of_triggers),
    Check(
        "flagstaff.W021",
        tables.open_schemas,
        "as the owner of the schema, run: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
    ),
    Check("flagstaff.W023", tables.rows_hidden_from_django, _SHOW_ALL_ROWS),
    Check(
        "flagstaff.W059",
        tables.sequence_behind_the_history,
        "as the owner of the table, run: {statement}",
    ),
)
#: Run with the role of the engine.
_OF_THE_ENGINE = (
    Check(
        "flagstaff.W014",
        tables.unreadable_tables,
        "as the owner of the table, run: GRANT SELECT ON {table} TO {role};",
    ),
    Check("flagstaff.W022", tables.rows_hidden_from_workers, _SHOW_ALL_ROWS),
)
_ON_SQLITE = (
    Check(
        "flagstaff.I011",
        database_without_engine,
        f"use PostgreSQL for evaluation from memory and a history, or {_SILENCE}",
    ),
)


def project_messages() -> Iterator[CheckMessage]:
    """Yields the messages of the checks that do not connect."""
    checks = _OF_THE_SETTINGS if conf.problems() else _OF_THE_SETTINGS + _OF_THE_PROJECT
    for check in checks:
        yield from check.messages()


def database_messages(databases: Collection[str] | None) -> Iterator[CheckMessage]:
    """Yields the messages about those of the databases that flagstaff uses. Queries them."""
    if conf.problems():
        return
    aliases = dict.fromkeys((conf.database, conf.engine_database))
    selected = [alias for alias in aliases if alias in (databases or ())]
    for alias in selected:
        database = Database(connections[alias])
        # E049 reports it.
        if not is_supported(database.connection):
            continue
        unreachable = [*_UNREACHABLE.messages(database)]
        yield from unreachable
        for check in () if unreachable else _checks(database, is_first=alias == selected[0]):
            # E005 reports a model that lacks a field.
            with suppress(ConfigurationError):
                yield from check.messages(database)


def _checks(database: Database, *, is_first: bool) -> Iterator[Check]:
    """Yields the checks of a database. Two aliases of one database are not checked twice."""
    has_engine = is_postgresql(database.connection)
    if is_first:
        yield from _ON_ANY_DATABASE + _ON_POSTGRESQL * has_engine
    if database.connection.alias == conf.engine_database:
        yield from _OF_THE_ENGINE if has_engine else _ON_SQLITE
