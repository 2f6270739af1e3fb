"""The rules on the page of a value, and in the list of values."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.urls import URLPattern
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._stored_value_schema import is_secret
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.model_fields import RULES
from flagstaff._tables.value_states import ValueState
from flagstaff._words.rule_parts import objects_in
from flagstaff._words.text import local_number
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.json_fields import set_widget, too_large_text
from flagstaff.admin.links import page_url, row_path
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import page_of, request_of, stored_row
from flagstaff.admin.part import DbField, FormField
from flagstaff.admin.rule_editor.part import RulePages, stored_in
from flagstaff.admin.rules.sentences import results_html
from flagstaff.admin.unit_input import UnitInput
from flagstaff.changes.changed import command_line
from flagstaff.changes.consequence import impact_text
from flagstaff.changes.impact import RowState, impact
from flagstaff.history.kinds import Kind
from flagstaff.validators import value_rule_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec

_SECTION, _DETAILS = gettext_lazy("Targeting"), gettext_lazy("Details")
# What is above the rules of a stored value: its key, and the value itself in one of its forms.
_FIRST = ("key", "value", "shown_value", "large_value")
#: The fields that decide who gets what.
DECIDING = ("value", RULES, BUCKET_BY)
# The values of rules that the list shows, and the length of each.
_MAX_LISTED, _MAX_LISTED_LENGTH = 3, 20
_EXAMPLE = """\
[
  {
    "conditions": [
      {"segment": "enterprise"}
    ],
    "value": 50
  },
  {
    "name": "a quarter of the others",
    "conditions": [],
    "rollout_percent": 25,
    "value": 20
  }
]"""


class ValueRules(RulePages):
    """The rules of a value."""

    rule_field = RULES
    displays = ("saved_rules", "large_rules")
    rule_help = gettext_lazy(
        "The first rule that matches decides. Users outside its percentage, and users whom no rule "
        "matches, get the value itself."
    )
    rule_example = _EXAMPLE

    def problem_of(self, stored: object) -> Any:
        """Returns why workers cannot read what is stored."""
        return None if stored in (None, []) else value_rule_problem(stored)

    def urls(self) -> Sequence[URLPattern]:
        """The URLs that return the marks of a new value, and of a stored one."""
        return [*super().urls(), row_path(self.admin, "marks", self.marks_view)]

    def marks_url(self, request: HttpRequest) -> str:
        """The URL of the marks for a page."""
        stored, model_admin = page_of(request).stored, self.admin
        if stored is None:
            return super().marks_url(request)
        return page_url(model_admin.admin_site, model_admin.model, "marks", stored.pk)

    def impact_text(self, request: HttpRequest, form: MergingForm) -> str:
        """How many users the form would give another value; empty without an edit of rules."""
        if form.instance._state.adding:
            return ""
        form.full_clean()
        valid = form.cleaned_data
        edited = {
            name: valid[name] for name in DECIDING if name in form.changed_data and name in valid
        }
        now = RowState(Kind.VALUE, stored_row(form.instance))
        return impact_text(impact([now], [now.after(edited)], viewer=request.user))

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections, with one for the rules and their unit."""
        if not self.admin.fieldsets:
            fieldsets = _sections(fieldsets, row, is_folded=request.method == "GET")
        shown = super().fieldsets(request, row, fieldsets)
        if row is None or self.admin.has_change_permission(request, row):
            return shown
        # The unit of a value without rules says nothing.
        is_used = stored_in(row, RULES) not in (None, [])
        return shown if is_used else replaced_fields(shown, {BUCKET_BY: ()})

    def _rule_fields(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        """The editor below who gets what, which also names the value itself."""
        fields, sentences = super()._rule_fields(request, obj), self.displays[0]
        if obj is None or fields != (RULES,) or stored_in(obj, RULES) in (None, []):
            return fields
        return (sentences, RULES)

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Lets a text that only SQL can write into the unit not stop other changes."""
        if db_field.name == BUCKET_BY:
            return {"required": False}
        options = super().field_options(db_field)
        # A hidden input with what is stored would contain secret values.
        return {**options, "show_hidden_initial": False} if options else {}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field."""
        if db_field.name == BUCKET_BY and isinstance(field, forms.CharField):
            set_widget(field, UnitInput(field.widget.attrs))
        return super().form_field(db_field, field, request)

    @admin.display(description=gettext_lazy("who gets what"))
    def saved_rules(self, row: Any) -> SafeString | str:
        """The rules in the database as sentences, and the value itself."""
        state = ValueState.of(stored_row(row))
        if not state.has_rules:
            return _("everyone gets the value above")
        html = results_html(state, self.admin.admin_site, request_of(row))
        return html + _calls_note(row.key)

    @admin.display(description=gettext_lazy("rules"))
    def large_rules(self, row: Any) -> str:
        """How to change rules that are too large for a form."""
        advice = _("Use “manage.py flags value rules %(key)s FILE” or changes.values.update().")
        return too_large_text(stored_in(row, RULES), advice % {"key": shlex.quote(row.key)})


def _calls_note(key: str) -> SafeString:
    """How to find the calls of a value with rules."""
    text = _(
        "A call without a user gets the value itself, unless a rule matches without a user. To "
        "find all calls in your code, run: {command}"
    )
    command = format_html("<code>{}</code>", command_line("references", key))
    return format_html('<p class="flagstaff-note">{}</p>', format_html(text, command=command))


def _sections(fieldsets: _FieldsetSpec, row: Any, *, is_folded: bool) -> _FieldsetSpec:
    """The value itself, its rules, and the details. Most new values have no rules."""
    shown: Any = fieldsets
    (title, first), *others = shown
    names = [name for name in first["fields"] if row is None or name in _FIRST]
    rest = [name for name in first["fields"] if name not in names]
    classes = ("collapse",) if row is None and is_folded else ()
    sections: Any = (
        (title, {**first, "fields": names}),
        (_SECTION, {"fields": (RULES, BUCKET_BY), "classes": classes}),
        *([(_DETAILS, {"fields": rest})] if rest else []),
        *others,
    )
    return tuple(sections)


def rules_note(row: Any) -> str:
    """Returns a line of the list, such as "2 rules: 50, 20"; empty without rules."""
    rules = row.rules
    if rules == []:
        return ""
    if value_rule_problem(rules) is not None:
        return _("unreadable rules")
    count = len(rules)
    text = ngettext("%(count)s rule", "%(count)s rules", count) % {"count": local_number(count)}
    if is_secret(row):
        return text
    values = [json.dumps(rule["value"], ensure_ascii=False) for rule in objects_in(rules)]
    shown = [Truncator(value).chars(_MAX_LISTED_LENGTH) for value in values[:_MAX_LISTED]]
    more = ["…"] if count > _MAX_LISTED else []
    return f"{text}: {', '.join([*shown, *more])}"
