"""Fields of a model by what sets them: the caller, Django's clock, or the database."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, ManyToManyField, Model

AnyField: TypeAlias = "Field[Any, Any]"

#: The names of some fields of flags and values.
RULES, CONDITIONS = "rules", "conditions"
OWNER, TAGS, REVIEW_ON = "owner", "tags", "review_on"
#: The bucketing unit of a row: what its percentages count.
BUCKET_BY = "bucket_by"
#: The units that are not the name of an attribute.
USER, VISITOR = "user", "visitor"

# The characters of an attribute's name in a label or a sentence.
_MAX_SHOWN = 24


def find_field(model: type[Model], name: str) -> AnyField | None:
    """Returns the field of this name, or None."""
    try:
        return cast("AnyField", model._meta.get_field(name))
    except FieldDoesNotExist:
        return None


def segment_model() -> type[Model]:
    """Returns the model of segments. Looked up, because apps may not be loaded at the import."""
    return apps.get_model("flagstaff", "Segment")


def stored_fields(model: type[Model]) -> list[AnyField]:
    """Returns the fields that are columns of the model's own table."""
    return list(model._meta.local_concrete_fields)


def through_model(field: ManyToManyField[Model, Model]) -> type[Model]:
    """Returns the model of the table between the two models."""
    return cast("type[Model]", field.remote_field.through)


def auto_now_fields(model: type[Model]) -> list[AnyField]:
    """Returns the fields that Django sets to the current time at every save."""
    return [field for field in stored_fields(model) if is_auto_now(field)]


def auto_now_columns(model: type[Model]) -> list[str]:
    """Returns the columns of these fields, unquoted. An update of them alone is no change."""
    return [str(field.column) for field in auto_now_fields(model)]


def fields_to_set(model: type[Model]) -> list[AnyField]:
    """Returns the fields that neither the database nor Django's clock sets, nor the primary key."""
    return [
        field
        for field in stored_fields(model)
        if not (field.primary_key or is_generated(field))
        and not (is_auto_now(field) or is_auto_now_add(field))
    ]


def is_auto_now(field: AnyField) -> bool:
    """Whether Django sets the field to the current time at every save."""
    return bool(getattr(field, "auto_now", False))


def is_auto_now_add(field: AnyField) -> bool:
    """Whether Django sets the field to the current time when a row is created."""
    return bool(getattr(field, "auto_now_add", False))


def is_generated(field: AnyField) -> bool:
    """Whether the database computes the field."""
    return bool(getattr(field, "generated", False))


def short_unit(unit: str) -> str:
    """Returns the name of a unit, without the end of a long one."""
    return unit if len(unit) <= _MAX_SHOWN else f"{unit[: _MAX_SHOWN - 1]}…"
