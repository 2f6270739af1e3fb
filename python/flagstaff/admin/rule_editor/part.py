"""The pages with rules or conditions: an editor, and sentences of what is stored."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.bucket_units import VISITOR
from flagstaff._tables.group_lookup import missing_groups
from flagstaff._tables.model_fields import segment_model
from flagstaff._tables.rows import all_rows
from flagstaff._words.json_text import UnreadableJson
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff._words.rule_parts import groups_of
from flagstaff.admin.forms import MergingForm, was_submitted
from flagstaff.admin.json_fields import as_json_area
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import stored_row
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.rule_editor.rows import JSON_OPERATORS
from flagstaff.admin.rule_editor.widget import RulesWidget
from flagstaff.admin.saving import set_widget
from flagstaff.conf import conf
from flagstaff.conf.attribute_sources import BUILT_IN

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


# A form with a longer text is slow, and up to six times as long: HTML escapes quotes.
_MAX_EDITABLE = 64_000
_ROWS = 8
# The groups that a message lists.
_MAX_GROUPS = 5
_NEGATE = format_html("<code>{}</code>", '"negate": true')


class RulePages(Part):
    """The rules of a flag, or the conditions of a segment."""

    #: The field: "rules" of a flag, or "conditions" of a segment.
    rule_field: ClassVar[str]
    #: The methods of a subclass for what is stored, for what is too large for a form, and for what
    #: Python cannot decode.
    displays: ClassVar[tuple[str, str, str]]
    rule_form_field: ClassVar[type[forms.Field]]
    rule_widget: ClassVar[type[RulesWidget]]
    rule_help: ClassVar[str | Promise]
    rule_example: ClassVar[str]

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Warns of groups that do not exist."""
        if self.rule_field not in form.changed_data:
            return
        rules = form.cleaned_data[self.rule_field]
        if missing := missing_groups(groups_of(rules), conf.database):
            names = local_list((quoted(name) for name in missing), _MAX_GROUPS)
            text = ngettext(
                "No user is in this group, because it does not exist: %(names)s. Create it, or "
                "correct its name.",
                "No user is in these groups, because they do not exist: %(names)s. Create them, or "
                "correct their names.",
                len(missing),
            )
            self.admin.message_user(request, text % {"names": names}, messages.WARNING)

    def has_rule_field(self) -> bool:
        """Whether the model has the field."""
        return True

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """What is stored, in sentences."""
        return self.displays

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections: before the editor, what is stored in sentences."""
        if not self.has_rule_field():
            return fieldsets
        return replaced_fields(fieldsets, {self.rule_field: self._rule_fields(request, row)})

    def _rule_fields(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        sentences, too_large, undecodable = self.displays
        is_readonly = self.rule_field in self.admin.get_readonly_fields(request, obj)
        if obj is None:
            return () if is_readonly else (self.rule_field,)
        if is_readonly or not self.admin.has_change_permission(request, obj):
            return (sentences,)
        stored = stored_in(obj, self.rule_field)
        if isinstance(stored, UnreadableJson):
            # A form has no text for them, so saving it would remove them.
            return (undecodable,)
        # The submitted page decides: without the field, a save would remove them.
        listed = was_submitted(request, self.rule_field)
        if listed is None:
            listed = len(_as_text(stored)) <= _MAX_EDITABLE
        field = self.rule_field if listed else too_large
        return (field,) if stored in (None, []) else (sentences, field)

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Makes the field a list of rules or conditions."""
        if db_field.name != self.rule_field or not self.has_rule_field():
            return {}
        return {"form_class": self.rule_form_field, "help_text": self.rule_help}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field: rows of inputs, or a text area with an example."""
        if db_field.name != self.rule_field or not self.has_rule_field():
            return field
        attrs = as_json_area(field, _ROWS, "flagstaff-lines").widget.attrs
        widget = self.rule_widget(
            attrs,
            attributes=known_attributes,
            segments=segment_keys,
            json_help=self._json_help(),
        )
        set_widget(field, widget)
        return field

    def _json_help(self) -> SafeString:
        more = _(
            "Operators: {operators}. {negate} reverses a condition. The page “Targeting” of the "
            "documentation describes them."
        )
        operators = format_html_join(", ", "<code>{}</code>", ([name] for name in JSON_OPERATORS))
        return format_html(
            '<details class="flagstaff-example"><summary>{}</summary>'
            '<pre class="flagstaff-json">{}</pre>{}</details>',
            _("Example"),
            self.rule_example,
            format_html(more, operators=operators, negate=_NEGATE),
        )


def stored_in(row: Any, field: str) -> Any:
    """Returns what is stored in the field of a row, whatever a form has set it to."""
    return getattr(stored_row(row), field)


def too_large_text(value: object, advice: str) -> str:
    """Returns the text of a page instead of JSON that is too large for its form."""
    count = len(_as_text(value))
    text = ngettext(
        "%(count)s character, too large to edit here. %(advice)s",
        "%(count)s characters, too large to edit here. %(advice)s",
        count,
    )
    return text % {"count": local_number(count), "advice": advice}


def _as_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def known_attributes() -> list[str]:
    """Returns the attributes that are known without a user. A function may return others."""
    return [*dict.fromkeys((*conf.attributes.columns, *BUILT_IN, VISITOR))]


def segment_keys() -> list[str]:
    """Returns the keys of all segments, in order. Makes one query."""
    return [*all_rows(segment_model()).order_by("key").values_list("key", flat=True)]
