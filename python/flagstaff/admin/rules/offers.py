"""What an editor of rules knows of the project: attributes with marks, common values, segments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple

from django.contrib.admin import AdminSite
from django.db.models import BooleanField, CharField, IntegerField, TextField
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext

from flagstaff._tables.group_lookup import can_read_groups, group_names, missing_groups
from flagstaff._tables.impossible_values import impossible_value
from flagstaff._tables.known_attributes import (
    GROUPS,
    Attribute,
    AttributeType,
    known_attributes,
    similar_attribute,
)
from flagstaff._tables.model_fields import AnyField
from flagstaff._tables.user_lookup import allowed_user_table
from flagstaff._words.rule_parts import groups_of, new_conditions, sentence
from flagstaff._words.text import local_list, localized, quoted
from flagstaff.admin.rules.sentences import shown_segments
from flagstaff.changes.impact import limited
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.user_names import may_see_users

# The users whose values are counted, and the values of a column: more look personal, and so does
# a longer text.
_MAX_ROWS, _MAX_VALUES, _MAX_LENGTH = 1_000, 20, 40
# Values of fewer users may name a person.
_MIN_USERS = 2
# Names of columns whose values may name a person.
_PERSONAL = re.compile("name|mail|phone|address|street|birth|password|secret|token")
# Seconds for which the page waits for the columns.
_TIMEOUT = 0.5
# The groups that a message lists.
_MAX_GROUPS = 5
_TYPES = {
    AttributeType.BOOL: gettext_lazy("yes/no"),
    AttributeType.NUMBER: gettext_lazy("number"),
    AttributeType.TEXT: gettext_lazy("text"),
    AttributeType.DATE: gettext_lazy("date"),
    AttributeType.DATETIME: gettext_lazy("date and time"),
    AttributeType.GROUPS: gettext_lazy("names of groups"),
    AttributeType.UUID: gettext_lazy("UUID"),
}


class Offer:
    """What the editor offers to the user of a request. Queries when a page needs it."""

    def __init__(self, site: AdminSite, request: HttpRequest) -> None:
        self._site, self._request = site, request

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """The attributes that are known without a call."""
        return known_attributes()

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """The label of each attribute, which some browsers show in place of the name."""
        text = _("%(name)s: %(type)s")
        return {
            name: text % {"name": name, "type": _TYPES[one.type]} if one.type in _TYPES else ""
            for name, one in self.attributes.items()
        }

    def beginnings(self) -> Iterator[tuple[str, str]]:
        """Yields the buttons that add a rule, with what it begins with."""
        yield "attribute", _("an attribute")
        yield "segment", _("a segment")
        if can_read_groups(conf.database):
            yield f"attribute::{GROUPS}", pgettext("of a rule", "a group")
        for name, one in self.attributes.items():
            if one.field and one.field.primary_key:
                yield f"attribute::{name}", pgettext("of a rule", "single users")

    @cached_property
    def segments(self) -> list[str]:
        """The keys of the segments that the user may see."""
        return shown_segments(self._site, self._request)

    @cached_property
    def common_values(self) -> Mapping[str, list[object]]:
        """Values that users have, by attribute; none without the permission to view users.

        Makes one query for the groups, and one for all columns.
        """
        if not may_see_users(self._request.user):
            return {}
        fields = {name: one.field for name, one in self.attributes.items() if one.field}
        found = {
            name: _plain(value for value, _label in field.flatchoices)[:_MAX_VALUES]
            for name, field in fields.items()
            # The values of a bool are a choice anyway.
            if not isinstance(field, BooleanField)
        }
        columns = {
            name: fields[name]
            for name, own in found.items()
            if not own and _may_offer(fields[name])
        }
        found[GROUPS] = [*group_names(conf.database, _MAX_VALUES)]
        if columns:
            with suppress(FlagstaffError), limited(_TIMEOUT):
                rows = _read(columns.values())
                found.update(zip(columns, map(_common, zip(*rows, strict=True)), strict=False))
        return found


def _plain(values: Iterable[object]) -> list[object]:
    """The values that a rule can name. A field of a project may return any object."""
    return [value for value in values if isinstance(value, str | int) and value != ""]


def _may_offer(field: AnyField) -> bool:
    """Whether a column may have few values, and identifies nobody."""
    names_users = field.name == getattr(field.model, "USERNAME_FIELD", "")
    is_personal = field.unique or names_users or _PERSONAL.search(field.name) is not None
    return isinstance(field, CharField | TextField | IntegerField) and not is_personal


def _read(fields: Iterable[AnyField]) -> list[tuple[object, ...]]:
    """The values of some users, of each text the beginning."""
    expressions = [
        field.name if isinstance(field, IntegerField) else Left(field.name, _MAX_LENGTH + 1)
        for field in fields
    ]
    return [*allowed_user_table().rows.order_by().values_list(*expressions)[:_MAX_ROWS]]


def _common(values: Iterable[object]) -> list[object]:
    """The values that several users have, most common first; none of a column that is personal."""
    counts = Counter(_plain(values))
    is_long = any(len(value) > _MAX_LENGTH for value in counts if isinstance(value, str))
    if is_long or len(counts) > _MAX_VALUES:
        return []
    return [value for value, count in counts.most_common() if count >= _MIN_USERS]


# Marks: a condition that cannot match, or only if a call passes its attribute.


class Mark(NamedTuple):
    """What the editor says about a condition."""

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
        return Mark(sentence(found.problem), is_error=found.is_certain)
    return None if name in known else Mark(_unknown_text(name), is_error=False)


def rule_notes(rules: object) -> list[str]:
    """Returns what a person should know of rules, or of conditions in place of rules. Queries.

    Marks, which begin with the places of the rules, and groups that do not exist.
    """
    known, notes = known_attributes(), list[str]()
    for place, condition in new_conditions(rules):
        mark = mark_of(condition, known)
        # An error is refused.
        if mark is not None and not mark.is_error:
            notes.append(f"{localized(place)}: {mark.text}" if place else mark.text)
    if missing := missing_groups(groups_of(rules), conf.database):
        text = ngettext(
            "No user is in this group, because it does not exist: %(names)s. Create it, or correct "
            "its name.",
            "No user is in these groups, because they do not exist: %(names)s. Create them, or "
            "correct their names.",
            len(missing),
        )
        notes.append(text % {"names": local_list((quoted(name) for name in missing), _MAX_GROUPS)})
    return [*dict.fromkeys(notes)]


def _unknown_text(name: str) -> str:
    names = {"name": quoted(name), "function": quoted(conf.attributes.callable)}
    first = _("%(name)s is not known here.")
    if similar := similar_attribute(name):
        first = _("%(name)s is not known here; did you mean %(similar)s?")
        names["similar"] = quoted(similar)
    second = _("It is missing unless a call passes it in “context”.")
    if conf.attributes.callable:
        second = _("It is missing unless a call passes it in “context” or %(function)s returns it.")
    return f"{first} {second}" % names
