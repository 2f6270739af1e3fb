"""Objects of the project by name: rules keep the primary keys that an attribute holds.

People see and write names. An evaluation reads none of this: the context and ATTRIBUTES have keys.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import Error, router, transaction
from django.db.models import Field, ForeignKey, Model, OuterRef, Q, QuerySet, Subquery

from flagstaff._tables.database import db, user_field
from flagstaff._tables.rows import find_field, uncached
from flagstaff._text import is_storable, most_similar, say, some
from flagstaff.conf import ObjectSource, conf

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
