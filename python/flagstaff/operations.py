"""Migration operations that install what PostgreSQL does for us, and take it back.

`InstallTables` makes the tables of tokens and history with their functions; flagstaff's own
migration does that once. `InstallTriggers` has the tables of two models watched. A project that
keeps its own models puts it into a migration of its own:

    dependencies = [("common", "0007_featureflag"), ("flagstaff", "0002_triggers")]
    operations = [InstallTriggers("common.FeatureFlag", "common.KeyValueStore")]

Both do nothing on other databases, can be run again, and ask the router.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import router
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.operations.base import Operation, OperationCategory
from django.db.migrations.state import ProjectState
from django.db.models import Model

from flagstaff import tables
from flagstaff.exceptions import FlagstaffError

__all__ = ["InstallTables", "InstallTriggers"]

# Both give quoted names; a table is looked for along the search path.
_CURRENT_SCHEMA = "SELECT quote_ident(current_schema())"
_FIND_TABLE = """
    SELECT quote_ident(nspname), quote_ident(nspname) || '.' || quote_ident(relname)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = to_regclass(%s)
"""


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


class InstallTables(_PostgresOperation):
    """Make the tables of tokens and history, and the functions that write them."""

    def describe(self) -> str:
        return "Install the tables and functions of tokens and history"

    @property
    def migration_name_fragment(self) -> str:
        return "tables"

    def install(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._run(["tokens_v1", "history_v1"], app_label, schema_editor)

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        self._run(["drop_tables_v1"], app_label, schema_editor)

    def _run(
        self, files: list[str], app_label: str, schema_editor: BaseDatabaseSchemaEditor
    ) -> None:
        connection = schema_editor.connection
        if not router.allow_migrate(connection.alias, app_label):
            return
        schema = _current_schema(connection)
        own = tables.own_names(connection)
        names = {"schema": schema, **{name: f"{schema}.{table}" for name, table in own.items()}}
        for file in files:
            _execute(schema_editor, file, names)


class InstallTriggers(_PostgresOperation):
    """Let each change of these models leave a token and an entry in the history.

    Name a model as "app_label.Model", or leave it out where flagstaff's own is used.
    """

    def __init__(self, flag_model: str | None = None, value_model: str | None = None) -> None:
        self.flag_model = flag_model
        self.value_model = value_model

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
            _execute(schema_editor, "triggers_v1", {"schema": schema, **watched})

    def remove(
        self, app_label: str, schema_editor: BaseDatabaseSchemaEditor, state: ProjectState
    ) -> None:
        for watched in self._watched(schema_editor.connection, state):
            _execute(schema_editor, "drop_triggers_v1", watched)

    def _watched(
        self, connection: BaseDatabaseWrapper, state: ProjectState
    ) -> Iterator[dict[str, str]]:
        """What the trigger templates ask for, once per table."""
        if model := _migrated_model(self.flag_model, connection, state):
            yield _watched_flags(connection, model)
            yield _watched_allow_list(connection, model)
        if model := _migrated_model(self.value_model, connection, state):
            yield _watched_values(connection, model)


def _migrated_model(
    label: str | None, connection: BaseDatabaseWrapper, state: ProjectState
) -> type[Model] | None:
    """The model as it is at this point of the migrations, if this database holds it."""
    if label is None:
        return None
    model = state.apps.get_model(label)
    return model if router.allow_migrate_model(connection.alias, model) else None


def _watched_flags(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    names = tables.flag_names(connection, model)
    no_value = "''"
    columns = [names["flag_pk"], names["flag_key"], no_value, *tables.clocks(connection, model)]
    return {
        "table": _qualified(connection, names["flag_table"]),
        "source": "f",
        "history": "flagstaff_row_history_v1",
        "arguments": ", ".join(columns),
    }


def _watched_allow_list(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    names = tables.flag_names(connection, model)
    flags = _qualified(connection, names["flag_table"]).replace("'", "''")
    columns = [names["allow_flag"], names["allow_user"]]
    return {
        "table": _qualified(connection, names["allow_table"]),
        "source": "m",
        "history": "flagstaff_allow_history_v1",
        "arguments": ", ".join([*columns, f"'{flags}'", names["flag_pk"], names["flag_key"]]),
    }


def _watched_values(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    names = tables.value_names(connection, model)
    columns = [names["value_pk"], names["value_key"], names["value_value"]]
    return {
        "table": _qualified(connection, names["value_table"]),
        "source": "k",
        "history": "flagstaff_row_history_v1",
        "arguments": ", ".join([*columns, *tables.clocks(connection, model)]),
    }


def _schema_of_functions(schema_editor: BaseDatabaseSchemaEditor) -> str:
    """Our functions live beside the table of tokens."""
    connection = schema_editor.connection
    tokens = tables.own_names(connection)["token_table"]
    if found := _fetch(connection, _FIND_TABLE, [tokens]):
        return found[0]
    if schema_editor.collect_sql:  # what is only printed need not be there yet
        return _current_schema(connection)
    raise FlagstaffError(
        f'no table {tokens} on the search path of database "{connection.alias}"; let the '
        'migration depend on ("flagstaff", "0002_triggers"), and the router put flagstaff there'
    )


def _qualified(connection: BaseDatabaseWrapper, table: str) -> str:
    """A quoted table name with its schema: where the table is, or where it would be made."""
    if found := _fetch(connection, _FIND_TABLE, [table]):
        return found[1]
    return table if '"."' in table else f"{_current_schema(connection)}.{table}"


def _current_schema(connection: BaseDatabaseWrapper) -> str:
    [schema] = _fetch(connection, _CURRENT_SCHEMA) or [""]
    return schema


def _fetch(
    connection: BaseDatabaseWrapper, query: str, parameters: list[str] | None = None
) -> tuple[str, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        row: tuple[str, ...] | None = cursor.fetchone()
    return row


def _execute(schema_editor: BaseDatabaseSchemaEditor, file: str, names: dict[str, str]) -> None:
    schema_editor.execute(tables.fill(tables.sql(file), names), params=None)
