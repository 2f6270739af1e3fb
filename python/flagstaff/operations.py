"""Migration operations that install tables, functions and triggers in PostgreSQL.

`InstallTables` creates the tables of flagstaff itself, and `InstallFunctions` the functions of the
triggers; only flagstaff's own migrations use them. `InstallTriggers` watches the tables of models.
A project with its own models uses it in a migration of its own:

    dependencies = [("common", "0007_featureflag"), ("flagstaff", "0001_flagstaff")]
    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]

All are no-ops on SQLite, can be run again, and respect DATABASE_ROUTERS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model

from flagstaff._connection import is_postgresql
from flagstaff._tables.catalog import (
    WatchedTable,
    current_schema,
    find_table,
    foreign_objects,
    watched_tables,
)
from flagstaff._tables.database import fill, own_names, sql
from flagstaff.exceptions import FlagstaffError

#: The function that Django's signals of groups call, and the hashes of all functions.
GROUP_FUNCTION, HASHES = "group_function_v1", "function_hashes_v1"

__all__ = [
    "InstallFunctions",
    "InstallTables",
    "InstallTriggers",
]

_TABLES = (
    "tokens_v1",
    "history_v1",
    "history_indexes_v1",
    "usage_v1",
    "reports_v1",
    "workers_table_v1",
    "echo_table_v1",
)
_FUNCTIONS = (
    "token_functions_v1",
    "barrier_function_v1",
    "worker_function_v1",
    "history_functions_v1",
    GROUP_FUNCTION,
    HASHES,
)
_WITH_OBJECTS = (*_TABLES, *_FUNCTIONS)

#: Indexes and functions; the tables are those of `own_names`.
_CREATED = re.compile(
    r"^CREATE (?:INDEX IF NOT EXISTS |OR REPLACE FUNCTION \{schema\}\.)(\w+)", re.MULTILINE
)


class PostgresOperation(Operation):
    """Does not change the state of the models. Atomic even if its migration is not."""

    atomic = True
    reduces_to_sql = True
    reversible = True
    category = OperationCategory.SQL

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Does nothing: models stay as they are."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if is_postgresql(schema_editor.connection):
            self.install(app_label, schema_editor, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if is_postgresql(schema_editor.connection):
            self.remove(app_label, schema_editor, from_state)

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        raise NotImplementedError

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        raise NotImplementedError


def migrated_model(
    label: str | None, connection: BaseDatabaseWrapper, state: ProjectState
) -> type[Model] | None:
    """Returns the model at this point of the migrations, or None if it is in another database."""
    if label is None:
        return None
    model = state.apps.get_model(label)
    return model if router.allow_migrate_model(connection.alias, model) else None


def schema_of_functions(schema_editor: BaseDatabaseSchemaEditor) -> str:
    """Returns the schema of flagstaff's functions, which is the schema of the token table."""
    connection = schema_editor.connection
    tokens = own_names(connection)["token_table"]
    if token_table := find_table(connection, tokens):
        return token_table.schema
    if schema_editor.collect_sql:  # sqlmigrate also works before the table exists
        return current_schema(connection)
    raise FlagstaffError(
        'table {table} is not on the search path of database "{database}"; add '
        '("flagstaff", "0001_flagstaff") to the dependencies of the migration, and change '
        "allow_migrate in your router to allow flagstaff there",
        table=tokens,
        database=connection.alias,
    )


def execute(schema_editor: BaseDatabaseSchemaEditor, file: str, names: Mapping[str, str]) -> None:
    """Runs `sql/FILE.sql` with these names, or collects it for `sqlmigrate`."""
    schema_editor.execute(fill(sql(file), names), params=None)


