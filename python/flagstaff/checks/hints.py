"""Hints that fix tables and triggers: a command, or a migration to copy."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator

from django.db import Error, connections, router, transaction
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from flagstaff._connection.aliases import is_same_database
from flagstaff._tables.watched import WatchedTable
from flagstaff.conf import conf
from flagstaff.operations import InstallTriggers

_Key = tuple[str, str]

#: The command that installs again what applied migrations have installed.
INSTALL_AGAIN = 'run "manage.py flags install-triggers" as the owner of the tables'


def alias_to_migrate(model: type[Model]) -> str:
    """Returns the alias to migrate, so that the engine finds the tables of a model."""
    written = router.db_for_write(model)
    return written if is_same_database(written, conf.engine_database) else conf.engine_database


def migrate(alias: str) -> str:
    """Returns the command that applies the migrations."""
    return f'run "manage.py migrate{on_alias(alias)}"'


def on_alias(alias: str) -> str:
    """Returns the option of a command that selects a database; "" for the default."""
    return "" if alias == "default" else f" --database={alias}"


def is_migrating() -> bool:
    """Whether this process runs "manage.py migrate", or the command of django-tenants.

    Django passes a check only the databases, and sends `pre_migrate` after the checks. If another
    command migrates with checks, they report what it will fix, with the hint to migrate.
    """
    return sys.argv[1:2] in (["migrate"], ["migrate_schemas"])


def installations(
    affected: Iterable[WatchedTable], *, outdated: bool = False
) -> Iterator[tuple[list[WatchedTable], str]]:
    """Yields tables that lack triggers, with the hint that installs them.

    Yields none that the running `migrate` will install. An applied migration installs triggers for
    the columns of its time, so outdated triggers need a new migration.
    """
    loader = MigrationLoader(None)
    by_migrations: dict[tuple[_Key, ...], list[WatchedTable]] = defaultdict(list)
    for table in affected:
        by_migrations[_migrations_for(table.model, loader)].append(table)
    for migrations, tables in by_migrations.items():
        alias = alias_to_migrate(tables[0].model)
        if not applied_migrations(alias).issuperset(migrations):
            if not is_migrating():
                yield tables, migrate(alias)
        elif migrations and (migrations[-1][0] == "flagstaff" or not outdated):
            yield tables, INSTALL_AGAIN
        else:
            yield tables, _migration_to_copy({table.model for table in tables}, loader)


def _migrations_for(model: type[Model], loader: MigrationLoader) -> tuple[_Key, ...]:
    """Returns the migrations that install the triggers of a model, in order."""
    found = (
        key
        for key, migration in loader.disk_migrations.items()
        for operation in migration.operations
        if isinstance(operation, InstallTriggers) and operation.covers(model)
    )
    return tuple(sorted(found))


def applied_migrations(alias: str) -> set[_Key]:
    """Returns the applied migrations; none if the role may not read their table."""
    try:
        with transaction.atomic(using=alias):
            return {*MigrationRecorder(connections[alias]).applied_migrations()}
    except Error:
        return set()


def _migration_to_copy(models: Collection[type[Model]], loader: MigrationLoader) -> str:
    """Returns a migration that installs the triggers of these models."""
    apps = sorted({model._meta.app_label for model in models})
    leaves = [leaf for app in [*apps, "flagstaff"] for leaf in loader.graph.leaf_nodes(app)]
    dependencies = ", ".join(f'("{app}", "{name}")' for app, name in leaves)
    return (
        f'run "manage.py makemigrations --empty {apps[0]}", '
        "and in the new file add the import and replace the two lists:\n"
        "    from flagstaff.operations import InstallTriggers\n"
        f"    dependencies = [{dependencies}]\n"
        f"    operations = [InstallTriggers({_arguments(models)})]"
    )


def _arguments(models: Collection[type[Model]]) -> str:
    flags = conf.flag_model._meta.label if conf.flag_model in models else None
    values = conf.value_model._meta.label if conf.value_model in models else None
    if flags is None:
        return f'value_model="{values}"'
    return f'"{flags}"' if values is None else f'"{flags}", "{values}"'
