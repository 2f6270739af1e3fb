"""The list of values: the key, the value with its type, and the newest change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._stored_value_rules import value_rule_of
from flagstaff._tables.decoding import is_secret
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.local_formats import local_number
from flagstaff._words.value_rules import TYPE_NAMES, ValueRule, type_of
from flagstaff.admin.cells import changed_cell, key_cell, labelled_cell, newest_change_cell
from flagstaff.admin.fallbacks import can_read, value_or_default
from flagstaff.admin.page import page_of, page_of_row
from flagstaff.admin.part import Part
from flagstaff.history.describe import (
    describe_json_change,
    describe_sides,
    describe_value,
    field_label,
)
from flagstaff.history.events import Event
from flagstaff.history.kinds import Kind
from flagstaff.history.reading import events_among
from flagstaff.history.user_names import names_of_actors
from flagstaff.history.versions import all_entries, has_history, versions_of

_MAX_VALUE, _MAX_SIDE = 80, 30


@dataclass(frozen=True)
class _Newest:
    """The newest events of the values of a list, by primary key, and the names of actors."""

    events: Mapping[str, Event] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


class ValueList(Part):
    """The columns of the list."""

    displays = ("value_key", "shown_value", "value_type", "changed")

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Reads the newest changes of a page in a fixed number of queries."""
        if has_history() and can_read(request, "change_table"):
            read = partial(_read_newest, list(changelist.result_list))
            newest = value_or_default("the list of values shows no changes", read, _Newest())
            page_of(request).keep(newest)

    @admin.display(description=gettext_lazy("key"), ordering="key")
    def value_key(self, row: Any) -> SafeString:
        """The key and the description."""
        return key_cell(row)

    @admin.display(description=gettext_lazy("value"))
    def shown_value(self, row: Any) -> SafeString:
        """The value as JSON, truncated. A secret value is masked."""
        text = describe_value(row.value, secret=is_secret(row))
        truncated = Truncator(text).chars(_MAX_VALUE)
        return format_html('<span class="flagstaff-json">{}</span>', truncated)

    @admin.display(description=gettext_lazy("type"))
    def value_type(self, row: Any) -> str:
        """The type that the value has to have, or else has, and the number of its choices."""
        return _rule_text(row)

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, row: Any) -> SafeString:
        """The newest change in a few words, its actor and its time."""
        page = page_of_row(row)
        newest = (page and page.kept(_Newest)) or _Newest()
        event = newest.events.get(str(row.pk))
        if event is None:
            return labelled_cell(_("changed"), changed_cell(row))
        text = _("created") if event.action == "create" else ", ".join(_parts(event))
        shown = newest_change_cell(text, event, newest.names)
        return labelled_cell(_("changed"), shown)


def _read_newest(rows: Sequence[Any]) -> _Newest:
    versions = versions_of(Kind.VALUE, [row.pk for row in rows])
    newest = all_entries().filter(id__in=list(versions.values()))
    events = events_among(Kind.VALUE, newest, shorten=True)
    return _Newest({event.object_pk: event for event in events}, names_of_actors(events))


def _parts(event: Event) -> Iterator[str]:
    for difference in event.differences:
        if difference.field != "value":
            yield field_label(difference.field)
        elif parts := describe_json_change(difference.old, difference.new):
            yield Truncator(parts).chars(2 * _MAX_SIDE)
        else:
            yield " → ".join(
                Truncator(side).chars(_MAX_SIDE) for side in describe_sides(difference)
            )


def _rule_text(row: Any) -> str:
    """Returns the type of a value, and how many choices there are."""
    rule: ValueRule = value_rule_of(row)
    is_hidden = is_secret(row) or isinstance(row.value, UnreadableJson)
    name = rule.type or ("" if is_hidden else type_of(row.value))
    parts = [str(TYPE_NAMES[name])] if name else []
    if count := len(rule.choices):
        text = ngettext("%(count)s choice", "%(count)s choices", count)
        parts.append(text % {"count": local_number(count)})
    return " · ".join(parts)
