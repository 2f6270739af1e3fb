"""The fields of a form: those that a project's own model adds, and others in their place."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from django.db.models import AutoField, Model

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


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


def other_fields(model: type[Model], known_model: type[Model]) -> tuple[str, ...]:
    """Returns the editable columns of a project's model that flagstaff does not know."""
    known = {field.name for field in known_model._meta.get_fields()}
    return tuple(
        field.name
        for field in model._meta.concrete_fields
        if field.name not in known and field.editable and not _is_set_automatically(field)
    )


def _is_set_automatically(field: Any) -> bool:
    is_key = field.primary_key and (isinstance(field, AutoField) or field.has_default())
    return is_key or field.auto_created
