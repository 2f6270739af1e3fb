"""Names of tables and columns, from the models' `_meta`. Nothing else knows one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Field, ManyToManyField, Model

from flagstaff.conf import conf
from flagstaff.exceptions import ConfigurationError

__all__ = [
    "clocks",
    "fill",
    "flag_names",
    "names",
    "own_names",
    "sql",
    "user_field",
    "user_names",
    "value_names",
]

_INTEGER_TYPES = {"smallint", "integer", "bigint"}
_PLACE = re.compile(r"\{([a-z_]+)\}")


def names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """Every name that a template may ask for, quoted for this connection.

    Raises ConfigurationError where a configured model lacks a field that flagstaff needs.
    """
    return {
        **own_names(connection),
        **flag_names(connection, conf.flag_model),
        **value_names(connection, conf.value_model),
    }


def own_names(connection: BaseDatabaseWrapper) -> dict[str, str]:
    """The tables that are flagstaff's own whatever the models are."""
    quote = connection.ops.quote_name
    return {
        "token_table": quote("flagstaff_token"),
        "change_table": quote("flagstaff_change"),
        "usage_table": quote("flagstaff_usage"),
        "usage_worker_table": quote("flagstaff_usage_worker"),
        "receiver_table": quote("flagstaff_receiver"),
        "delivery_table": quote("flagstaff_delivery"),
    }


def flag_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """The names of a flag model, in the present or in a migration's state."""
    quote = connection.ops.quote_name
    allowed = _allowed_users(model)
    through = _through(allowed)
    flag = through.get_field(allowed.m2m_field_name())
    user = through.get_field(allowed.m2m_reverse_field_name())
    return {
        "flag_table": quote(model._meta.db_table),
        "flag_pk": quote(_column(model, "pk")),
        "flag_key": quote(_column(model, "key")),
        "flag_enabled": quote(_column(model, "enabled")),
        "flag_rollout": quote(_column(model, "rollout_percent")),
        "flag_client_side": _client_side(connection, model),
        "allowed_users_table": quote(through.db_table),
        "allowed_users_flag": quote(_own_column(flag)),
        "allowed_users_user": quote(_own_column(user)),
        "allowed_users_type": _read_as(user.db_type(connection)),
    }


def value_names(connection: BaseDatabaseWrapper, model: type[Model]) -> dict[str, str]:
    """The names of a value model, in the present or in a migration's state."""
    quote = connection.ops.quote_name
    return {
        "value_table": quote(model._meta.db_table),
        "value_pk": quote(_column(model, "pk")),
        "value_key": quote(_column(model, "key")),
        "value_value": quote(_column(model, "value")),
    }


def user_names(connection: BaseDatabaseWrapper, field: Field[Any, Any]) -> dict[str, str]:
    """The table of the users, and the column of their primary key."""
    column_type = field.db_type(connection) if field.remote_field else field.rel_db_type(connection)
    return {
        "user_table": connection.ops.quote_name(field.model._meta.db_table),
        "user_pk": connection.ops.quote_name(_own_column(field)),
        "user_read_as": _read_as(column_type),
    }


def clocks(connection: BaseDatabaseWrapper, model: type[Model]) -> list[str]:
    """The columns that a save moves by itself, which are no change in themselves."""
    quote = connection.ops.quote_name
    fields = model._meta.local_concrete_fields
    return [quote(str(field.column)) for field in fields if getattr(field, "auto_now", False)]


def user_field(model: type[Model]) -> Field[Any, Any]:
    """The field of the user model that a flag model's allow-list refers to."""
    allowed = _allowed_users(model)
    reference = _through(allowed).get_field(allowed.m2m_reverse_field_name())
    return cast("Field[Any, Any]", reference.target_field)


def sql(name: str) -> str:
    """The text of `sql/NAME.sql`."""
    return (files("flagstaff") / "sql" / f"{name}.sql").read_text(encoding="utf-8")


def fill(template: str, names: Mapping[str, str]) -> str:
    """Replace each `{name}` in one pass, so that no name is read as a template."""
    return _PLACE.sub(lambda place: names[place[1]], template)


def _client_side(connection: BaseDatabaseWrapper, model: type[Model]) -> str:
    """The column, or what stands for it in a model without one: no browser may ask."""
    has_column = any(field.name == "client_side" for field in model._meta.get_fields())
    return connection.ops.quote_name(_column(model, "client_side")) if has_column else "false"


def _allowed_users(model: type[Model]) -> ManyToManyField[Any, Any]:
    field = _field(model, "allowed_users")
    if not isinstance(field, ManyToManyField):
        raise ConfigurationError(
            f"{model._meta.label}.allowed_users is a {type(field).__name__}, "
            "expected a ManyToManyField to the user model"
        )
    return field


def _through(allowed: ManyToManyField[Any, Any]) -> Any:
    """The `_meta` of the model between flags and users."""
    through: Any = allowed.remote_field.through
    return through._meta


def _column(model: type[Model], name: str) -> str:
    field: Any = model._meta.pk if name == "pk" else _field(model, name)
    if field.model._meta.db_table != model._meta.db_table:
        raise ConfigurationError(
            f"{model._meta.label}.{name} is a column of {field.model._meta.label}, "
            "expected all fields in one table: inherit from an abstract model"
        )
    return _own_column(field)


def _own_column(field: Any) -> str:
    if not getattr(field, "column", None):
        raise ConfigurationError(f"{field} has no column of its own, expected an ordinary field")
    return str(field.column)


def _field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist as error:
        raise ConfigurationError(
            f"{model._meta.label} has no field {name!r}; a flag model has key, enabled, "
            "rollout_percent and allowed_users, a value model has key and value"
        ) from error


def _read_as(column_type: str | None) -> str:
    first_word = str(column_type).lower().split()[0]
    return "int8" if first_word in _INTEGER_TYPES else "text"