def install_group_function(schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Installs the function of groups again, for the tables that have triggers now."""
    schema = schema_of_functions(schema_editor)
    tokens = own_names(schema_editor.connection)["token_table"]
    names = {"schema": schema, "token_table": f"{schema}.{tokens}"}
    for file in (GROUP_FUNCTION, HASHES):
        execute(schema_editor, file, names)


class WatchAppTable(PostgresOperation):
    """Installs the triggers that write a change token for each change of an app's table.

    `relation` is that of the tokens.
    """

    def __init__(self, model: str, relation: str) -> None:
        self.model, self.relation = model, relation

    def describe(self) -> str:
        return f"Watch the table of {self.model}"

    @property
    def migration_name_fragment(self) -> str:
        return f"watch_{self.model.partition('.')[2].lower()}"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("token_trigger_v1", schema_editor, state)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("drop_triggers_v1", schema_editor, state)

    def _execute(
        self, file: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        connection = schema_editor.connection
        model = migrated_model(self.model, connection, state)
        if model is None:
            return
        quote = connection.ops.quote_name
        names = {
            "schema": schema_of_functions(schema_editor),
            "table": quote(model._meta.db_table),
            "relation": self.relation,
            "pk_columns": quote(str(model._meta.pk.column)),
        }
        execute(schema_editor, file, names)
        install_group_function(schema_editor)


class InstallTables(PostgresOperation):
    """Creates the tables of tokens, history, usage and workers.

    Its reverse also drops the functions, and with them all triggers.
    """

    def describe(self) -> str:
        return "Install the tables of flagstaff"

    @property
    def migration_name_fragment(self) -> str:
        return "tables"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        if not router.allow_migrate(schema_editor.connection.alias, app_label):
            return
        schema = current_schema(schema_editor.connection)
        # IF NOT EXISTS would take over what another role has created. Afterwards no role can.
        _refuse_foreign_objects(schema_editor, schema)
        _execute_all(schema_editor, _TABLES, schema)
        _refuse_foreign_objects(schema_editor, schema)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        connection = schema_editor.connection
        if router.allow_migrate(connection.alias, app_label):
            _execute_all(schema_editor, ("drop_tables_v1",), current_schema(connection))


class InstallFunctions(PostgresOperation):
    """Installs the functions of the triggers, or replaces those of an older version.

    Its reverse does nothing: functions keep their names and arguments.
    """

    def describe(self) -> str:
        return "Install the functions of flagstaff"

    @property
    def migration_name_fragment(self) -> str:
        return "functions"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        schema = schema_of_functions(schema_editor)
        # Another role than before may run this migration.
        _refuse_foreign_objects(schema_editor, schema, trusted=_owner_of_tokens(schema_editor))
        _execute_all(schema_editor, _FUNCTIONS, schema)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        """Does nothing."""


class InstallTriggers(PostgresOperation):
    """Installs triggers that record each change of these models: a change token and the history.

    A model is named as "app_label.Model". Leave out a model if flagstaff's own is used. The model
    of segments is always flagstaff's own.
    """

    def __init__(
        self,
        flag_model: str | None = None,
        value_model: str | None = None,
        *,
        segment_model: str | None = None,
    ) -> None:
        self.flag_model = flag_model
        self.value_model = value_model
        self.segment_model = segment_model

    @property
    def _labels(self) -> list[str]:
        return [*filter(None, [self.flag_model, self.value_model, self.segment_model])]

    def describe(self) -> str:
        return f"Install the triggers of flagstaff on {' and '.join(self._labels)}"

    @property
    def migration_name_fragment(self) -> str:
        return "triggers"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        for watched in self._watched(schema_editor.connection, state):
            schema = schema_of_functions(schema_editor)
            for file in ("token_trigger_v1", "history_triggers_v1"):
                execute(schema_editor, file, {"schema": schema, **watched.placeholders()})
            install_group_function(schema_editor)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        for watched in self._watched(schema_editor.connection, state):
            execute(schema_editor, "drop_triggers_v1", watched.placeholders())
            install_group_function(schema_editor)

    def _watched(
        self, connection: BaseDatabaseWrapper, state: ProjectState
    ) -> Iterator[WatchedTable]:
        return watched_tables(
            connection,
            migrated_model(self.flag_model, connection, state),
            migrated_model(self.value_model, connection, state),
            migrated_model(self.segment_model, connection, state),
        )


def _owner_of_tokens(schema_editor: BaseDatabaseSchemaEditor) -> str:
    """Returns the quoted name of the owner of the token table, or "" without it."""
    connection = schema_editor.connection
    token_table = find_table(connection, own_names(connection)["token_table"])
    return token_table.owner if token_table else ""


def _refuse_foreign_objects(
    schema_editor: BaseDatabaseSchemaEditor, schema: str, *, trusted: str = ""
) -> None:
    """Raises FlagstaffError if an object with one of our names belongs to another role.

    `schema` is quoted, and so is `trusted`, a role whose objects are accepted.
    """
    if schema_editor.collect_sql:  # sqlmigrate only prints the statements
        return
    connection = schema_editor.connection
    names = [table.strip('"') for table in own_names(connection).values()]
    names += [name for file in _WITH_OBJECTS for name in _CREATED.findall(sql(file))]
    for foreign in foreign_objects(connection, schema, names, trusted=trusted):
        raise FlagstaffError(
            "{name} belongs to role {owner}, which could change what flagstaff writes and runs; "
            "drop it, or make role {role} its owner, and run the migration again",
            name=foreign.qualified,
            owner=foreign.owner,
            role=foreign.role,
        )


def _execute_all(
    schema_editor: BaseDatabaseSchemaEditor, files: Iterable[str], schema: str
) -> None:
    """Runs files about the tables and functions of flagstaff in a schema, a quoted name."""
    names = own_names(schema_editor.connection)
    tables = {name: f"{schema}.{table}" for name, table in names.items()}
    for file in files:
        execute(schema_editor, file, {"schema": schema, **tables})
