"""Fields of a model by what sets them: the caller, Django's clock, or the database."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db.models import (
    CharField,
    DateField,
    DateTimeField,
    Field,
    JSONField,
    ManyToManyField,
    Model,
    TextField,
)

from flagstaff.validators import validate_tags

AnyField: TypeAlias = "Field[Any, Any]"

#: The names of the fields about the ownership of a flag.
OWNER, TAGS, REVIEW_ON = "owner", "tags", "review_on"


def find_field(model: type[Model], name: str) -> AnyField | None:
    """Returns the field of this name, or None."""
    try:
        return cast("AnyField", model._meta.get_field(name))
    except FieldDoesNotExist:
        return None


def rules_field(model: type[Model]) -> AnyField | None:
    """Returns the field of a flag model's rules, or None.

    Another field or relation of this name belongs to the project, whose flags then have no rules.
    """
    return _own_field(model, "rules", JSONField)


def bucket_field(model: type[Model]) -> AnyField | None:
    """Returns the field of a flag model's bucketing unit, or None.

    Another field or relation of this name belongs to the project, whose flags are then bucketed by
    user.
    """
    return _own_field(model, "bucket_by", CharField, TextField)


def ownership_fields(model: type[Model]) -> dict[str, AnyField]:
    """Returns those of a flag model's fields `owner`, `tags` and `review_on` that it has, by name.

    Another field or relation of such a name belongs to the project. A JSON field "tags" is
    flagstaff's if it has the validator of tags.
    """
    owner, tags, review_on = (
        _own_field(model, OWNER, CharField, TextField),
        _own_field(model, TAGS, JSONField),
        _own_field(model, REVIEW_ON, DateField),
    )
    found = {
        OWNER: owner,
        TAGS: tags if tags is not None and validate_tags in tags.validators else None,
        # In Django, the field of a time is a kind of the field of a date.
        REVIEW_ON: None if isinstance(review_on, DateTimeField) else review_on,
    }
    return {name: field for name, field in found.items() if field is not None}


def _own_field(model: type[Model], name: str, *types: type[AnyField]) -> AnyField | None:
    """Returns the field of this name, if it has one of the types and is in the model's table."""
    field = find_field(model, name)
    is_own = isinstance(field, types) and field.model._meta.db_table == model._meta.db_table
    return field if is_own else None


def segment_model() -> type[Model]:
    """Returns the model of segments. Looked up, because apps may not be loaded at the import."""
    return apps.get_model("flagstaff", "Segment")


def column_of(model: type[Model], name: str) -> str:
    """Returns the column of the field of this name, unquoted."""
    return str(cast("AnyField", model._meta.get_field(name)).column)


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


def auto_now_add_fields(model: type[Model]) -> list[AnyField]:
    """Returns the fields that Django sets to the current time when a row is created."""
    return [field for field in stored_fields(model) if is_auto_now_add(field)]


def is_auto_now(field: AnyField) -> bool:
    """Whether Django sets the field to the current time at every save."""
    return bool(getattr(field, "auto_now", False))


def is_auto_now_add(field: AnyField) -> bool:
    """Whether Django sets the field to the current time when a row is created."""
    return bool(getattr(field, "auto_now_add", False))


def is_generated(field: AnyField) -> bool:
    """Whether the database computes the field."""
    return bool(getattr(field, "generated", False))
