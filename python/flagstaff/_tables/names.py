"""Quoted names of tables and columns, read from the models' `_meta`, and SQL templates."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import cast

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import ForeignKey, ManyToManyField, Model

from flagstaff._tables.rows import (
    AnyField,
    GroupFields,
    find_field,
    readable_groups,
    segment_model,
    shared_schema,
    through_model,
)
from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError
from flagstaff.extensions import TABLES

_INTEGER_TYPES = {"smallint", "integer", "bigint"}
# The type in which keys of a column are compared, by the type of the column.
_KEY_TYPES = {
    **dict.fromkeys(_INTEGER_TYPES, "int8"),
    **dict.fromkeys(("smallserial", "serial", "bigserial"), "int8"),
    "uuid": "uuid",
    **dict.fromkeys(("varchar", "text"), "text"),
}
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


def names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the value of every placeholder in the templates, quoted for this connection.

    Those of groups are absent where groups cannot be read, and the type of a key where the column
    is neither an integer nor uuid, varchar or text. Raises ConfigurationError if a configured model
    lacks a required field.
    """
    return {
        **own_names(connection),
        "worker_function": connection.ops.quote_name("flagstaff_worker_v1"),
        **flag_names(connection, conf.flag_model),
        **value_names(connection, conf.value_model),
        **segment_names(connection, segment_model()),
        **group_names(connection),
        **optional_names(connection),
    }


