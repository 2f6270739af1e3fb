"""The migration operation that notifies workers of changed plans. A no-op outside PostgreSQL."""

from __future__ import annotations

from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState

from flagstaff._tables.migrating import PostgresOperation, migrated_model, schema_of_functions
from flagstaff._tables.names import fill, sql

__all__ = ["WatchPlans"]

_PLAN = "flagstaff_rollouts.Plan"


class WatchPlans(PostgresOperation):
    """Installs the trigger that writes a change token for each changed plan."""

    def describe(self) -> str:
        return "Watch the rollout plans"

    @property
    def migration_name_fragment(self) -> str:
        return "watch_plans"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("plan_triggers_v1", schema_editor, state)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._execute("drop_plan_triggers_v1", schema_editor, state)

    def _execute(
        self, file: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        connection = schema_editor.connection
        plan = migrated_model(_PLAN, connection, state)
        if plan is None:
            return
        names = {
            "schema": schema_of_functions(schema_editor),
            "table": connection.ops.quote_name(plan._meta.db_table),
        }
        schema_editor.execute(fill(sql(file, "flagstaff.rollouts"), names), params=None)
