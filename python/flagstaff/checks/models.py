"""Checks that FLAG_MODEL and VALUE_MODEL have the required fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, cast

from django.contrib.auth import get_user_model
from django.db import models

from flagstaff._tables.model_fields import AnyField, find_field, through_model
from flagstaff.checks.check import Problem
from flagstaff.conf import conf

_ToUsers: TypeAlias = "models.ForeignKey[models.Model, models.Model]"


@dataclass(frozen=True)
class _RequiredField:
    """A field that a model must have, or may have if `optional`."""

    name: str
    types: tuple[type[AnyField], ...]
    #: Python code that declares it, for hints.
    declaration: str
    optional: bool = False

    def accepts(self, field: AnyField) -> bool:
        """Whether the field has one of the types."""
        return isinstance(field, self.types)


class _ValueField(_RequiredField):
    """The field of a value, which may also have a decoder of its own."""

    def accepts(self, field: AnyField) -> bool:
        return super().accepts(field) or hasattr(field, "from_db_value")


_KEY = _RequiredField(
    "key", (models.CharField, models.TextField), "CharField(max_length=255, unique=True)"
)
_FLAG_FIELDS = (
    _KEY,
    _RequiredField("enabled", (models.BooleanField,), "BooleanField(default=False)"),
    _RequiredField(
        "rollout_percent",
        (models.IntegerField, models.DecimalField, models.FloatField),
        "PositiveSmallIntegerField(default=0)",
    ),
    _RequiredField(
        "allowed_users",
        (models.ManyToManyField,),
        "ManyToManyField(settings.AUTH_USER_MODEL, blank=True)",
    ),
    _RequiredField(
        "client_side", (models.BooleanField,), "BooleanField(default=False)", optional=True
    ),
)
_VALUE_FIELDS = (
    _KEY,
    _ValueField("value", (models.JSONField, models.CharField, models.TextField), "JSONField()"),
)


def missing_fields() -> Iterator[Problem]:
    """Yields the fields that a model lacks."""
    for model, required, field in _fields():
        if field is None and not required.optional:
            yield Problem(f"the model has no field {required.name!r}", model, field=required)


def fields_of_other_types() -> Iterator[Problem]:
    """Yields the fields with a type that cannot be read."""
    for model, required, field in _fields():
        if field is not None and not required.accepts(field):
            yield Problem(
                f"{required.name} has the type {type(field).__name__}, which is not supported",
                model,
                field=required,
            )


def allowed_users_of_others() -> Iterator[Problem]:
    """Yields that `allowed_users` does not refer to the primary keys of the users."""
    field = find_field(conf.flag_model, "allowed_users")
    if isinstance(field, models.ManyToManyField) and not _refers_to_users(field):
        yield Problem(
            f"allowed_users does not refer to the primary key of {get_user_model()._meta.label}",
            conf.flag_model,
        )


def nullable_fields() -> Iterator[Problem]:
    """Yields the fields that may be NULL; workers ignore rows in which they are."""
    for model, required, field in _fields():
        # A value that is NULL is None, as in the ORM.
        if getattr(field, "null", False) and not required.optional and required.name != "value":
            text = f"{required.name} allows NULL; rows with NULL are ignored"
            yield Problem(text, model, field=required)


def keys_that_are_not_unique() -> Iterator[Problem]:
    """Yields that two rows may have the same key; workers then ignore both."""
    for model, required, field in _fields():
        if required is _KEY and field is not None and not _is_unique(field):
            yield Problem("key is not unique; rows with duplicate keys are ignored", model)


def fields_of_other_tables() -> Iterator[Problem]:
    """Yields the fields that are stored in the table of another model."""
    for model, required, field in _fields():
        if field and _column(field) and not _is_in_own_table(field, model):
            label = field.model._meta.label
            yield Problem(f"{required.name} is stored in the table of {label}", model)


def hidden_secret_column() -> Iterator[Problem]:
    """Yields that the triggers cannot see which values are secret."""
    model = conf.value_model
    field = find_field(model, "secret")
    # The trigger reads the column of this name.
    if field and not (_column(field) == "secret" and _is_in_own_table(field, model)):
        yield Problem(
            f'the field "secret" must use the column "secret" of {model._meta.db_table}; '
            "otherwise the history stores secret values in plain text",
            model,
        )


def _fields() -> Iterator[tuple[type[models.Model], _RequiredField, AnyField | None]]:
    """Yields each required field of both models, with the model's own field or None."""
    for model, required in ((conf.flag_model, _FLAG_FIELDS), (conf.value_model, _VALUE_FIELDS)):
        for field in required:
            yield model, field, find_field(model, field.name)


def _column(field: AnyField) -> str | None:
    # A relation of another model has none.
    return getattr(field, "column", None)


def _is_in_own_table(field: AnyField, model: type[models.Model]) -> bool:
    """Whether the field is stored in the model's own table, not in that of a parent."""
    return bool(field.model._meta.db_table == model._meta.db_table)


def _refers_to_users(field: models.ManyToManyField[models.Model, models.Model]) -> bool:
    """Whether the field refers to the primary keys of the users, or of their parent model."""
    through = through_model(field)._meta
    reference = cast("_ToUsers", through.get_field(field.m2m_reverse_field_name()))
    users, related = _concrete(get_user_model()), _concrete(field.related_model)
    return issubclass(users, related) and reference.target_field.primary_key


def _concrete(model: type[models.Model]) -> type[models.Model]:
    return model._meta.concrete_model or model


def _is_unique(field: AnyField) -> bool:
    """Whether two rows cannot have the same value."""
    meta = field.model._meta
    alone = (field.name,)
    constraints = (constraint.fields for constraint in meta.total_unique_constraints)
    return field.unique or alone in meta.unique_together or alone in constraints
