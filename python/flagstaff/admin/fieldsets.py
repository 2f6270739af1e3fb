"""Replaces fields in the fieldsets of a page."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


def replaced_fields(
    fieldsets: _FieldsetSpec, replacements: Mapping[str, Collection[str]]
) -> _FieldsetSpec:
    """Returns the fieldsets with other fields instead of these names: none, one or several.

    A line may have several fields. A field that has its own place on the page is not added.
    """
    present_names = {name for _title, options in fieldsets for name in _names(options["fields"])}
    return tuple(
        (title, {**options, "fields": [*_lines(options["fields"], replacements, present_names)]})
        for title, options in fieldsets
    )


def _lines(
    lines: Collection[Any], replacements: Mapping[str, Collection[str]], present_names: set[str]
) -> Iterator[Any]:
    for line in lines:
        names = [*_names([line])]
        new = [
            replacement
            for name in names
            for replacement in replacements.get(name, (name,))
            if replacement == name or replacement not in present_names
        ]
        if isinstance(line, str):
            yield from new
        elif new:
            yield tuple(new)


def _names(lines: Collection[Any]) -> Iterator[str]:
    for line in lines:
        yield from [line] if isinstance(line, str) else line
