"""Migration operations that install what PostgreSQL does for us, and take it back.

`InstallTables` makes the tables of tokens and history with their functions, `InstallUsage` those
of usage, `InstallWebhooks` those of who is told; flagstaff's own migrations do that once.
`InstallTriggers` has the tables of two models watched. A project that keeps its own models puts it
into a migration of its own:

    dependencies = [("common", "0007_featureflag"), ("flagstaff", "0002_triggers")]
    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]

All do nothing on other databases, can be run again, and ask the router.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model

from flagstaff._tables.catalog import current_schema, find_table
from flagstaff._tables.names import fill, own_names, sql
from flagstaff._tables.triggers import WatchedTable, watched_tables
from flagstaff.exceptions import FlagstaffError

__all__ = ["InstallTables", "InstallTriggers", "InstallUsage", "InstallWebhooks"]


class _PostgresOperation(Operation):
    """Leaves the models' state alone, and is atomic even where its migration is not."""

    atomic = True
    reduces_to_sql = True
    reversible = True
    category = OperationCategory.SQL

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """Models stay as they are."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            self.install(app_label, schema_editor, to_state)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        if schema_editor.connection.vendor == "postgresql":
            self.remove(app_label, schema_editor, from_state)

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        raise NotImplementedError

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        raise NotImplementedError


class _OwnTables(_PostgresOperation):
    """Makes tables that are flagstaff's own whatever the models are."""

    #: What it makes, in words and as a part of a migration's name.
    what: str
    fragment: str
    installing: tuple[str, ...]
    removing: str

    def describe(self) -> str:
        return f"Install {self.what}"

    @property
    def migration_name_fragment(self) -> str:
        return self.fragment

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._run(self.installing, app_label, schema_editor)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._run((self.removing,), app_label, schema_editor)

    def _run(
        self, files: tuple[str, ...], app_label: str, schema_editor: BaseDatabaseSchemaEditor
    ) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        schema = current_schema(connection)
        own = own_names(connection)
        names = {"schema": schema, **{name: f"{schema}.{table}" for name, table in own.items()}}
        for file in files:
            _execute(schema_editor, file, names)


class InstallTables(_OwnTables):
    """Make the tables of tokens and history, and the functions that write them."""

    what = "the tables and functions of tokens and history"
    fragment = "tables"
    installing = ("tokens_v1", "history_v1")
    removing = "drop_tables_v1"


class InstallUsage(_OwnTables):
    """Make the tables of usage: what was asked in each hour, and by which workers."""

    what = "the tables of usage"
    fragment = "usage"
    installing = ("usage_v1",)
    removing = "drop_usage_v1"


class InstallWebhooks(_OwnTables):
    """Make the tables of the outbox: how far each receiver is, and what it has yet to be told."""

    what = "the tables of the outbox"
    fragment = "outbox"
    installing = ("webhooks_v1",)
    removing = "drop_webhooks_v1"


class InstallTriggers(_PostgresOperation):
    """Let each change of these models leave a token and an entry in the history.

    Name a model as "app_label.Model", or leave it out where flagstaff's own is used.
    """

    def __init__(self, flag_model: str | None = None, value_model: str | None = None) -> None:
        self.flag_model = flag_model
        self.value_model = value_model

    def names(self, model: type[Model]) -> bool:
        """Whether this installs the triggers of a model."""
        labels = filter(None, [self.flag_model, self.value_model])
        return model._meta.label_lower in map(str.lower, labels)

    def describe(self) -> str:
        models = " and ".join(filter(None, [self.flag_model, self.value_model]))
        return f"Install the triggers of tokens and history on {models}"

    @property
    def migration_name_fragment(self) -> str:
        return "triggers"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        for watched in self._watched(schema_editor.connection, state):
            schema = _schema_of_functions(schema_editor)
            _execute(schema_editor, "triggers_v1", {"schema": schema, **watched.places()})

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        for watched in self._watched(schema_editor.connection, state):
            _execute(schema_editor, "drop_triggers_v1", watched.places())

    def _watched(
        self, connection: BaseDatabaseWrapper, state: ProjectState
    ) -> Iterator[WatchedTable]:
        return watched_tables(
            connection,
            _migrated_model(self.flag_model, connection, state),
            _migrated_model(self.value_model, connection, state),
        )


def _migrated_model(
    label: str | None, connection: BaseDatabaseWrapper, state: ProjectState
) -> type[Model] | None:
    """The model as it is at this point of the migrations, if this database holds it."""
    if label is None:
        return None
    model = state.apps.get_model(label)
    return model if router.allow_migrate_model(connection.alias, model) else None


def _schema_of_functions(schema_editor: BaseDatabaseSchemaEditor) -> str:
    """Our functions live beside the table of tokens."""
    connection = schema_editor.connection
    tokens = own_names(connection)["token_table"]
    if found := find_table(connection, tokens):
        return found.schema
    if schema_editor.collect_sql:  # what is only printed need not be there yet
        return current_schema(connection)
    raise FlagstaffError(
        f'no table {tokens} on the search path of database "{connection.alias}"; let the '
        'migration depend on ("flagstaff", "0002_triggers"), and the router put flagstaff there'
    )


def _execute(schema_editor: BaseDatabaseSchemaEditor, file: str, names: dict[str, str]) -> None:
    schema_editor.execute(fill(sql(file), names), params=None)
