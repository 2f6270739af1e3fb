"""What a condition reads that cannot match, or only if a call passes it: marks of its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from flagstaff._tables.impossible_values import impossible_value
from flagstaff._tables.known_attributes import (
    Attribute,
    AttributeType,
    known_attributes,
    similar_attribute,
)
from flagstaff._words.rule_parts import new_conditions, sentence
from flagstaff._words.text import localized, quoted
from flagstaff.conf import conf

#: The types of attributes, for people; none for OTHER.
TYPES = {
    AttributeType.BOOL: gettext_lazy("yes/no"),
    AttributeType.NUMBER: gettext_lazy("number"),
    AttributeType.TEXT: gettext_lazy("text"),
    AttributeType.DATE: gettext_lazy("date"),
    AttributeType.DATETIME: gettext_lazy("date and time"),
    AttributeType.GROUPS: gettext_lazy("names of groups"),
    AttributeType.UUID: gettext_lazy("UUID"),
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
    if found := impossible_value(condition, known):
        return Mark("values", sentence(found.problem), is_error=found.is_certain)
    if name not in known:
        return Mark("attribute", _unknown_text(name, condition), is_error=False)
    return None


def mark_texts(rules: object, *, errors: bool, stored: object = None) -> list[str]:
    """Returns the errors or the other marks of rules, or of conditions in place of rules.

    Those of rules begin with their places. Conditions that are `stored` are left out: they must
    not stop another change.
    """
    known = known_attributes()
    texts: list[str] = []
    for place, condition in new_conditions(rules, stored):
        mark = mark_of(condition, known)
        if mark is not None and mark.is_error is errors:
            texts.append(f"{localized(place)}: {mark.text}" if place else mark.text)
    return [*dict.fromkeys(texts)]


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
