"""The admin of a project's own models, which may have fewer or more fields than flagstaff's."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin
from django.db.models import AutoField, Model

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

# Columns of the lists that show a field under another name.
_FIELD_OF_COLUMN = {"changed": "changed_at", "short_description": "description"}
# Options that name anything with a value, and options that name what a query can use.
_COLUMN_OPTIONS = ("list_display", "readonly_fields")
_QUERY_OPTIONS = ("list_filter", "search_fields")


def replaced_fields(
    fieldsets: _FieldsetSpec, others: Mapping[str, Collection[str]]
) -> _FieldsetSpec:
    """Returns the fieldsets with other fields instead of these names: none, one or several.

    A line may have several fields. A field that has its own place on the page is not added.
    """
    shown = {name for _title, options in fieldsets for name in _names(options["fields"])}
    return tuple(
        (title, {**options, "fields": [*_lines(options["fields"], others, shown)]})
        for title, options in fieldsets
    )


def _lines(
    lines: Collection[Any], others: Mapping[str, Collection[str]], shown: set[str]
) -> Iterator[Any]:
    for line in lines:
        names = [*_names([line])]
        new = [
            one
            for name in names
            for one in others.get(name, (name,))
            if one == name or one not in shown
        ]
        if isinstance(line, str):
            yield from new
        elif new:
            yield tuple(new)


def _names(lines: Collection[Any]) -> Iterator[str]:
    for line in lines:
        yield from [line] if isinstance(line, str) else line


class OwnFields:
    """Finds the fields that the model of an admin lacks, and those that flagstaff does not know."""

    def __init__(self, admin: ModelAdmin[Any], known_model: type[Model]) -> None:
        self._admin, self._known_model = admin, known_model
        # Other names stay: Django's checks report a wrong one.
        self._lacking = _field_names(known_model) - _field_names(admin.model)

    def trim_options(self) -> None:
        """Removes the fields that the model lacks from the options of the admin."""
        for option in (*_COLUMN_OPTIONS, *_QUERY_OPTIONS):
            shown = [
                name
                for name in getattr(self._admin, option)
                if not self._lacks(name)
                or (option in _COLUMN_OPTIONS and self._has_attribute(name))
            ]
            setattr(self._admin, option, tuple(shown))

    def present(self, names: Collection[Any]) -> tuple[Any, ...]:
        """Returns the names that a form can show: without those that the model lacks.

        A line of several fields is a list or tuple.
        """
        lines = (self._present_line(line) for line in names)
        return tuple(line for line in lines if line)

    def _present_line(self, line: Any) -> Any:
        if isinstance(line, str):
            return line if line in self._admin.readonly_fields or not self._lacks(line) else None
        return self.present(line)

    def present_fieldsets(self, fieldsets: _FieldsetSpec | None) -> _FieldsetSpec:
        """Returns the fieldsets without these fields, and without those that are then empty."""
        return tuple(
            (name, {**options, "fields": fields})
            for name, options in fieldsets or ()
            if (fields := self.present(options["fields"]))
        )

    def other_fields(self, unknown: AbstractSet[str] = frozenset()) -> tuple[str, ...]:
        """Returns the editable columns that flagstaff does not know.

        `unknown` are names of flagstaff's fields that are other fields in this model.
        """
        known = _field_names(self._known_model) - unknown
        return tuple(
            field.name
            for field in self._admin.model._meta.concrete_fields
            if field.name not in known and field.editable and not _is_set_automatically(field)
        )

    def _lacks(self, name: object) -> bool:
        return isinstance(name, str) and _FIELD_OF_COLUMN.get(name, name) in self._lacking

    def _has_attribute(self, name: object) -> bool:
        """Whether a subclass or the model has a method or property of this name."""
        if not isinstance(name, str):
            return False
        # A column of flagstaff under another name sorts by the field, so the field is needed.
        in_model = name not in _FIELD_OF_COLUMN and hasattr(self._admin.model, name)
        own = type(self._admin)
        flagstaffs = next(one for one in own.__mro__ if "known_model" in one.__dict__)
        return in_model or getattr(own, name, None) is not getattr(flagstaffs, name, None)


def _field_names(model: type[Model]) -> set[str]:
    """Returns the names of a model's own and inherited fields."""
    meta = model._meta
    return {field.name for field in (*meta.fields, *meta.many_to_many)}


def _is_set_automatically(field: Any) -> bool:
    is_key = field.primary_key and (isinstance(field, AutoField) or field.has_default())
    return is_key or field.auto_created
