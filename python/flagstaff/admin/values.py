"""Settings in the admin."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.db.models import JSONField, TextField
from django.db.models.constants import LOOKUP_SEP
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy as _

from flagstaff.admin.attribution import HandsMixin
from flagstaff.admin.forms import VersionedForm
from flagstaff.admin.history import HistoryMixin
from flagstaff.admin.saving import SavingMixin
from flagstaff.history.describe import SECRET
from flagstaff.history.kinds import Kind
from flagstaff.models import KeyValueStore

__all__ = ["KeyValueStoreAdmin"]

if TYPE_CHECKING:
    _ModelAdmin = admin.ModelAdmin[KeyValueStore]
else:
    _ModelAdmin = admin.ModelAdmin

_MOST_SHOWN = 80
# An odd number of backslashes before it: the character itself, not a text about it.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class ValueField(forms.JSONField):
    """A JSON text; its errors say what to write, and what no database holds is refused."""

    default_error_messages = {
        "invalid": _(
            "this is not JSON (line %(line)d, column %(column)d); "
            'a text stands in double quotes, such as "stripe"'
        ),
        "unstorable": _("PostgreSQL cannot store NaN, Infinity, \\u0000 or half a surrogate pair"),
    }

    def to_python(self, value: Any) -> Any:
        """The value of a JSON text."""
        try:
            return super().to_python(value)
        except ValidationError as error:
            text = self.error_messages["invalid"]
            raise ValidationError(text, code="invalid", params=_place(value)) from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        """What was typed, as it was typed."""
        if self.disabled or data is None:
            return super().bound_data(data, initial)
        return InvalidJSONInput(data)

    def validate(self, value: Any) -> None:
        """Refuse what Python takes for JSON and the database does not."""
        super().validate(value)
        if not _is_storable(value):
            raise ValidationError(self.error_messages["unstorable"], code="unstorable")


class ValueForm(VersionedForm):
    """One error for one mistake."""

    kind = Kind.VALUE

    def clean(self) -> dict[str, Any] | None:
        """Leave a text that was refused at that: the model would miss its value besides."""
        if "value" in self.errors:
            self.instance.value = ""
        return super().clean()


class KeyValueStoreAdmin(HandsMixin, HistoryMixin, SavingMixin, _ModelAdmin):
    """Settings: key, value, and what it is for."""

    kind = Kind.VALUE
    form = ValueForm
    list_display = ("key", "shown_value", "about", "changed_at")
    search_fields = ("key", "description")
    list_filter = ("secret",)
    ordering = ("key",)
    readonly_fields = ("changed_at", "shown_value")
    formfield_overrides = {
        JSONField: {
            "form_class": ValueField,
            "widget": AdminTextareaWidget(attrs={"rows": 4, "class": "flagstaff-json"}),
            "help_text": _('JSON: a text in double quotes, such as "stripe", or 25, true, [1, 2].'),
        },
        TextField: {"widget": AdminTextareaWidget(attrs={"rows": 3})},
    }

    class Media:
        css = {"all": ("flagstaff/admin.css",)}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether an address may filter by this: by no value, which could be guessed bit by bit."""
        by_value = lookup.partition(LOOKUP_SEP)[0] == "value"
        return not by_value and super().lookup_allowed(lookup, value, request)

    def get_fields(self, request: HttpRequest, obj: KeyValueStore | None = None) -> Any:
        """The fields; who may not change a secret value does not see it either."""
        hidden = obj is not None and obj.secret and not self.has_change_permission(request, obj)
        value = "shown_value" if hidden else "value"
        return ["key", value, "description", "secret", "changed_at"]

    @admin.display(description=_("value"))
    def shown_value(self, entry: KeyValueStore) -> SafeString:
        """The value as JSON, cut short; a secret one is not shown."""
        text = json.dumps(entry.value, ensure_ascii=False)
        shown = SECRET if entry.secret else Truncator(text).chars(_MOST_SHOWN)
        return format_html('<span class="flagstaff-json">{}</span>', shown)

    @admin.display(description=_("description"), ordering="description")
    def about(self, entry: KeyValueStore) -> str:
        """What the setting is for, cut short."""
        return Truncator(entry.description).chars(_MOST_SHOWN)


def _place(text: str) -> dict[str, int]:
    """Where the JSON ends to be JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return {"line": error.lineno, "column": error.colno}
    return {"line": 1, "column": 1}


def _is_storable(value: Any) -> bool:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()
    except ValueError:
        return False
    return not _NUL.search(text)
