"""The base of migration operations that run SQL in PostgreSQL, and what several of them need."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model

from flagstaff._connection import is_postgresql
from flagstaff._tables.catalog import current_schema, find_table
from flagstaff._tables.names import fill, own_names, sql
from flagstaff.exceptions import FlagstaffError

#: The function that Django's signals of groups call, and the hashes of all functions.
GROUP_FUNCTION, HASHES = "group_function_v1", "function_hashes_v1"


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
