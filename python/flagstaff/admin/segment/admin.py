"""The admin of segments: their conditions in sentences, and what uses them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._tables.rows import all_rows
from flagstaff._words.rule_text import conditions_text
from flagstaff._words.text import local_list, local_number
from flagstaff.admin.cells import changed_cell, key_cell, labelled_cell
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.deletion import Deletion
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.history.part import History
from flagstaff.admin.json_fields import too_large_text
from flagstaff.admin.links import may_view, page_url, row_path
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import page_of, page_of_row, request_of, stored_row
from flagstaff.admin.part import Deleted, Part
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.admin.rule_editor.fields import ConditionRowsField, refuse_rules
from flagstaff.admin.rule_editor.part import RulePages, marks_of, stored_in
from flagstaff.admin.rule_editor.sentences import conditions_html
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.admin.segment.plan import (
    kind_of_use,
    segment_rows,
    use_names,
    why_not_release,
)
from flagstaff.admin.views import DeletionRefusedError
from flagstaff.changes.impact import Impact, RowState, impact
from flagstaff.changes.segment_use import Uses, uses_by_segment
from flagstaff.exceptions import InvalidChangeError
from flagstaff.extensions import OtherRules
from flagstaff.history.describe import field_label
from flagstaff.history.kinds import Kind
from flagstaff.models import Segment
from flagstaff.validators import condition_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec, _ListDisplayT
    from django.utils.datastructures import _ListOrTuple


CONDITIONS = "conditions"
_TIMES = ("created_at", "changed_at")
# A new segment has none of them.
_ONLY_STORED: dict[str, tuple[str, ...]] = dict.fromkeys((*_TIMES, "used_by"), ())
_MAX_LENGTH_SHOWN = 150
# The flags that the page of a segment links to.
_MAX_FLAGS = 50
_EXAMPLE = """\
[
  {"attribute": "plan", "operator": "in", "values": ["enterprise", "business"]},
  {"attribute": "seats", "operator": "gte", "values": [100]}
]"""


class SegmentForm(MergingForm):
    """The form of a segment."""

    kind = Kind.SEGMENT

    def clean(self) -> dict[str, Any] | None:
        """Validates the form."""
        cleaned = super().clean()
        refuse_rules(self, CONDITIONS)
        return cleaned


class SegmentQuestion(SaveQuestion):
    """Asks before a save that gives flags or experiments to users."""

    def impact(self, request: HttpRequest, form: MergingForm) -> Impact | None:
        """What the save means.

        The right to change segments is not the right to release the flags that use them.
        """
        segment, is_new = form.instance, form.instance._state.adding
        if not (is_new or CONDITIONS in form.changed_fields):
            return None
        # A rule may name a segment that SQL has deleted.
        stored = None if is_new else all_rows(self.admin.model).filter(pk=segment.pk).first()
        edited = {CONDITIONS: form.cleaned_data.get(CONDITIONS)}
        after = RowState(Kind.SEGMENT, segment).after(edited)
        found = impact([RowState(Kind.SEGMENT, stored)], [after], viewer=request.user)
        if why := why_not_release(self.admin.admin_site, request, [segment.key], found.uses):
            raise InvalidChangeError(why)
        return found

    def question(
        self, request: HttpRequest, form: MergingForm, impact: Impact
    ) -> Mapping[str, object]:
        """The flags and experiments before and after the save."""
        stored = stored_row(form.instance)
        now = "" if stored._state.adding else conditions_text(stored.conditions) or ""
        after = conditions_text(form.cleaned_data.get(CONDITIONS)) or ""
        return {
            "title": _("Save a segment"),
            "flagstaff_rows": [PreviewRow(field_label(CONDITIONS), now, after)],
            "flagstaff_uses": segment_rows(self.admin.admin_site, request, impact),
            "flagstaff_notes": [page_of(request).users_text, *marks_of(form, CONDITIONS)],
        }


class SegmentConditions(RulePages):
    """The conditions of a segment."""

    rule_field = CONDITIONS
    displays = ("saved_conditions", "large_conditions")
    rule_form_field = ConditionRowsField
    rule_help = gettext_lazy("A user is in the segment if all conditions are true.")
    rule_example = _EXAMPLE

    def problem_of(self, stored: object) -> str | None:
        """Returns why workers cannot read the conditions."""
        return condition_problem(stored)

    def urls(self) -> Sequence[URLPattern]:
        """The URLs that return the marks of a new segment, and of a stored one."""
        return [*super().urls(), row_path(self.admin, "marks", self.marks_view)]

    def marks_url(self, request: HttpRequest) -> str:
        """The URL of the marks for a page."""
        stored, admin = page_of(request).stored, self.admin
        if stored is None:
            return super().marks_url(request)
        return page_url(admin.admin_site, admin.model, "marks", stored.pk)

    @admin.display(description=gettext_lazy("current conditions"))
    def saved_conditions(self, segment: Segment) -> SafeString:
        """The conditions in the database as a sentence."""
        return conditions_html(stored_in(segment, CONDITIONS))

    @admin.display(description=gettext_lazy("conditions"))
    def large_conditions(self, segment: Segment) -> str:
        """How to change conditions that are too large for a form."""
        advice = _(
            "Use “manage.py flags segment conditions %(key)s FILE” or changes.segments.update()."
        )
        advice %= {"key": shlex.quote(segment.key)}
        return too_large_text(stored_in(segment, CONDITIONS), advice)


class SegmentUses(Part):
    """The columns of the list, and what uses a segment."""

    displays = ("segment", "short_conditions", "use", "changed", "used_by")

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Finds what uses each segment with few queries for the whole page."""
        page_of(request).keep(uses_by_segment())

    def readonly_fields(self, request: HttpRequest, row: Any) -> Iterable[str]:
        """What uses the segment, also for a subclass that sets other read-only fields."""
        return ("used_by",)

    def fieldsets(self, request: HttpRequest, row: Any, fieldsets: _FieldsetSpec) -> _FieldsetSpec:
        """The sections. A new segment has no times and no flags."""
        return fieldsets if row else replaced_fields(fieldsets, _ONLY_STORED)

    def delete_response(self, request: HttpRequest, object_id: str) -> HttpResponse | None:
        """Refuses to delete a segment that a rule uses."""
        segment = self.admin.get_object(request, object_id)
        may_delete = segment is not None and self.admin.has_delete_permission(request, segment)
        site = self.admin.admin_site
        if not may_delete or not (refusal := _why_in_use(site, request, [segment])):
            return None
        self.admin.message_user(request, refusal, messages.ERROR)
        return HttpResponseRedirect(page_url(site, self.admin.model, "change", segment.pk))

    def deleted_objects(self, request: HttpRequest, rows: Iterable[Any], found: Deleted) -> Deleted:
        """Raises DeletionRefusedError if a rule uses one of the segments."""
        if refusal := _why_in_use(self.admin.admin_site, request, rows):
            raise DeletionRefusedError(refusal)
        return found

    @admin.display(description=gettext_lazy("segment"), ordering="key")
    def segment(self, segment: Segment) -> SafeString:
        """The key and the description."""
        return key_cell(segment)

    @admin.display(description=gettext_lazy("conditions"))
    def short_conditions(self, segment: Segment) -> str:
        """The conditions as a sentence, truncated."""
        text = conditions_text(segment.conditions)
        if text is None or condition_problem(segment.conditions):
            return _("unreadable conditions")
        return Truncator(text).chars(_MAX_LENGTH_SHOWN)

    @admin.display(description=gettext_lazy("used by"))
    def use(self, segment: Segment) -> SafeString:
        """The number of flags, values and experiments whose rules use the segment."""
        page = page_of_row(segment)
        uses = page.kept(Uses) if page else None
        text = _count_text(uses[segment.key]) if uses else ""
        return labelled_cell(_("used by"), text)

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, segment: Segment) -> SafeString:
        """The time since the last change. The tooltip has the date and time."""
        return labelled_cell(_("changed"), changed_cell(segment))

    @admin.display(description=gettext_lazy("used by"))
    def used_by(self, segment: Segment) -> SafeString | str:
        """What uses the segment, as links for users who may view all of it."""
        uses = uses_by_segment()[segment.key]
        if not uses:
            return _("no flag")
        site, request = self.admin.admin_site, request_of(segment)
        models = {use.model for use in uses}
        if request is None or not all(may_view(site, request, model) for model in models):
            return _count_text(uses)
        urls = ((page_url(site, use.model, "change", use.pk), use.key) for use in uses[:_MAX_FLAGS])
        links = format_html_join(", ", '<a href="{}" class="flagstaff-key">{}</a>', urls)
        if (more := len(uses) - _MAX_FLAGS) <= 0:
            return links
        text = ngettext("{links} and {count} more", "{links} and {count} more", more)
        return format_html(text, links=links, count=local_number(more))


