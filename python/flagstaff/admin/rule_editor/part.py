"""The pages with rules or conditions: an editor, and sentences of what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.forms import BaseForm
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._tables.group_lookup import can_read_groups, missing_groups
from flagstaff._tables.known_attributes import known_attributes
from flagstaff._words.rule_parts import groups_of
from flagstaff._words.text import local_list, quoted
from flagstaff.admin.forms import MergingForm, was_submitted
from flagstaff.admin.json_fields import as_json_area, is_editable, set_widget
from flagstaff.admin.links import list_path, page_url
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import page_of, stored_row
from flagstaff.admin.part import DbField, FormField, Part
from flagstaff.admin.rule_editor.context import Offer
from flagstaff.admin.rule_editor.edits import read_rows
from flagstaff.admin.rule_editor.fields import ConditionRowsField, RuleRowsField, RulesWidget
from flagstaff.admin.rule_editor.marks import mark_of, mark_texts
from flagstaff.admin.rule_editor.rows import (
    JSON_OPERATORS,
    MAX_ROWS,
    condition_of_row,
    row_count,
)
from flagstaff.admin.rule_editor.samples import sample_values
from flagstaff.admin.rules.sentences import shown_segments
from flagstaff.conf import conf
from flagstaff.validators import rule_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec


_ROWS = 8
# The groups that a message lists.
_MAX_GROUPS = 5
_NEGATE = format_html("<code>{}</code>", '"negate": true')


class RulePages(Part):
    """The rules of a flag or a value."""

    #: The field.
    rule_field: ClassVar[str]
    #: The methods of a subclass for what is stored, for what is too large for a form, and for what
    #: Python cannot decode.
    displays: ClassVar[tuple[str, str]]
    rule_help: ClassVar[str | Promise]
    rule_example: ClassVar[str]

    def after_save(self, request: HttpRequest, form: MergingForm, *, is_new: bool) -> None:
        """Warns of attributes that are not known, and of groups that do not exist."""
        if self.rule_field not in form.changed_data:
            return
        if texts := marks_of(form, self.rule_field):
            self.admin.message_user(request, " ".join(texts), messages.WARNING)
        if text := missing_groups_text(form.cleaned_data[self.rule_field]):
            self.admin.message_user(request, text, messages.WARNING)

    def problem_of(self, stored: object) -> str | None:
        """Returns why workers cannot read what is stored."""
        return None if stored in (None, []) else rule_problem(stored)

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """What is stored, in sentences."""
        return self.displays

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections: before the editor, what is stored in sentences."""
        return replaced_fields(fieldsets, {self.rule_field: self._rule_fields(request, row)})

    def _rule_fields(self, request: HttpRequest, obj: Any) -> tuple[str, ...]:
        sentences, too_large = self.displays
        is_readonly = self.rule_field in self.admin.get_readonly_fields(request, obj)
        if obj is None:
            return () if is_readonly else (self.rule_field,)
        if is_readonly or not self.admin.has_change_permission(request, obj):
            return (sentences,)
        stored = stored_in(obj, self.rule_field)
        # The submitted page decides: without the field, a save would remove them.
        listed = was_submitted(request, self.rule_field)
        if listed is None:
            listed = is_editable(stored)
        if not listed:
            return sentences, too_large
        # The editor says the same as the sentences, but for the members of groups, the reason why
        # workers cannot read what is stored, and what is stored beside what was typed.
        is_same = request.method == "GET" and self.problem_of(stored) is None
        if is_same and not groups_of(stored):
            return (self.rule_field,)
        return (self.rule_field,) if stored in (None, []) else (sentences, self.rule_field)

    def field_options(self, db_field: DbField) -> Mapping[str, Any]:
        """Makes the field a list of rules."""
        if db_field.name != self.rule_field:
            return {}
        return {"form_class": RuleRowsField, "help_text": self.rule_help}

    def form_field(self, db_field: DbField, field: FormField, request: HttpRequest) -> FormField:
        """The form field: rows of inputs, or a text area with an example."""
        if db_field.name != self.rule_field:
            return field
        site = self.admin.admin_site
        return with_editor(field, site, request, self.rule_example, marks_url=self.marks_url)

    def urls(self) -> Sequence[URLPattern]:
        """The URL that returns the marks of a new row, which a script requests."""
        return [list_path(self.admin, "marks", self.marks_view)]

    def marks_url(self, request: HttpRequest) -> str:
        """The URL of the marks for a page; empty if another request of the page returns them."""
        is_new = page_of(request).stored is None
        return page_url(self.admin.admin_site, self.admin.model, "marks") if is_new else ""

    def marks_view(self, request: HttpRequest, object_id: str | None = None) -> HttpResponse:
        """Returns the marks of the rows that a form has posted, as JSON. Writes nothing."""
        admin, row = self.admin, None
        if object_id is None:
            may_open = admin.has_add_permission(request)
        else:
            row = admin.get_object(request, unquote(object_id))
            if row is None:
                raise Http404
            may_open = admin.has_view_permission(request, row)
        if request.method != "POST" or not may_open:
            raise PermissionDenied
        form_class = cast("type[MergingForm]", admin.get_form(request, row, change=row is not None))
        form = form_class(request.POST, instance=row)
        marks = marks_of_rows(form, self.rule_field)
        return JsonResponse({"text": self.impact_text(request, form), "marks": marks})

    def impact_text(self, request: HttpRequest, form: MergingForm) -> str:
        """Returns a sentence about the users of a form that is edited; empty if there is none."""
        return ""


