"""Checks that FLAG_MODEL and VALUE_MODEL have the required fields."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.db import models

from flagstaff._tables.model_fields import AnyField, find_field
from flagstaff.checks.fields import (
    KEY,
    fields_of_models,
    is_in_own_table,
    is_unique,
    refers_to_users,
)
from flagstaff.checks.guard import with_valid_settings
from flagstaff.conf import conf

__all__ = [
    "check_allowed_users",
    "check_field_tables",
    "check_field_types",
    "check_fields",
    "check_fields_are_not_null",
    "check_key_is_unique",
    "check_secret_column",
]


@with_valid_settings
def check_fields(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E005: a model lacks a field."""
    return [
        Error(
            f"the model has no field {required.name!r}",
            hint=f"add {required.name} = models.{required.declaration}, or inherit from a model "
            "of flagstaff.base_models",
            obj=model,
            id="flagstaff.E005",
        )
        for model, required, field in fields_of_models()
        if field is None and not required.optional
    ]


@with_valid_settings
def check_field_types(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E006: a field has a type that cannot be read."""
    return [
        Error(
            f"{required.name} has the type {type(field).__name__}, which is not supported",
            hint=f"use models.{required.declaration}",
            obj=model,
            id="flagstaff.E006",
        )
        for model, required, field in fields_of_models()
        if field is not None and not required.accepts(field)
    ]


@with_valid_settings
def check_allowed_users(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E007: `allowed_users` does not refer to the primary keys of the users."""
    field = find_field(conf.flag_model, "allowed_users")
    if not isinstance(field, models.ManyToManyField) or refers_to_users(field):
        return []
    return [
        Error(
            f"allowed_users does not refer to the primary key of {get_user_model()._meta.label}",
            hint="use a ManyToManyField to settings.AUTH_USER_MODEL, without to_field in "
            "the through model",
            obj=conf.flag_model,
            id="flagstaff.E007",
        )
    ]


@with_valid_settings
def check_fields_are_not_null(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W008: a field may be NULL, and workers ignore rows in which it is NULL."""
    # A value that is NULL is None, as in the ORM.
    return [
        Warning(
            f"{required.name} allows NULL; rows with NULL are ignored",
            hint=f"declare {required.name} without null=True",
            obj=model,
            id="flagstaff.W008",
        )
        for model, required, field in fields_of_models()
        if getattr(field, "null", False) and not required.optional and required.name != "value"
    ]


@with_valid_settings
def check_key_is_unique(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.W009: two rows may have the same key, and workers then ignore both."""
    return [
        Warning(
            "key is not unique; rows with duplicate keys are ignored",
            hint="declare key with unique=True",
            obj=model,
            id="flagstaff.W009",
        )
        for model, required, field in fields_of_models()
        if required is KEY and field is not None and not is_unique(field)
    ]


@with_valid_settings
def check_field_tables(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E010: a field is stored in the table of another model."""
    return [
        Error(
            f"{required.name} is stored in the table of {field.model._meta.label}",
            hint="inherit from an abstract model, so that one table has all the fields",
            obj=model,
            id="flagstaff.E010",
        )
        for model, required, field in fields_of_models()
        if field and _column(field) and not is_in_own_table(field, model)
    ]


@with_valid_settings
def check_secret_column(**kwargs: object) -> list[CheckMessage]:
    """flagstaff.E020: the triggers cannot see which values are secret."""
    model = conf.value_model
    field = find_field(model, "secret")
    # The trigger reads the column of this name.
    if field is None or (_column(field) == "secret" and is_in_own_table(field, model)):
        return []
    return [
        Error(
            f'the field "secret" must use the column "secret" of {model._meta.db_table}; '
            "otherwise the history stores secret values in plain text",
            hint="declare secret = models.BooleanField(default=False), without db_column",
            obj=model,
            id="flagstaff.E020",
        )
    ]


def _column(field: AnyField) -> str | None:
    # A relation of another model has none.
    return getattr(field, "column", None)
