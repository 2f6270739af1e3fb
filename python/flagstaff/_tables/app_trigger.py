"""The base of migration operations of optional apps that notify workers of changed rows."""

from __future__ import annotations

from typing import ClassVar

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from flagstaff._tables.migrating import (
    PostgresOperation,
    install_group_function,
    migrated_model,
    schema_of_functions,
)
from flagstaff._tables.names import fill, sql


class WatchAppTable(PostgresOperation):
    """Installs the triggers that write a change token for each change of a table."""

    #: The model of the table, and the relation of its tokens.
    model: ClassVar[str]
    relation: ClassVar[str]

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("token_trigger_v1", schema_editor, state)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("drop_token_trigger_v1", schema_editor, state)

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
        schema_editor.execute(fill(sql(file), names), params=None)
        install_group_function(schema_editor)
