"""The fields that FLAG_MODEL and VALUE_MODEL must have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias, cast

from django.contrib.auth import get_user_model
from django.db import models

from flagstaff._tables.model_fields import AnyField, find_field, through_model
from flagstaff.conf import conf

__all__ = [
    "KEY",
    "RequiredField",
    "fields_of_models",
    "is_in_own_table",
    "is_unique",
    "refers_to_users",
]

_ToUsers: TypeAlias = "models.ForeignKey[models.Model, models.Model]"


@dataclass(frozen=True)
class RequiredField:
    """A field that a model must have, or may have if `optional`."""

    name: str
    types: tuple[type[AnyField], ...]
    #: Python code that declares it, for hints.
    declaration: str
    optional: bool = False

    def accepts(self, field: AnyField) -> bool:
        """Whether the field has one of the types."""
        return isinstance(field, self.types)


class _ValueField(RequiredField):
    """The field of a value, which may also have a decoder of its own."""

    def accepts(self, field: AnyField) -> bool:
        return super().accepts(field) or hasattr(field, "from_db_value")


KEY = RequiredField(
    "key", (models.CharField, models.TextField), "CharField(max_length=255, unique=True)"
)
_FLAG_FIELDS = (
    KEY,
    RequiredField("enabled", (models.BooleanField,), "BooleanField(default=False)"),
    RequiredField(
        "rollout_percent",
        (models.IntegerField, models.DecimalField, models.FloatField),
        "PositiveSmallIntegerField(default=0)",
    ),
    RequiredField(
        "allowed_users",
        (models.ManyToManyField,),
        "ManyToManyField(settings.AUTH_USER_MODEL, blank=True)",
    ),
    RequiredField(
        "client_side", (models.BooleanField,), "BooleanField(default=False)", optional=True
    ),
)
_VALUE_FIELDS = (
    KEY,
    _ValueField("value", (models.JSONField, models.CharField, models.TextField), "JSONField()"),
)


def fields_of_models() -> Iterator[tuple[type[models.Model], RequiredField, AnyField | None]]:
    """Yields each required field of both models, with the model's own field or None."""
    for model, required in ((conf.flag_model, _FLAG_FIELDS), (conf.value_model, _VALUE_FIELDS)):
        for field in required:
            yield model, field, find_field(model, field.name)


def is_in_own_table(field: AnyField, model: type[models.Model]) -> bool:
    """Whether the field is stored in the model's own table, not in that of a parent."""
    return bool(field.model._meta.db_table == model._meta.db_table)


def refers_to_users(field: models.ManyToManyField[models.Model, models.Model]) -> bool:
    """Whether the field refers to the primary keys of the users, or of their parent model."""
    through = through_model(field)._meta
    reference = cast("_ToUsers", through.get_field(field.m2m_reverse_field_name()))
    users, related = _concrete(get_user_model()), _concrete(field.related_model)
    return issubclass(users, related) and reference.target_field.primary_key


def _concrete(model: type[models.Model]) -> type[models.Model]:
    return model._meta.concrete_model or model


def is_unique(field: AnyField) -> bool:
    """Whether two rows cannot have the same value."""
    meta = field.model._meta
    alone = (field.name,)
    constraints = (constraint.fields for constraint in meta.total_unique_constraints)
    return field.unique or alone in meta.unique_together or alone in constraints
