"""The admin of values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from flagstaff._stored_value_rules import CHOICES, TYPE, VALUE, has_value_rules
from flagstaff._tables.decoding import is_secret
from flagstaff._tables.rows import readable
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.local_formats import local_number
from flagstaff._words.mask import MASK
from flagstaff._words.truncated import local_truncated
from flagstaff.admin.deletion import Deletion
from flagstaff.admin.forms import was_submitted
from flagstaff.admin.history.part import History
from flagstaff.admin.json_fields import ChoicesField, IndentedField, as_json_area
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.admin.saving import set_widget
from flagstaff.admin.value.form import ValueForm
from flagstaff.admin.value.json_input import JsonInput
from flagstaff.admin.value.list import ValueList
from flagstaff.base_models import AbstractKeyValueStore
from flagstaff.history.kinds import Kind
from flagstaff.models import KeyValueStore

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT, _ListFilterT
    from django.utils.datastructures import _ListOrTuple

_MAX_LENGTH_SHOWN = 80
# A form with a longer value is slow, and up to six times as long: HTML escapes quotes.
_MAX_EDITABLE = 64_000
_VALUE_HELP = _('JSON: a string in double quotes, such as "stripe", or 25, true, [1, 2].')
# How much of such a value the page shows.
_MAX_START = 1_000


class ValueFields(Part):
    """The fields of the form. Their input is JSON."""

    displays = ("large_value", "short_description")

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        """All values, also those that Python cannot decode."""
        return readable(rows)

    def allows_lookup(self, field: str, request: HttpRequest) -> bool:
        """Rejects filters by value: a secret could be guessed character by character."""
        return field not in (VALUE, CHOICES)

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Makes the value and its choices JSON."""
        if db_field.name == VALUE:
            return {"form_class": IndentedField, "help_text": _VALUE_HELP}
        return {"form_class": ChoicesField} if self._are_choices(db_field) else {}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field. JSON is a text area with the attributes of the theme's."""
        if self._are_choices(db_field):
            return as_json_area(field, 2)
        if db_field.name == VALUE:
            as_json_area(field, css_class="flagstaff-value")
            set_widget(field, JsonInput(field.widget.attrs))
        return field

    def _are_choices(self, db_field: DbField) -> bool:
        return db_field.name == CHOICES and has_value_rules(self.admin.model)

    def fields(self, request: HttpRequest, obj: Any) -> tuple[Any, ...]:
        """The fields. A secret value is masked for users who may not change it, as its choices."""
        value = "value" if obj is None else self._value_field(request, obj)
        is_hidden = is_secret(obj) and not self.admin.has_change_permission(request, obj)
        times = ["changed_at"] if obj else []  # set by the database at creation
        fields = (
            "key",
            value,
            TYPE,
            *(() if is_hidden else (CHOICES,)),
            "description",
            "secret",
            *self.admin.own_fields.other_fields(),
            *times,
        )
        return self.admin.own_fields.present(fields)

    def _value_field(self, request: HttpRequest, row: KeyValueStore) -> str:
        may_change = self.admin.has_change_permission(request, row)
        if (is_secret(row) or isinstance(row.value, UnreadableJson)) and not may_change:
            return "shown_value"
        # The submitted page decides: it may have shown a shorter value than the present one.
        listed = was_submitted(request, "value") if may_change else None
        if listed is None:
            is_short = len(_as_text(row.value)) <= _MAX_EDITABLE
            listed = is_short or isinstance(row.value, UnreadableJson)
        return "value" if listed else "large_value"

    @admin.display(description=_("value"))
    def large_value(self, row: KeyValueStore) -> SafeString:
        """The start of a value that is too large for a form, and how to change it."""
        value = _as_text(row.value)
        text = ngettext(
            "%(count)s character, too large to edit here. Use “manage.py flags value set %(key)s "
            "-” or flagstaff.changes.set_value().",
            "%(count)s characters, too large to edit here. Use “manage.py flags value set %(key)s "
            "-” or flagstaff.changes.set_value().",
            len(value),
        )
        return format_html(
            '<span class="flagstaff-json">{}</span><br>{}',
            MASK if is_secret(row) else local_truncated(value, _MAX_START),
            text % {"count": local_number(len(value)), "key": shlex.quote(row.key)},
        )

    @admin.display(description=_("description"), ordering="description")
    def short_description(self, row: KeyValueStore) -> str:
        """The description, truncated."""
        return Truncator(row.description or "").chars(_MAX_LENGTH_SHOWN)


class KeyValueStoreAdmin(RowAdmin):
    """Values: key, value, description.

    Also for a project's own value model: uses the fields that it has.
    """

    row_kind = Kind.VALUE
    known_model = AbstractKeyValueStore
    parts: ClassVar[tuple[type[Part], ...]] = (ValueList, ValueFields, History, Deletion)
    form = ValueForm

    list_display: _ListDisplayT[KeyValueStore] = ValueList.displays
    list_display_links = ("value_key",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    list_filter: ClassVar[_ListOrTuple[_ListFilterT]] = ("secret",)
    ordering = ("key",)
    readonly_fields: ClassVar[_ListOrTuple[str]] = ("changed_at", "shown_value", "large_value")

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css", "flagstaff/values.css")}


def _as_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
