"""What a condition reads that cannot match, or only if a call passes it: marks of its row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.known_attributes import (
    Attribute,
    AttributeType,
    known_attributes,
    similar_attribute,
)
from flagstaff._words.local_formats import quoted
from flagstaff._words.message import localized
from flagstaff._words.rule_parts import conditions_of, objects_in
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN

#: The types of attributes, for people; none for OTHER.
TYPES = {
    AttributeType.BOOL: gettext_lazy("yes/no"),
    AttributeType.NUMBER: gettext_lazy("number"),
    AttributeType.TEXT: gettext_lazy("text"),
    AttributeType.DATE: gettext_lazy("date"),
    AttributeType.DATETIME: gettext_lazy("date and time"),
    AttributeType.GROUPS: gettext_lazy("names of groups"),
}


class Mark(NamedTuple):
    """What a row says about its condition."""

    #: "attribute" or "values".
    part: str
    text: str
    #: Whether the condition can never match, so that it cannot be saved.
    is_error: bool


def mark_of(condition: Mapping[str, Any], known: Mapping[str, Attribute]) -> Mark | None:
    """Returns the mark of a condition; None if there is nothing to say.

    `known` are the known attributes.
    """
    name = condition.get("attribute")
    if not isinstance(name, str) or not name:
        return None
    attribute = known.get(name)
    if attribute is None:
        return Mark("attribute", _unknown_text(name, condition), is_error=False)
    if attribute.type is not AttributeType.BOOL:
        return None
    # A call can pass another value of a column, and the opposite of what never matches matches.
    is_error = name in BUILT_IN and not condition.get("negate")
    text = _impossible_text(name, condition)
    return Mark("values", text, is_error=is_error) if text else None


def mark_texts(rules: object, *, errors: bool, stored: object = None) -> list[str]:
    """Returns the errors or the other marks of rules, or of conditions in place of rules.

    Those of rules begin with their places. Conditions that are `stored` are left out: they must
    not stop another change.
    """
    known = known_attributes()
    # As JSON: for Python, 1 equals true.
    kept = {json.dumps(one, sort_keys=True) for _place, one in _conditions(stored)}
    texts: list[str] = []
    for place, condition in _conditions(rules):
        mark = mark_of(condition, known)
        is_kept = json.dumps(condition, sort_keys=True) in kept
        if mark is not None and mark.is_error is errors and not is_kept:
            texts.append(f"{place}{mark.text}")
    return [*dict.fromkeys(texts)]


def _conditions(rules: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """The conditions of rules, with their places, or those of a segment."""
    yield from ((f"{localized(place)}: ", one) for place, one in conditions_of(rules))
    yield from (("", one) for one in objects_in(rules))


def _unknown_text(name: str, condition: Mapping[str, Any]) -> str:
    if similar := similar_attribute(name):
        text = _("%(name)s is not known here; did you mean %(similar)s?")
        first = text % {"name": quoted(name), "similar": quoted(similar)}
    else:
        first = _("%(name)s is not known here.") % {"name": quoted(name)}
    return f"{first} {_who_has_it(is_absence=condition.get('operator') == 'isnull')}"


def _who_has_it(*, is_absence: bool) -> str:
    """What can have an attribute that is not known."""
    path = conf.attributes.callable
    if is_absence and path is None:
        return _("It is missing unless a call passes it in “context”.")
    if path is None:
        return _("The condition can match only if a call passes it in “context”.")
    text = (
        _("It is missing unless a call passes it in “context” or %(function)s returns it.")
        if is_absence
        else _("The condition can match only if a call passes it or %(function)s returns it.")
    )
    return text % {"function": quoted(path)}


def _impossible_text(name: str, condition: Mapping[str, Any]) -> str:
    """Why the condition on a bool never matches; empty if it can match."""
    operator, values = condition.get("operator"), condition.get("values")
    if operator == "isnull" or not isinstance(values, list):
        return ""
    if operator != "in":
        text = _("%(name)s is true or false: choose “is one of”, and yes or no.")
        return text % {"name": quoted(name)}
    other = next((value for value in values if not isinstance(value, bool)), None)
    if other is None:
        return ""
    text = (
        _("%(value)s is a text and never equals true or false: choose yes or no.")
        if isinstance(other, str)
        else _("%(value)s is a number and never equals true or false: choose yes or no.")
    )
    return text % {"value": quoted(str(other))}
