"""The checks of the database: its tables, their triggers, and what its rows need."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import Error as DbError
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, QuerySet

from flagstaff._declared import DECLARED, declared_value, value_problems
from flagstaff._engine.forced_off import VARIABLE, keys_in
from flagstaff._tables.catalog import (
    FoundTable,
    find_tables,
    query_catalog,
    triggers_of,
    watched_tables,
)
from flagstaff._tables.database import db, names, own_names, user_field
from flagstaff._tables.rows import (
    BUCKET_BY,
    RULES,
    VISITOR,
    keys_of_apps,
    readable_groups,
    segment_model,
    uncached,
)
from flagstaff._text import some
from flagstaff._text.rules import reads_groups
from flagstaff.changes.rule_use import rules_of_apps
from flagstaff.checks.project import has_middleware
from flagstaff.conf import conf

# The tables that the engine reads, by their placeholders, and those of optional apps.
_READ_BY_THE_ENGINE = (
    "flag_table",
    "allowed_users_table",
    "value_table",
    "segment_table",
    "token_table",
)
_OF_APPS = ("plan_table", "experiment_table")

_MAX_SHOWN = 3


def may_migrate(connection: BaseDatabaseWrapper) -> bool:
    """Whether the running command is about to apply a migration, which may create what is missing.

    Django runs the checks before. `migrate_schemas` is the command of django-tenants.
    """
    if sys.argv[1:2] not in (["migrate"], ["migrate_schemas"]):
        return False
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def table_messages(connection: BaseDatabaseWrapper, *, is_first: bool) -> Iterator[CheckMessage]:
    """Yields the messages about the tables. The second alias of a database is checked less."""
    expected = {name: table for name, table in names(connection).items() if name.endswith("_table")}
    tables = find_tables(connection, *expected.values())
    found_tables = {name: tables[table] for name, table in expected.items() if table in tables}
    read = [
        found_tables[name] for name in (*_READ_BY_THE_ENGINE, *_OF_APPS) if name in found_tables
    ]
    if is_first:
        yield from _other_encoding(connection)
        yield from _missing_tables(
            connection, [table for table in expected.values() if table not in tables]
        )
        if "token_table" in found_tables:  # no trigger can be installed without it
            yield from _wrong_triggers(connection, found_tables)
        yield from _open_schemas(found_tables.values())
        own_tables = [found_tables[name] for name in own_names(connection) if name in found_tables]
        yield from _hidden_rows({*read, *own_tables}, with_owner=True)
    elif connection.alias == conf.engine_database:
        yield from _hidden_rows(read, with_owner=False)
    if connection.alias == conf.engine_database:
        yield from _unreadable_tables(read)


def _other_encoding(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    [[encoding]] = query_catalog(connection, "SHOW server_encoding")
    if encoding != "UTF8":
        yield Error(
            f'database "{connection.alias}" is in the encoding {encoding}, so workers load nothing',
            hint="restore a dump into a database that was created with "
            "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8'",
            id="flagstaff.E060",
        )


def _missing_tables(connection: BaseDatabaseWrapper, missing: list[str]) -> Iterator[CheckMessage]:
    if missing:
        alias = db.alias
        option = "" if alias == "default" else f" --database={alias}"
        yield Warning(
            f'tables are missing in database "{connection.alias}": {", ".join(missing)}',
            hint=f'run "manage.py migrate{option}"; if it creates none, change allow_migrate in '
            f'your router to allow their apps on "{alias}"',
            id="flagstaff.W013",
        )


def _wrong_triggers(
    connection: BaseDatabaseWrapper, found_tables: dict[str, FoundTable]
) -> Iterator[CheckMessage]:
    models = (conf.flag_model, conf.value_model, segment_model())
    existing = {table.qualified for table in found_tables.values()}
    watched = [table for table in watched_tables(connection, *models) if table.table in existing]
    of_apps = [found_tables[name].qualified for name in _OF_APPS if name in found_tables]
    triggers = triggers_of(connection, [*(table.table for table in watched), *of_apps])
    schema = found_tables["token_table"].schema
    wrong_tables = [
        *(
            table.table
            for table in watched
            if not triggers[table.table].are_as_installed(table, schema)
        ),
        *(table for table in of_apps if not triggers[table].write_tokens),
    ]
    if wrong_tables:
        yield Warning(
            f"triggers are missing, disabled or changed on: {', '.join(wrong_tables)}; workers may "
            "see changes late, and the history may be incomplete",
            hint='as the owner of the tables, run "manage.py migrate" and "manage.py flags '
            f'install-triggers"{_own_migration()}',
            id="flagstaff.W015",
        )


def _own_migration() -> str:
    """Returns what a migration of the project has, if it has models of its own."""
    models = {"flag_model": conf.flag_model, "value_model": conf.value_model}
    labels = {name: model._meta.label for name, model in models.items()}
    own_models = [
        f'{name}="{label}"' for name, label in labels.items() if not label.startswith("flagstaff.")
    ]
    if not own_models:
        return ""
    return (
        "; first, if no migration has it, add one with the operation flagstaff.operations."
        f"InstallTriggers({', '.join(own_models)}) and the dependency "
        '("flagstaff", "0001_flagstaff")'
    )


def _open_schemas(tables: Iterable[FoundTable]) -> Iterator[CheckMessage]:
    for schema in dict.fromkeys(table.schema for table in tables if table.open_schema):
        yield Warning(
            f"every role may create objects in schema {schema}, so each of them can make Django "
            "call functions that it has created there, with the rights of Django's role",
            hint=f"as the owner of the schema, run: REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC;",
            id="flagstaff.W021",
        )


def _hidden_rows(tables: Iterable[FoundTable], *, with_owner: bool) -> Iterator[CheckMessage]:
    """Reports row level security that applies to the current role or to the owner.

    The functions of the triggers run as the owner.
    """
    for table in tables:
        roles = [table.role] * table.hides_rows
        roles += [table.owner] * (with_owner and table.hides_rows_from_owner)
        for role in dict.fromkeys(roles):
            yield Warning(
                f"row level security can hide rows of {table.qualified} from role {role}, so "
                "workers load nothing, or the history is incomplete",
                hint="as the owner of the table, run: ALTER TABLE "
                f"{table.qualified} DISABLE ROW LEVEL SECURITY; or as a superuser: ALTER ROLE "
                f"{role} BYPASSRLS;",
                id="flagstaff.W022",
            )


def _unreadable_tables(tables: Iterable[FoundTable]) -> Iterator[CheckMessage]:
    for table in tables:
        if not table.may_read:
            yield Warning(
                f"role {table.role} may not read {table.qualified}, so workers load nothing",
                hint="as the owner of the table, run: "
                f"GRANT SELECT ON {table.qualified} TO {table.role};",
                id="flagstaff.W014",
            )


def row_messages(connection: BaseDatabaseWrapper) -> list[CheckMessage]:
    """Returns the messages about rows."""
    messages: list[CheckMessage] = []
    checks = (
        _unknown_forced_off_keys,
        _unreadable_groups,
        _visitors_without_middleware,
        _values_that_code_refuses,
    )
    for check in checks:
        # W013 reports a table that is missing, W014 one that cannot be read.
        with suppress(DbError), transaction.atomic(using=connection.alias):
            messages += check(connection)
    return messages


def _unknown_forced_off_keys(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    keys = keys_in(VARIABLE)
    if not keys:
        return
    existing = {
        *DECLARED,
        *keys_of_apps(keys),
        *_rows(connection, conf.flag_model).values_list("key", flat=True),
    }
    if unknown := [key for key in keys if key not in existing]:
        yield Warning(
            f"{VARIABLE} names flags that do not exist: {some(unknown)}",
            hint="correct the keys, separate them by commas, and restart the process; a flag that "
            "is created later with such a key is forced off, too",
            id="flagstaff.W025",
        )


def _values_that_code_refuses(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    declared = [key for key in DECLARED if declared_value(key) is not None]
    rows: QuerySet[Any] = _rows(connection, conf.value_model).filter(key__in=declared)
    for row in rows.order_by("key") if declared else ():
        for problem in value_problems(row).values():
            yield Warning(
                f"value {row.key!r} is not as code declares it: {problem}",
                hint="correct the value, or its declaration; evaluations return the default in "
                "place of another type or choice, and what a validator refuses as it is",
                obj=row,
                id="flagstaff.W065",
            )


def _unreadable_groups(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    why = readable_groups(connection, conf.flag_model, user_field(conf.flag_model).model)
    if isinstance(why, str) and any(map(reads_groups, _all_rules(connection))):
        yield Warning(
            f"workers cannot read the groups of users: {why}; so conditions on groups are false",
            hint='let the function of "ATTRIBUTES" return the names of groups as another '
            "attribute, and change the rules",
            id="flagstaff.W040",
        )


def _visitors_without_middleware(connection: BaseDatabaseWrapper) -> Iterator[CheckMessage]:
    if has_middleware():
        return
    others = [*rules_of_apps()]
    for model in dict.fromkeys(
        [conf.flag_model, conf.value_model, *(row_rules.model for row_rules in others)]
    ):
        rows = _rows(connection, model).filter(**{BUCKET_BY: VISITOR}).order_by("key")
        if pks := [row_rules.pk for row_rules in others if row_rules.model is model]:
            rows = rows.filter(pk__in=pks)
        if shown := some(map(repr, rows.values_list("key", flat=True)), _MAX_SHOWN):
            yield Warning(
                f"bucketed by visitor: {shown}; but no browser has a visitor, because "
                "FlagstaffMiddleware is not in MIDDLEWARE",
                hint='add "flagstaff.middleware.FlagstaffMiddleware" after '
                "AuthenticationMiddleware; if all calls pass the visitor in the context, silence "
                "this with SILENCED_SYSTEM_CHECKS",
                obj=model,
                id="flagstaff.W042",
            )


def _all_rules(connection: BaseDatabaseWrapper) -> Iterator[object]:
    for model, name in (
        (conf.flag_model, RULES),
        (conf.value_model, RULES),
        (segment_model(), "conditions"),
    ):
        yield from _rows(connection, model).values_list(name, flat=True)
    yield from (row_rules.rules for row_rules in rules_of_apps())


def _rows(connection: BaseDatabaseWrapper, model: type[Model]) -> QuerySet[Model]:
    return uncached(QuerySet(model, using=connection.alias))
