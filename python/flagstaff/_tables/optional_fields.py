"""The optional fields of flags: which of them a project's model has, and their values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from django.db.models import (
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    JSONField,
    Model,
    Q,
    TextField,
)

from flagstaff._tables.bucket_units import BUCKET_BY, USER
from flagstaff._tables.model_fields import AnyField, find_field
from flagstaff._words.times import aware
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.validators import rules_field, validate_tags

#: The names of some of the fields.
RULES, OWNER, TAGS, REVIEW_ON = "rules", "owner", "tags", "review_on"

# A project's own column may be NULL.
WITHOUT_RULES = Q(rules=[]) | Q(rules__isnull=True)
WITHOUT_OWNER = Q(owner="") | Q(owner__isnull=True)


_TEXT: tuple[type[AnyField], ...] = (CharField, TextField)
_TYPES: Mapping[str, tuple[type[AnyField], ...]] = {
    RULES: (JSONField,),
    BUCKET_BY: _TEXT,
    OWNER: _TEXT,
    TAGS: (JSONField,),
    REVIEW_ON: (DateField,),
    "description": _TEXT,
    "kind": _TEXT,
    "client_side": (BooleanField,),
    "created_at": (DateTimeField,),
    "changed_at": (DateTimeField,),
}


@dataclass(frozen=True)
class OptionalFields:
    """The values of a row. A field that the model lacks, and NULL, have the default."""

    #: Whatever JSON SQL has written, as `tags`.
    rules: Any = field(default_factory=list)
    bucket_by: str = USER
    owner: str = ""
    tags: Any = field(default_factory=list)
    review_on: date | None = None
    description: str = ""
    kind: str = ""
    client_side: bool = False
    created_at: datetime | None = None
    changed_at: datetime | None = None


@dataclass(frozen=True)
class FlagModel:
    """The optional fields that a model of flags has, by name.

    Another field or relation of such a name belongs to the project. A JSON field "tags" is
    flagstaff's if it has the validator of tags.
    """

    fields: Mapping[str, AnyField]

    @staticmethod
    def of(model: type[Model]) -> FlagModel:
        """Returns what a model has. Looks it up once. The model may be one of a migration."""
        return _look_up(model)

    def has(self, name: str) -> bool:
        """Whether the model has the field of this name."""
        return name in self.fields

    def require(self, name: str) -> None:
        """Raises InvalidChangeError if the model lacks the field of this name."""
        if not self.has(name):
            raise InvalidChangeError(
                "the flag model of this project has no field {name}; add it, and run "
                "makemigrations and migrate",
                name=name,
            )

    def read(self, values: Mapping[str, Any]) -> OptionalFields:
        """Returns the values of the optional fields. Times become aware."""
        stored: dict[str, Any] = {
            name: aware(value) if isinstance(value, datetime) else value
            for name in self.fields
            if (value := values.get(name)) is not None
        }
        return OptionalFields(**stored)


def flag_model() -> FlagModel:
    """Returns what FLAG_MODEL has. The fields are looked up once."""
    return FlagModel.of(conf.flag_model)


@lru_cache(maxsize=16)
def value_rule_fields(model: type[Model]) -> Mapping[str, AnyField]:
    """Returns the fields `rules` and `bucket_by` of a model of values, by name.

    Empty if it lacks one of them, if the rules have another validator than ours, or if the value is
    not JSON: rules hold their results as JSON.
    """
    rules, unit = rules_field(model), find_field(model, BUCKET_BY)
    is_json = isinstance(find_field(model, "value"), JSONField)
    if not is_json or rules is None or unit is None or not _is_ours(model, unit):
        return {}
    return {RULES: rules, BUCKET_BY: unit}


def value_client_side(model: type[Model]) -> AnyField | None:
    """Returns the field that says whether browsers may read a value, or None."""
    field = find_field(model, "client_side")
    return field if field is not None and _is_ours(model, field) else None


def optional_fields(row: Any) -> OptionalFields:
    """Returns the values of a row of any model."""
    model = FlagModel.of(type(row))
    return model.read({name: getattr(row, name) for name in model.fields})


@lru_cache(maxsize=16)
def _look_up(model: type[Model]) -> FlagModel:
    fields = {name: find_field(model, name) for name in _TYPES}
    return FlagModel({name: one for name, one in fields.items() if one and _is_ours(model, one)})


def _is_ours(model: type[Model], one: AnyField) -> bool:
    """Whether a field is in the model's table, and has a type that flagstaff reads."""
    return (
        isinstance(one, _TYPES[one.name])
        and one.model._meta.db_table == model._meta.db_table
        and (one.name != TAGS or validate_tags in one.validators)
        # In Django, the field of a time is a kind of the field of a date.
        and (one.name != REVIEW_ON or not isinstance(one, DateTimeField))
    )


def has_rules(row: object) -> bool:
    """Whether the row is a flag or a value of a model that has rules."""
    if isinstance(row, conf.value_model):
        return bool(value_rule_fields(conf.value_model))
    return isinstance(row, conf.flag_model) and flag_model().has(RULES)