def with_editor(
    field: forms.Field,
    site: AdminSite,
    request: HttpRequest,
    example: str,
    *,
    marks_url: Callable[[HttpRequest], str] = lambda _request: "",
) -> forms.Field:
    """Returns a form field with the editor: rows of inputs, or a text area with an example."""
    of_segment = isinstance(field, ConditionRowsField)

    def offer() -> Offer:
        # Makes the queries of the segments and the samples.
        return Offer(
            known_attributes(),
            sample_values(request),
            () if of_segment else shown_segments(site, request),
            has_groups=can_read_groups(conf.database),
            marks_url=marks_url(request),
        )

    attrs = as_json_area(field, _ROWS, "flagstaff-lines").widget.attrs
    widget = RulesWidget(attrs, of_segment=of_segment, offer=offer, json_help=json_help(example))
    set_widget(field, widget)
    return field


def missing_groups_text(rules: object) -> str:
    """Returns the sentence about groups that do not exist; empty without any. Queries."""
    missing = missing_groups(groups_of(rules), conf.database)
    text = ngettext(
        "No user is in this group, because it does not exist: %(names)s. Create it, or correct its "
        "name.",
        "No user is in these groups, because they do not exist: %(names)s. Create them, or correct "
        "their names.",
        len(missing),
    )
    names = local_list((quoted(name) for name in missing), _MAX_GROUPS)
    return text % {"names": names} if missing else ""


def json_help(example: str) -> SafeString:
    """Returns what stands beside the JSON of rules: an example, and the operators."""
    more = _(
        "Operators: {operators}. {negate} reverses a condition. The page “Targeting” of the "
        "documentation describes them."
    )
    operators = format_html_join(", ", "<code>{}</code>", ([name] for name in JSON_OPERATORS))
    return format_html(
        '<details class="flagstaff-example"><summary>{}</summary>'
        '<pre class="flagstaff-json">{}</pre>{}</details>',
        _("Example"),
        example,
        format_html(more, operators=operators, negate=_NEGATE),
    )


def stored_in(row: Any, field: str) -> Any:
    """Returns what is stored in the field of a row, whatever a form has set it to."""
    return getattr(stored_row(row), field)


def marks_of(form: MergingForm, name: str) -> list[str]:
    """Returns what the edited rules or conditions of a form read that is not known here."""
    is_edited = name in form.changed_fields
    return mark_texts(form.cleaned_data[name], errors=False) if is_edited else []


def marks_of_rows(form: BaseForm, name: str) -> dict[str, dict[str, object]]:
    """Returns the marks of the submitted rows as JSON, by the token of the row."""
    if name not in form.fields:
        return {}
    rules, places = read_rows(form.data, name)
    if row_count(rules) > MAX_ROWS:
        return {}
    known = known_attributes()
    marks = {
        token: mark_of(condition_of_row(rules[rule].conditions[number]), known)
        for token, (rule, number) in places.items()
        if number is not None
    }
    return {token: mark._asdict() for token, mark in marks.items() if mark}
