"""What rules can read in this project: attributes, and the objects whose primary keys they hold.

The types of attributes are known as far as the user model has them. A value never matches if the
attribute has another type or form. People see and write the names of objects. An evaluation reads
none of them: the context and ATTRIBUTES have keys.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any, Final, NamedTuple, TypeAlias
from uuid import UUID

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import Error, router, transaction
from django.db.models import (
    AutoField,
    BooleanField,
    CharField,
    DateField,
    DateTimeField,
    DecimalField,
    Field,
    FloatField,
    ForeignKey,
    IntegerField,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    UUIDField,
)

from flagstaff._core import can_match, is_storable
from flagstaff._tables.database import db, user_field
from flagstaff._tables.rows import VISITOR, AnyField, find_field, uncached
from flagstaff._text import Sentence, most_similar, say, some
from flagstaff._text.rules import new_conditions, problem_at
from flagstaff.conf import BUILT_IN, ObjectSource, conf

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


#: Returns the objects of a model that a person may see; None if the person may see none.
RowsOf: TypeAlias = "Callable[[type[Model]], QuerySet[Any] | None]"

# The objects that are read at a time, and the keys in a message.
_MAX_READ, _MAX_SHOWN = 10_000, 5
# A name with its key, as `named` writes it.
_NAMED = re.compile(r"(?s)\A.* \((?P<key>.+)\)\Z")


class Objects(NamedTuple):
    """The objects whose primary keys an attribute holds."""

    model: type[Model]
    #: The field with the name.
    label: str
    #: The fields from the user model to the objects, by which users are counted.
    path: str | None

    def parse(self, value: object) -> Any:
        """Returns the primary key that a value of a rule stands for; None if it cannot be one."""
        pk: Any = self.model._meta.pk
        try:
            parsed = pk.to_python(value)
            pk.run_validators(parsed)
        except (ValidationError, TypeError, ValueError, OverflowError):
            return None
        return parsed if not isinstance(value, str) or is_storable(value) else None


def key_in_rules(pk: Any) -> int | str:
    """Returns a primary key as rules keep it."""
    return pk if isinstance(pk, int) else str(pk)


def named(name: str, key: object) -> str:
    """Returns how people read an object: two may have one name, and a name may change."""
    return f"{name} ({key})"


def known_objects() -> dict[str, Objects]:
    """Returns the attributes of ATTRIBUTES that hold primary keys, by name. Does not query."""
    sources = dict[str, ObjectSource]()
    for name in conf.attributes.columns:
        field = find_field(user_field(conf.flag_model).model, name)
        if isinstance(field, ForeignKey) and field.target_field.primary_key:
            sources[name] = ObjectSource(field.related_model._meta.label)
    return {
        name: Objects(apps.get_model(source.model), source.label, source.path)
        for name, source in {**sources, **conf.attributes.objects}.items()
        # A check reports it, unless a ForeignKey leads to objects without a name.
        if not object_problem(source)
    }


def object_problem(source: ObjectSource) -> str:
    """Returns what is wrong with an attribute of objects; empty if nothing is. Does not query."""
    try:
        model: Any = apps.get_model(source.model)
    except LookupError:
        return f"the model {source.model!r}, which is not installed"
    if find_field(model, source.label) is None:
        return f'the "label" {source.label!r}, not a field of {source.model}'
    steps = _steps(source.path or "")
    if source.path is None or (steps and steps[-1].related_model is model):
        return ""
    return f'the "path" {source.path!r}, which does not lead from the user model to {source.model}'


def _steps(path: str) -> list[Any]:
    """Returns the fields of a path from the user model; none if one of them leads to no model."""
    model: Any = user_field(conf.flag_model).model
    steps = []
    for name in path.split("__"):
        field = find_field(model, name)
        if field is None or field.related_model is None:
            return []
        steps.append(field)
        model = field.related_model
    return steps


def counted_objects() -> dict[str, Subquery]:
    """Returns the keys of a user by the attributes with a path, as columns of a query of users.

    A path that can lead to several objects gives a list, which only PostgreSQL can make.
    """
    users: Any = user_field(conf.flag_model).model
    columns = {}
    for name, (_model, _label, path) in known_objects().items():
        steps = _steps(path or "")
        is_list = any(step.one_to_many or step.many_to_many for step in steps)
        if not steps or name in conf.attributes.columns or (is_list and not db.is_postgresql):
            continue
        rows = users._base_manager.filter(pk=OuterRef("pk"), **{f"{path}__isnull": False})
        keys = rows.order_by().values(f"{path}__pk")
        columns[name] = (
            Subquery(keys, template="ARRAY(%(subquery)s)", output_field=Field())
            if is_list
            else Subquery(keys[:1])
        )
    return columns


def keys_by_path(user: Any, known: Collection[str]) -> dict[str, Any]:
    """Returns what a stored user has by the paths, without the `known` names. Queries."""
    columns = {name: column for name, column in counted_objects().items() if name not in known}
    users = type(user)._base_manager.filter(pk=user.pk)
    values = users.values_list(*columns.values()).first() if columns else None
    return dict(zip(columns, values or (), strict=False))


def all_objects(model: type[Model]) -> QuerySet[Any]:
    """Returns all objects: terminal and code are trusted."""
    return uncached(model._base_manager.using(router.db_for_read(model)))


@dataclass(frozen=True)
class ObjectReader:
    """The names of the objects that a person may see. Its methods query."""

    rows_of: RowsOf = all_objects

    def names(self, attribute: str, values: Sequence[object]) -> list[str | None]:
        """Returns the name for each value of a condition, None for one without a name."""
        objects = known_objects().get(attribute)
        if objects is None:
            return [None] * len(values)
        pks = {pk for value in values if (pk := objects.parse(value)) is not None}
        names = {key_in_rules(pk): name for pk, name in self._read(objects, Q(pk__in=pks)) or ()}
        # Not 7 in place of "7" or true: an editor must not change what is stored.
        keys = (value if type(value) in (int, str) else None for value in values)
        return [names.get(key) for key in keys]  # type: ignore[call-overload]

    def keys(self, attribute: str, values: Sequence[object]) -> list[object]:
        """Returns the values of a condition with primary keys in the place of names.

        A number is a key. Raises ValidationError for an ambiguous name, and for a text that is
        neither a name nor a key: where keys are texts, for one that is like a name.
        """
        objects = known_objects().get(attribute)
        texts = {value for value in values if isinstance(value, str)}
        if objects is None or not texts:
            return [*values]
        keys_of = {
            text: {objects.parse(key) for key in (text, _NAMED.sub(r"\g<key>", text))} - {None}
            for text in texts
        }
        pks = {pk for of_text in keys_of.values() for pk in of_text}
        by_name = Q(**{f"{objects.label}__in": [*filter(is_storable, texts)]})
        rows = self._read(objects, Q(pk__in=pks) | by_name)
        resolved = {
            text: {key_in_rules(pk) for pk, name in rows or () if name == text or pk in of_text}
            for text, of_text in keys_of.items()
        }
        for text, keys in resolved.items():
            key = objects.parse(text)
            if not keys and self._is_key(objects, key, is_hidden=rows is None):
                # Of a UUID, as the context has it. A number may stay a text.
                keys.add(text if isinstance(key, int) else str(key))
            if len(keys) != 1:
                raise ValidationError(self._problem(objects, text, keys, is_hidden=rows is None))
        return [
            next(iter(resolved[value])) if isinstance(value, str) else value for value in values
        ]

    def _is_key(self, objects: Objects, key: Any, *, is_hidden: bool) -> bool:
        """Whether what is no name may be the key of an object that is hidden or was deleted.

        Any text may be one. One that is like a name is an error in that name.
        """
        if is_hidden or not isinstance(key, str) or self._similar(objects, key) is None:
            return key is not None
        return all_objects(objects.model).filter(pk=key).exists()

    def _read(self, objects: Objects, condition: Q) -> list[tuple[Any, str]] | None:
        """Returns keys and names; None if the person or the role may not read them."""
        rows = self.rows_of(objects.model)
        if rows is None:
            return None
        try:
            with transaction.atomic(using=rows.db):
                pairs = rows.filter(condition).order_by().values_list("pk", objects.label)
                return [(pk, str(name)) for pk, name in pairs[:_MAX_READ]]
        except Error:
            return None

    def _problem(
        self, objects: Objects, text: str, keys: Collection[object], *, is_hidden: bool
    ) -> str:
        noun = str(objects.model._meta.verbose_name)
        if is_hidden:
            return say(
                "The names of this model cannot be read here: {noun}. Write primary keys.",
                noun=noun,
            ).local
        if keys:
            return say(
                "“{text}” is the name or primary key of several objects ({noun}). Write one of "
                "these primary keys: {keys}.",
                text=text,
                noun=noun,
                keys=some(sorted(keys, key=str), _MAX_SHOWN),
            ).local
        problem = say("No {noun} has the name or primary key “{text}”.", noun=noun, text=text).local
        similar = self._similar(objects, text)
        if similar is None:
            return problem
        return f"{problem} {say('Did you mean “{name}”?', name=similar).local}"

    def _similar(self, objects: Objects, text: str) -> str | None:
        first = text[:1] if is_storable(text) else ""
        rows = self._read(objects, Q(**{f"{objects.label}__istartswith": first}))
        return most_similar(text, [name for _pk, name in rows or ()])


def with_keys(typed: Any, reader: ObjectReader) -> Any:
    """Returns rules, or conditions in place of rules, with primary keys in the place of names.

    Queries. Raises ValidationError as `ObjectReader.keys` does. JSON of another form stays.
    """
    if isinstance(typed, list):
        return [with_keys(item, reader) for item in typed]
    if not isinstance(typed, dict):
        return typed
    if "conditions" in typed:
        return {**typed, "conditions": with_keys(typed["conditions"], reader)}
    values = typed.get("values")
    if typed.get("operator") != "in" or not isinstance(values, list):
        return typed
    return {**typed, "values": reader.keys(str(typed.get("attribute")), values)}


def keyed_context(context: Mapping[str, Any], reader: ObjectReader) -> dict[str, Any]:
    """Returns a typed context with primary keys in the place of names, as `with_keys`."""
    keyed = dict(context)
    for name in context.keys() & known_objects().keys():
        is_list = isinstance(context[name], list)
        keys = reader.keys(name, context[name] if is_list else [context[name]])
        keyed[name] = keys if is_list else keys[0]
    return keyed
