"""What an editor of rules knows: attributes with marks, values, segments, flags, buckets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.text import capfirst

from flagstaff._tables.attributes import (
    GROUPS,
    Attribute,
    ObjectReader,
    Objects,
    impossible_value,
    known_attributes,
    known_objects,
    named,
    similar_attribute,
)
from flagstaff._tables.database import db
from flagstaff._tables.rows import shown_keys
from flagstaff._tables.user_lookup import can_read_groups, group_names, missing_groups
from flagstaff._text import is_storable, local_list, localized, quoted, say
from flagstaff._text.rules import groups_of, new_conditions, sentence
from flagstaff.admin.rights import admin_of, object_reader
from flagstaff.admin.rules.sentences import shown_segments
from flagstaff.changes.rule_use import bucket_names
from flagstaff.conf import conf
from flagstaff.history.describe import may_see_users

# The values that a row lists, and the groups that a message lists.
_MAX_VALUES, _MAX_GROUPS = 20, 5
# The objects that a row offers.
_MAX_SIMILAR = 10


class Offer:
    """What the editor offers to the user of a request. Queries when a page needs it."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site, self._request = site, request

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes that are known without a call."""
        return known_attributes()

    @cached_property
    def objects(self) -> Mapping[str, Objects]:
        """The attributes that hold primary keys of objects."""
        return known_objects()

    @cached_property
    def reader(self) -> ObjectReader:
        """The names of the objects that the user may see."""
        return object_reader(self._site, self._request)

    def similar_objects(self, attribute: str, text: str) -> list[str]:
        """Returns the first objects that Django's autocomplete finds, as they are typed."""
        objects = self.objects.get(attribute)
        rows = None if objects is None else self.reader.rows_of(objects.model)
        model_admin = None if objects is None else admin_of(self._site, objects.model)
        if objects is None or rows is None or model_admin is None or not is_storable(text):
            return []
        if model_admin.get_search_fields(self._request):
            rows, _may_repeat = model_admin.get_search_results(self._request, rows, text)
        else:
            rows = rows.filter(**{f"{objects.label}__icontains": text})
        pairs = rows.order_by(objects.label).values_list(objects.label, "pk").distinct()
        return [named(name, pk) for name, pk in pairs[:_MAX_SIMILAR]]

    @property
    def has_groups(self) -> bool:
        """Whether rules can read groups."""
        return can_read_groups(db.alias)

    @cached_property
    def segments(self) -> list[str]:
        """The keys of the segments that the user may see."""
        return shown_segments(self._site, self._request)

    @cached_property
    def flags(self) -> list[str]:
        """The keys of the flags that the user may see."""
        return shown_keys(conf.flag_model)

    @cached_property
    def buckets(self) -> list[str]:
        """The names of the buckets that rules use, which the user may see."""
        return bucket_names()

    @cached_property
    def _groups(self) -> Sequence[str]:
        """The first groups for who may see users: their names may say who is in them."""
        may_see = may_see_users(self._request.user)
        return group_names(db.alias, _MAX_VALUES) if may_see else []

    def common_values(self, name: str) -> Sequence[object]:
        """Returns the values of an attribute that are known without a look at any user."""
        if name == GROUPS:
            return self._groups
        attribute = self.attributes.get(name)
        if attribute is None or attribute.field is None:
            return []
        values = [value for value, _label in attribute.field.flatchoices]
        # A field of a project may have any objects.
        values = [value for value in values if isinstance(value, str | int) and value != ""]
        return values[:_MAX_VALUES]


# Marks: a condition that cannot match, or only if a call passes its attribute.


class Mark(NamedTuple):
    """What the editor says about a condition."""

    text: str
    #: Whether the condition can never match, so that it cannot be saved.
    is_error: bool


def mark_of(condition: Mapping[str, Any], attributes: Mapping[str, Attribute]) -> Mark | None:
    """Returns the mark of a condition; None if there is nothing to say.

    `attributes` are the known ones.
    """
    name = condition.get("attribute")
    if not isinstance(name, str) or not name:
        return None
    if impossible := impossible_value(condition, attributes):
        return Mark(sentence(impossible.problem), is_error=impossible.is_certain)
    return None if name in attributes else Mark(_unknown_text(name), is_error=False)


def rule_notes(rules: object) -> list[str]:
    """Returns what a person should know of rules, or of conditions in place of rules. Queries.

    Marks, which begin with the places of the rules, and groups that do not exist.
    """
    attributes, notes = known_attributes(), list[str]()
    for place, condition in new_conditions(rules):
        mark = mark_of(condition, attributes)
        # An error is refused.
        if mark is not None and not mark.is_error:
            notes.append(f"{capfirst(localized(place))}: {mark.text}" if place else mark.text)
    if missing := missing_groups(groups_of(rules), db.alias):
        notes.append(
            say(
                "No user is in this group, because it does not exist: {names}. Create it, or "
                "correct its name.",
                "No user is in these groups, because they do not exist: {names}. Create them, or "
                "correct their names.",
                count=len(missing),
                names=local_list((quoted(name) for name in missing), _MAX_GROUPS),
            ).local
        )
    return [*dict.fromkeys(notes)]


def _unknown_text(name: str) -> str:
    first = say("{name} is not known here.", name=quoted(name))
    if similar := similar_attribute(name):
        first = say(
            "{name} is not known here; did you mean {similar}?",
            name=quoted(name),
            similar=quoted(similar),
        )
    second = say("It is missing unless a call passes it in “context”.")
    if conf.attributes.callable:
        second = say(
            "It is missing unless a call passes it in “context” or {function} returns it.",
            function=quoted(conf.attributes.callable),
        )
    return f"{first.local} {second.local}"