def engine_names(
    connection: BaseDatabaseWrapper, more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Returns `names` and `more` as evaluations use them: never the tables of a tenant.

    A worker connects without a tenant. So do evaluations over Django's own connection, in tests.
    """
    by_placeholder, schema = {**names(connection), **(more or {})}, shared_schema(connection)
    if schema is None:
        return by_placeholder
    # A model can name a schema itself.
    endings = ("_table", "_function")
    schema = connection.ops.quote_name(schema)
    return {
        placeholder: f"{schema}.{name}"
        if placeholder.endswith(endings) and '"."' not in name
        else name
        for placeholder, name in by_placeholder.items()
    }


def own_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the tables of flagstaff itself, which do not depend on the models."""
    quote = connection.ops.quote_name
    return {
        "token_table": quote("flagstaff_token"),
        "change_table": quote("flagstaff_change"),
        "waiting_table": quote("flagstaff_waitingaction"),
        "usage_table": quote("flagstaff_usage"),
        "report_table": quote("flagstaff_report"),
        "worker_table": quote("flagstaff_worker"),
        "echo_table": quote("flagstaff_echo"),
    }


def flag_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of a flag model, which may be a model of a migration's state."""
    quote = connection.ops.quote_name
    allowed = _allowed_users(model)
    through = through_model(allowed)._meta
    flag = cast("AnyField", through.get_field(allowed.m2m_field_name()))
    user = cast("AnyField", through.get_field(allowed.m2m_reverse_field_name()))
    fields = ("key", "enabled", "client_side", "rules", "bucket_by")
    return {
        **_row_names(connection, model, "flag", fields),
        "flag_rollout": quote(_column(model, "rollout_percent")),
        "allowed_users_table": quote(through.db_table),
        "allowed_users_flag": quote(_own_column(flag)),
        "allowed_users_user": quote(_own_column(user)),
        "allowed_users_type": _pk_type(user.db_type(connection)),
        **_key_type(connection, "allowed_users_user_type", user),
    }


def value_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of a value model, which may be a model of a migration's state."""
    fields = ("key", "value", "secret", "client_side", "rules", "bucket_by")
    return _row_names(connection, model, "value", fields)


def segment_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """Returns the names of the segment model, which may be a model of a migration's state."""
    return _row_names(connection, model, "segment", ("key", "conditions"))


def _row_names(
    connection: BaseDatabaseWrapper, model: type[Model], kind: str, fields: Iterable[str]
) -> dict[str, str]:
    """Returns the names of a table of which each row is a flag, a value or a segment."""
    quote = connection.ops.quote_name
    return {
        f"{kind}_table": quote(model._meta.db_table),
        f"{kind}_pk": quote(_column(model, "pk")),
        **_key_type(connection, f"{kind}_pk_type", model._meta.pk),
        **{f"{kind}_{name}": quote(_column(model, name)) for name in fields},
    }


def group_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the names of the groups of users; none where groups cannot be read."""
    fields = readable_groups(connection, conf.flag_model, user_field(conf.flag_model).model)
    return {} if isinstance(fields, str) else names_of_groups(connection, fields)


def names_of_groups(connection: BaseDatabaseWrapper, fields: GroupFields) -> dict[str, str]:
    """Returns the names of the groups with these fields."""
    quote = connection.ops.quote_name
    return {
        "membership_table": quote(fields.membership._meta.db_table),
        "membership_user": quote(_own_column(fields.user)),
        "membership_group": quote(_own_column(fields.group)),
        "membership_user_type": _pk_type(fields.user.db_type(connection)),
        **_key_type(connection, "membership_user_key_type", fields.user),
        "group_table": quote(fields.name.model._meta.db_table),
        "group_pk": quote(_own_column(fields.key)),
        **_key_type(connection, "group_pk_type", fields.key),
        "group_name": quote(_own_column(fields.name)),
    }


def optional_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Returns the tables of the optional apps that are installed."""
    quote = connection.ops.quote_name
    return {
        placeholder: quote(model._meta.db_table)
        for of_app in TABLES
        for placeholder, model in of_app.items()
    }


def user_field(model: type[Model]) -> AnyField:
    """Returns the field of the user model that a flag model's `allowed_users` refers to."""
    allowed = _allowed_users(model)
    reference = through_model(allowed)._meta.get_field(allowed.m2m_reverse_field_name())
    return cast("ForeignKey[Model, Model]", reference).target_field


def sql(name: str, package: str = "flagstaff") -> str:
    """Returns the text of `sql/NAME.sql` in a package."""
    return (files(package) / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def fill(template: str, names: Mapping[str, str]) -> str:
    """Replaces each `{placeholder}` in one pass: a name with braces is not a template."""
    return _PLACEHOLDER.sub(lambda match: names[match[1]], template)


def _allowed_users(model: type[Model]) -> ManyToManyField[Model, Model]:
    return cast("ManyToManyField[Model, Model]", _field(model, "allowed_users"))


def _column(model: type[Model], name: str) -> str:
    return _own_column(model._meta.pk if name == "pk" else _field(model, name))


def _own_column(field: object) -> str:
    column = getattr(field, "column", None)
    if not column:
        raise ConfigurationError(
            "{field} has no column, expected a field that is stored", field=str(field)
        )
    return str(column)


def _field(model: type[Model], name: str) -> AnyField:
    field = find_field(model, name)
    if field is None:
        raise ConfigurationError(
            "{model} has no field {name}; inherit from AbstractFeatureFlag or "
            "AbstractKeyValueStore, and install triggers after the migration that adds its fields",
            model=model._meta.label,
            name=name,
        )
    return field


def _pk_type(column_type: str | None) -> str:
    """Returns the type in which primary keys are read: `int8` for integers, else `text`."""
    return "int8" if _first_word(column_type) in _INTEGER_TYPES else "text"


def _key_type(connection: BaseDatabaseWrapper, placeholder: str, field: AnyField) -> dict[str, str]:
    """Returns the type in which keys of a column are compared, if it is one that engines know."""
    key_type = _KEY_TYPES.get(_first_word(field.db_type(connection)))
    return {placeholder: key_type} if key_type else {}


def _first_word(column_type: str | None) -> str:
    """Returns the name of a type without its length."""
    return re.sub(r"\(\d+\)", "", str(column_type).lower()).split()[0]
