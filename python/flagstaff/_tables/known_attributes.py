"""The attributes that rules can read in this project, with their types as far as they are known."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django.db.models import (
    AutoField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    FloatField,
    ForeignKey,
    IntegerField,
    TextField,
    UUIDField,
)

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.names import user_field
from flagstaff._words.similar import most_similar
from flagstaff.conf import BUILT_IN, conf

GROUPS = "groups"
# The least similarity of a misspelled name: "stafff" is like "staff"; "plan" and "country" are
# not like "planet" and "county_name".
_SIMILAR = 0.8


class AttributeType(Enum):
    """What the values of an attribute are."""

    BOOL = "bool"
    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    DATETIME = "datetime"
    GROUPS = "groups"
    UUID = "uuid"
    OTHER = "other"


# The first class decides: a DateTimeField is a DateField, too.
_TYPES: tuple[tuple[tuple[type[AnyField], ...], AttributeType], ...] = (
    ((BooleanField,), AttributeType.BOOL),
    ((DateTimeField,), AttributeType.DATETIME),
    ((DateField,), AttributeType.DATE),
    ((IntegerField, AutoField, FloatField, DecimalField), AttributeType.NUMBER),
    ((CharField, TextField), AttributeType.TEXT),
    ((UUIDField,), AttributeType.UUID),
)


@dataclass(frozen=True)
class Attribute:
    """An attribute that is known without a user."""

    type: AttributeType
    #: The column of the user model that FLAGSTAFF["ATTRIBUTES"] names; None for any other.
    field: AnyField | None = None


def known_attributes() -> dict[str, Attribute]:
    """Returns the attributes by name. Calls and a function in ATTRIBUTES may have others."""
    fields = user_field(conf.flag_model).model._meta.concrete_fields
    by_name = {name: field for field in fields for name in (field.attname, field.name)}
    columns = {name: _of_column(by_name.get(name)) for name in conf.attributes.columns}
    built_in = {
        name: Attribute(AttributeType.GROUPS if name == GROUPS else AttributeType.BOOL)
        for name in BUILT_IN
    }
    return {**columns, **built_in, VISITOR: Attribute(AttributeType.TEXT)}


def similar_attribute(name: str) -> str | None:
    """Returns the known attribute that an unknown one may mean; None if there is none."""
    return most_similar(name, known_attributes(), _SIMILAR)


def _of_column(field: AnyField | None) -> Attribute:
    target = field
    while isinstance(target, ForeignKey):
        target = target.target_field
    # A field of another package may give objects whose text is not what the column has.
    is_djangos = type(target).__module__.startswith("django.")
    types = (kind for classes, kind in _TYPES if is_djangos and isinstance(target, classes))
    return Attribute(next(types, AttributeType.OTHER), field)
