"""The admin of values: the columns of the list, and the fields of the form."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._stored_value_schema import (
    CHOICES,
    SECRET_FIELDS,
    TYPE,
    VALUE,
    is_secret,
    value_schema_of,
)
from flagstaff._words.text import MASK, local_number, localized, truncated
from flagstaff._words.value_schema import ValueSchema, type_of
from flagstaff.admin.cells import (
    changed_cell,
    key_cell,
    labelled_cell,
    newest_change_cell,
    two_lines,
)
from flagstaff.admin.deletion import Deletion
from flagstaff.admin.fallbacks import can_read, value_or_default
from flagstaff.admin.forms import was_submitted
from flagstaff.admin.json_fields import (
    IndentedField,
    ListField,
    as_json_area,
    is_editable,
    set_widget,
    too_large_text,
)
from flagstaff.admin.own_fields import other_fields
from flagstaff.admin.page import page_of, page_of_row
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.admin.value.form import JsonInput, ValueForm
from flagstaff.admin.value.question import ValueQuestion
from flagstaff.admin.value.rules import ValueRules, rules_note
from flagstaff.base_models import AbstractKeyValueStore
from flagstaff.history.describe import (
    describe_json_change,
    describe_sides,
    describe_value,
    field_label,
)
from flagstaff.history.kinds import Kind
from flagstaff.history.log import Change, Event, events, has_history, versions_of
from flagstaff.history.user_names import names_of_actors
from flagstaff.models import KeyValueStore

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

# The length of a value and of a description in the list, and of each side of a change.
_MAX_SHOWN, _MAX_SIDE = 80, 30
_VALUE_HELP = gettext_lazy(
    'JSON: a string in double quotes, such as "stripe", or 25, true, [1, 2]. The order of the '
    "names in an object is not kept."
)
# How much of such a value the page shows.
_MAX_START = 1_000


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
        truncated = Truncator(text).chars(_MAX_SHOWN)
        html = format_html('<span class="flagstaff-json">{}</span>', truncated)
        page = page_of_row(row)
        if (page is None or page.stored is None) and (note := rules_note(row)):
            return two_lines(html, note)
        return html

    @admin.display(description=gettext_lazy("type"))
    def value_type(self, row: Any) -> str:
        """The type that the value has to have, or else has, and the number of its choices."""
        rule: ValueSchema = value_schema_of(row)
        name = rule.type or ("" if is_secret(row) else type_of(row.value))
        labels = {**dict(KeyValueStore.Type.choices), "null": "null"}
        parts = [str(labels[name])] if name else []
        if count := len(rule.choices):
            text = ngettext("%(count)s choice", "%(count)s choices", count)
            parts.append(text % {"count": local_number(count)})
        return " · ".join(parts)

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, row: Any) -> SafeString:
        """The newest change in a few words, its actor and its time."""
        page = page_of_row(row)
        newest = (page and page.kept(_Newest)) or _Newest()
        event = newest.events.get(str(row.pk))
        shown = changed_cell(row)
        if event is not None:
            text = _("created") if event.action == "create" else ", ".join(_parts(event))
            shown = newest_change_cell(text, event, newest.names)
        return labelled_cell(_("changed"), shown)


def _read_newest(rows: Sequence[Any]) -> _Newest:
    versions = versions_of(Kind.VALUE, [row.pk for row in rows])
    entries = Change.objects.filter(id__in=list(versions.values()))
    newest = [*events(entries.short().newest())]
    return _Newest({event.object_pk: event for event in newest}, names_of_actors(newest))


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


class ValueFields(Part):
    """The fields of the form. Their input is JSON."""

    displays = ("large_value", "short_description")

    def allows_lookup(self, field: str, request: HttpRequest) -> bool:
        """Rejects filters by value: a secret could be guessed character by character."""
        return field not in SECRET_FIELDS

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Makes the value and its choices JSON."""
        if db_field.name == VALUE:
            return {"form_class": IndentedField, "help_text": _VALUE_HELP}
        return {"form_class": ListField} if db_field.name == CHOICES else {}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field. JSON is a text area with the attributes of the theme's."""
        if db_field.name == CHOICES:
            return as_json_area(field, 2)
        if db_field.name == VALUE:
            as_json_area(field, css_class="flagstaff-value")
            set_widget(field, JsonInput(field.widget.attrs))
        return field

    def fields(self, request: HttpRequest, obj: Any) -> tuple[Any, ...]:
        """The fields. A secret value is masked for users who may not change it, as its choices."""
        is_hidden = is_secret(obj) and not self.admin.has_change_permission(request, obj)
        return (
            "key",
            VALUE if obj is None else self._value_field(request, obj),
            TYPE,
            *(() if is_hidden else (CHOICES,)),
            *("description", "secret", "client_side"),
            *other_fields(self.admin.model, self.admin.known_model),
            # The database sets it at the creation.
            *(("changed_at",) if obj else ()),
        )

    def _value_field(self, request: HttpRequest, row: KeyValueStore) -> str:
        may_change = self.admin.has_change_permission(request, row)
        if is_secret(row) and not may_change:
            return "shown_value"
        # The submitted page decides: it may have shown a shorter value than the present one.
        is_listed = was_submitted(request, VALUE) if may_change else None
        if is_listed is None:
            is_listed = is_editable(row.value)
        return VALUE if is_listed else "large_value"

    @admin.display(description=gettext_lazy("value"))
    def large_value(self, row: KeyValueStore) -> SafeString:
        """The start of a value that is too large for a form, and how to change it."""
        advice = _("Use “manage.py flags value set %(key)s -” or changes.values.set().")
        value = json.dumps(row.value, ensure_ascii=False)
        return format_html(
            '<span class="flagstaff-json">{}</span><br>{}',
            MASK if is_secret(row) else localized(truncated(value, _MAX_START)),
            too_large_text(row.value, advice % {"key": shlex.quote(row.key)}),
        )

    @admin.display(description=gettext_lazy("description"), ordering="description")
    def short_description(self, row: KeyValueStore) -> str:
        """The description, truncated."""
        return Truncator(row.description or "").chars(_MAX_SHOWN)


class KeyValueStoreAdmin(RowAdmin):
    """Values, also those of a project's own value model."""

    row_kind = Kind.VALUE
    known_model = AbstractKeyValueStore
    parts: ClassVar[tuple[type[Part], ...]] = (
        ValueList,
        ValueFields,
        ValueRules,
        ValueQuestion,
        Deletion,
    )
    form = ValueForm
    docs_page = "how-to/values/"

    list_display: _ListDisplayT[KeyValueStore] = ValueList.displays
    list_display_links = ("value_key",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("secret",)
    ordering = ("key",)
    readonly_fields: ClassVar[_ListOrTuple[str]] = ("changed_at", "shown_value", "large_value")

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/values.css")}
