"""The attributes that rules can read in this project, and values that can never match.

The types of attributes are known as far as the user model has them. A value never matches if the
attribute has another type or form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any, Final, NamedTuple
from uuid import UUID

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

from flagstaff._core import can_match
from flagstaff._tables.database import user_field
from flagstaff._tables.objects import known_objects
from flagstaff._tables.rows import VISITOR, AnyField
from flagstaff._text import Sentence, most_similar, say
from flagstaff._text.rules import new_conditions, problem_at
from flagstaff.conf import BUILT_IN, conf

GROUPS = "groups"
# The least similarity of a misspelled name: "stafff" is like "staff"; "plan" and "country" are
# not like "planet" and "county_name".
_SIMILAR = 0.8

_PATTERN: Final = say('no text can match this pattern; check where "^" and "$" are')
_CAPITALS: Final = say("if it is a UUID, Django shows it in lower case; write it so")
_ADDRESS: Final = say(
    "an e-mail address is mostly stored without capital letters; write it as it is stored"
)
_MOMENT: Final = say('it is a date; use "in", "lt" or "gte" with one like "2026-03-01T12:00:00Z"')


_ORDERED: Final = say(
    'if it is a number or a date, write one, such as 42 or "2026-03-01T12:00:00Z"'
)


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
    of_objects = {
        name: replace(_of_column(objects.model._meta.pk), field=None)
        for name, objects in known_objects().items()
    }
    built_in = {
        name: Attribute(AttributeType.GROUPS if name == GROUPS else AttributeType.BOOL)
        for name in BUILT_IN
    }
    return {**of_objects, **columns, **built_in, VISITOR: Attribute(AttributeType.TEXT)}


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


class _Kind(NamedTuple):
    """What can be written for attributes of a type."""

    #: An attribute of the type.
    sample: object
    hint: str


_KINDS: Final[Mapping[AttributeType, _Kind]] = {
    AttributeType.BOOL: _Kind(
        sample=True,
        hint=say('it is true or false; use "in" (is one of) with true or false'),
    ),
    AttributeType.NUMBER: _Kind(0, say("it is a number; write one, such as 42")),
    AttributeType.DATE: _Kind(date.min, _MOMENT),
    AttributeType.DATETIME: _Kind(datetime.min.replace(tzinfo=timezone.utc), _MOMENT),
    # Also a version, which the operators for versions compare.
    AttributeType.TEXT: _Kind("0", say('it is a text; write one, such as "42"')),
    AttributeType.GROUPS: _Kind("0", say("it has the names of groups; write one as a text")),
    AttributeType.UUID: _Kind(
        "0",
        say('it is a UUID in lower case, such as "550e8400-e29b-41d4-a716-446655440000"'),
    ),
}
_PARTS = ("contains", "startswith", "endswith")
_ORDER = ("lt", "lte", "gt", "gte")
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_EMAIL = re.compile(r"[^@\s]*@[^@\s]+\.[^@\s]+")


class Impossible(NamedTuple):
    """A condition with a value that never matches."""

    problem: Sentence
    #: Whether the attribute is known, so that the value is refused.
    is_certain: bool


def impossible_problem(rules: object, stored: object = None) -> Sentence | None:
    """Returns why readable rules, or conditions in place of rules, are refused; None if not.

    Conditions that are `stored` are left out: they must not stop another change.
    """
    impossible = _impossible_values(rules, stored)
    return next((value.problem for value in impossible if value.is_certain), None)


def doubts(rules: object, stored: object = None) -> list[Sentence]:
    """Returns why values of new conditions may never match, which is no reason to refuse them."""
    return [value.problem for value in _impossible_values(rules, stored) if not value.is_certain]


def _impossible_values(rules: object, stored: object) -> Iterator[Impossible]:
    """Yields the conditions that never match, each with the place of its rule."""
    attributes = known_attributes()
    for place, condition in new_conditions(rules, stored):
        if impossible := impossible_value(condition, attributes):
            yield (
                impossible
                if place is None
                else impossible._replace(problem=problem_at(place, impossible.problem))
            )


def impossible_value(
    condition: Mapping[str, Any], attributes: Mapping[str, Attribute]
) -> Impossible | None:
    """Returns the first value of a condition that never matches; None if there is none.

    `attributes` are the known ones. The message has no value, which may be personal data.
    """
    name, operator, values = (
        condition.get(member) for member in ("attribute", "operator", "values")
    )
    if not isinstance(name, str) or not isinstance(values, list | tuple) or operator == "isnull":
        return None
    kind = attributes[name].type if name in attributes else AttributeType.OTHER
    for number, value in enumerate(values, start=1):
        if hint := _hint_for(str(operator), value, kind):
            problem = say(
                'value {number} never matches "{attribute}": {hint}',
                number=str(number),
                attribute=name,
                hint=say(hint),
            )
            is_guess = hint in (_CAPITALS, _ADDRESS, _ORDERED)
            return Impossible(problem, is_certain=name in attributes and not is_guess)
    return None


def _hint_for(operator: str, value: object, kind: AttributeType) -> str | None:
    """Returns what to write in place of a value that never matches; None if it can match."""
    sample, hint = _KINDS.get(kind, ("0", None))
    values = json.dumps([value])
    if operator == "regex" and not can_match(operator, values, "0"):
        return _PATTERN
    if hint and not can_match(operator, values, sample):
        return hint
    if kind is AttributeType.UUID:
        return hint if _is_no_uuid(operator, value) else None
    return _guess(operator, value, is_typed=hint is not None) if isinstance(value, str) else None


def _guess(operator: str, text: str, *, is_typed: bool) -> str | None:
    """Returns what to write in place of a text that probably never matches; None for others."""
    if operator in _ORDER and not is_typed:
        is_moment = can_match(operator, json.dumps([text]), _KINDS[AttributeType.DATETIME].sample)
        return None if is_moment else _ORDERED
    if operator not in ("in", *_PARTS) or text == text.lower():
        return None
    if _UUID.fullmatch(text):
        return _CAPITALS
    return _ADDRESS if _EMAIL.fullmatch(text) else None


def _is_no_uuid(operator: str, value: object) -> bool:
    """Whether no UUID, as Django shows it, equals the value or has it as a part."""
    if operator.startswith("version_"):
        return True
    if operator in _PARTS:
        return not set(str(value)) <= set("0123456789abcdef-")
    try:
        return operator == "in" and value != str(UUID(str(value)))
    except ValueError:
        return True
