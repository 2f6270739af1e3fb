"""Whether FLAG_MODEL and VALUE_MODEL have the fields that are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning  # noqa: A004
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from flagstaff.checks.guard import with_usable_settings
from flagstaff.conf import conf

__all__ = [
    "check_allowed_users",
    "check_field_tables",
    "check_field_types",
    "check_fields",
    "check_key_is_unique",
    "check_nothing_is_null",
    "check_secret_is_seen",
]


@dataclass(frozen=True)
class _Need:
    name: str
    kinds: tuple[type[models.Field[Any, Any]], ...]
    #: What could be written into the model.
    declaration: str
    #: Whether a model may do without it, and rows without a value for it.
    optional: bool = False

    def is_met_by(self, field: Any) -> bool:
        return isinstance(field, self.kinds)


class _AnyValue(_Need):
    """A field with a decoder of its own is read by that."""

    def is_met_by(self, field: Any) -> bool:
        return super().is_met_by(field) or hasattr(field, "from_db_value")


_KEY = _Need("key", (models.CharField, models.TextField), "CharField(max_length=255, unique=True)")
_NUMBERS = (models.IntegerField, models.DecimalField, models.FloatField)
_OF_A_FLAG = (
    _KEY,
    _Need("enabled", (models.BooleanField,), "BooleanField(default=False)"),
    _Need("rollout_percent", _NUMBERS, "PositiveSmallIntegerField(default=0)"),
    _Need(
        "allowed_users",
        (models.ManyToManyField,),
        "ManyToManyField(settings.AUTH_USER_MODEL, blank=True)",
    ),
    _Need("client_side", (models.BooleanField,), "BooleanField(default=False)", optional=True),
)
_OF_A_VALUE = (
    _KEY,
    _AnyValue("value", (models.JSONField, models.CharField, models.TextField), "JSONField()"),
)


@with_usable_settings
def check_fields(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E005: a model has not all the fields."""
    return [
        Error(
            f"it has no field {need.name!r}",
            hint=f"add {need.name} = models.{need.declaration}, or inherit from a model of "
            "flagstaff.base_models",
            obj=model,
            id="flagstaff.E005",
        )
        for model, need, field in _fields()
        if field is None and not need.optional
    ]


@with_usable_settings
def check_field_types(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E006: a field is of a type that cannot be read."""
    return [
        Error(
            f"{need.name} is a {type(field).__name__}",
            hint=f"expected models.{need.declaration}, or the like",
            obj=model,
            id="flagstaff.E006",
        )
        for model, need, field in _fields()
        if field is not None and not need.is_met_by(field)
    ]


@with_usable_settings
def check_allowed_users(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E007: the allow-list refers to something else than the users' primary keys."""
    field = _field(conf.flag_model, "allowed_users")
    if not isinstance(field, models.ManyToManyField) or _refers_to_users(field):
        return []
    return [
        Error(
            f"allowed_users does not refer to the primary key of {get_user_model()._meta.label}",
            hint="expected a ManyToManyField to settings.AUTH_USER_MODEL, without to_field in "
            "the model between",
            obj=conf.flag_model,
            id="flagstaff.E007",
        )
    ]


@with_usable_settings
def check_nothing_is_null(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.W008: a field may be NULL, and rows in which it is count for nothing."""
    # A value that is NULL is None, as it is to the ORM.
    return [
        Warning(
            f"{need.name} may be NULL: a row in which it is counts for nothing",
            hint=f"declare {need.name} without null=True",
            obj=model,
            id="flagstaff.W008",
        )
        for model, need, field in _fields()
        if getattr(field, "null", False) and not need.optional and need.name != "value"
    ]


@with_usable_settings
def check_key_is_unique(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.W009: two rows may have one key, and then count for nothing."""
    return [
        Warning(
            "two rows may have the same key: both count for nothing then",
            hint="declare key with unique=True",
            obj=model,
            id="flagstaff.W009",
        )
        for model, need, field in _fields()
        if need is _KEY and field is not None and not _is_unique(field)
    ]


@with_usable_settings
def check_field_tables(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E010: a field is stored in the table of another model."""
    return [
        Error(
            f"{need.name} is stored in the table of {field.model._meta.label}",
            hint="inherit from an abstract model, so that one table has all the fields",
            obj=model,
            id="flagstaff.E010",
        )
        for model, need, field in _fields()
        if getattr(field, "column", None) and not _is_in_own_table(field, model)
    ]


@with_usable_settings
def check_secret_is_seen(**kwargs: Any) -> list[CheckMessage]:
    """flagstaff.E020: the triggers do not see which values are secret."""
    model = conf.value_model
    field = _field(model, "secret")
    # The trigger looks for it by this name.
    is_seen = getattr(field, "column", None) == "secret" and _is_in_own_table(field, model)
    if field is None or is_seen:
        return []
    return [
        Error(
            f'secret is not stored in a column "secret" of {model._meta.db_table}: the history '
            "would have secret values in plain text",
            hint="declare secret = models.BooleanField(default=False), without db_column",
            obj=model,
            id="flagstaff.E020",
        )
    ]


def _fields() -> Iterator[tuple[type[models.Model], _Need, Any]]:
    """Every field that is needed, with what the model has for it; None where that is nothing."""
    for model, needs in ((conf.flag_model, _OF_A_FLAG), (conf.value_model, _OF_A_VALUE)):
        for need in needs:
            yield model, need, _field(model, need.name)


def _field(model: type[models.Model], name: str) -> Any:
    try:
        return model._meta.get_field(name)
    except FieldDoesNotExist:
        return None


def _is_in_own_table(field: Any, model: type[models.Model]) -> bool:
    return bool(field.model._meta.db_table == model._meta.db_table)


def _refers_to_users(field: models.ManyToManyField[Any, Any]) -> bool:
    """A user model that inherits from the one referred to has the same primary keys."""
    related: Any = field.related_model
    through: Any = field.remote_field.through
    reference = through._meta.get_field(field.m2m_reverse_field_name())
    users: Any = get_user_model()._meta.concrete_model
    return issubclass(users, related._meta.concrete_model) and reference.target_field.primary_key


def _is_unique(field: models.Field[Any, Any]) -> bool:
    meta = field.model._meta
    alone = (field.name,)
    constraints = (constraint.fields for constraint in meta.total_unique_constraints)
    return field.unique or alone in meta.unique_together or alone in constraints
