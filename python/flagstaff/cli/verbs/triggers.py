"""Repairs what the migrations have installed: install-triggers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from django.core.management.base import CommandError
from django.db import connections
from django.db.migrations import Migration
from django.db.migrations.executor import MigrationExecutor

from flagstaff._connection.vendor import is_postgresql
from flagstaff._tables.migrating import PostgresOperation
from flagstaff.cli.support.errors import FAILED
from flagstaff.cli.support.output import Output
from flagstaff.cli.support.topics import Topic
from flagstaff.cli.support.verb import Options, Verb
from flagstaff.conf import conf


def _run(options: Options, out: Output) -> None:
    connection = connections[conf.database]
    if not is_postgresql(connection):
        raise CommandError("install-triggers needs PostgreSQL", returncode=FAILED)
    executor = MigrationExecutor(connection)
    state = executor.loader.project_state()
    names = []
    with connection.schema_editor() as editor:
        for migration, operations in _applied(executor):
            for operation in operations:
                # The project has deleted the model since.
                with suppress(LookupError):
                    operation.database_forwards(migration.app_label, editor, state, state)
            names.append(f"{migration.app_label}.{migration.name}")
    if out.is_json:
        out.document({"migrations": names})
    elif names:
        out.line(f"installed again: {', '.join(names)}")
    else:
        out.line('nothing is installed yet; run "manage.py migrate"')


def _applied(executor: MigrationExecutor) -> Iterator[tuple[Migration, list[PostgresOperation]]]:
    """Yields the applied migrations that install something, in order, with these operations."""
    loader = executor.loader
    for migration, _ in executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        operations = [
            operation
            for operation in migration.operations
            if isinstance(operation, PostgresOperation)
        ]
        if operations and (migration.app_label, migration.name) in loader.applied_migrations:
            yield migration, operations


INSTALL_TRIGGERS = Verb(
    name="install-triggers",
    help="install the tables, functions and triggers of the applied migrations again",
    examples=("install-triggers",),
    run=_run,
    topic=Topic.UPKEEP,
)