class SegmentAdmin(RowAdmin):
    """Segments: key, conditions, description, and the flags and experiments that use them."""

    row_kind = Kind.SEGMENT
    known_model = Segment
    parts: ClassVar[tuple[type[Part], ...]] = (
        SegmentConditions,
        SegmentUses,
        SegmentQuestion,
        History,
        Deletion,
    )
    form = SegmentForm
    docs_page = "how-to/targeting/"

    list_display: _ListDisplayT[Segment] = ("segment", "short_conditions", "use", "changed")
    list_display_links = ("segment",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    ordering = ("key",)
    readonly_fields: ClassVar[_ListOrTuple[str]] = (*_TIMES, "used_by")
    fieldsets: ClassVar[_FieldsetSpec] = (
        (None, {"fields": ("key", "used_by", CONDITIONS)}),
        (gettext_lazy("About"), {"fields": ("description", *_TIMES)}),
    )

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css")}


def _why_in_use(site: AdminSite, request: HttpRequest, segments: Iterable[Segment]) -> str:
    """Why some of the segments cannot be deleted; empty if all can."""
    uses, sentences = uses_by_segment(), []
    for segment in segments:
        if names := use_names(site, request, uses[segment.key]):
            text = _("the rules of %(flags)s use the segment “%(key)s”")
            sentences.append(text % {"key": segment.key, "flags": local_list(names)})
    if not sentences:
        return ""
    text = _("%(uses)s. Change these rules first; nothing was deleted.")
    return text % {"uses": "; ".join(sentences)}


def _count_text(uses: Collection[OtherRules]) -> str:
    kinds = [*map(kind_of_use, uses)]
    flags, values, others = (kinds.count(kind) for kind in (Kind.FLAG, Kind.VALUE, None))
    texts = (
        (flags, ngettext("%(count)s flag", "%(count)s flags", flags)),
        (values, ngettext("%(count)s value", "%(count)s values", values)),
        (others, ngettext("%(count)s experiment", "%(count)s experiments", others)),
    )
    return ", ".join(text % {"count": local_number(count)} for count, text in texts if count)
