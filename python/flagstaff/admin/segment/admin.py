"""The admin of segments: their conditions in sentences, and what uses them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from flagstaff._tables.rows import all_rows
from flagstaff._words.lists import local_list
from flagstaff._words.local_formats import local_number, quoted
from flagstaff._words.rule_text import conditions_text
from flagstaff.admin.cells import changed_cell, key_cell, labelled_cell
from flagstaff.admin.deletion import Deletion
from flagstaff.admin.forms import MergingForm
from flagstaff.admin.history.part import History
from flagstaff.admin.links import may_view, page_url
from flagstaff.admin.own_fields import replaced_fields
from flagstaff.admin.page import page_of, page_of_row, request_of
from flagstaff.admin.part import Deleted, Part
from flagstaff.admin.row_admin import RowAdmin
from flagstaff.admin.rule_editor.fields import ConditionRowsField
from flagstaff.admin.rule_editor.part import RulePages, stored_in, too_large_text
from flagstaff.admin.rule_editor.sentences import conditions_html
from flagstaff.admin.rule_editor.widget import ConditionsWidget
from flagstaff.admin.save_question import SaveQuestion
from flagstaff.admin.segment.plan import hidden_text, segment_rows, why_not_release
from flagstaff.changes.segment_plan import CONDITIONS, SegmentPlan, plan_segments
from flagstaff.changes.segment_use import flags_by_segment, other_rules_by_segment
from flagstaff.conf import conf
from flagstaff.exceptions import InvalidChangeError
from flagstaff.history.describe import describe_value
from flagstaff.history.kinds import Kind
from flagstaff.models import Segment
from flagstaff.validators import condition_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldsetSpec, _ListDisplayT
    from django.utils.datastructures import _ListOrTuple


_CONDITIONS = "conditions"
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


class SegmentQuestion(SaveQuestion):
    """Asks before a save that gives flags or experiments to users."""

    def plan(self, request: HttpRequest, form: MergingForm) -> SegmentPlan | None:
        """What the save would do.

        The right to change segments is not the right to release the flags that use them.
        """
        plan = self._segment_plan(form)
        page_of(request).users_text = "" if plan is None else plan.text
        if plan and (why := why_not_release(self.admin.admin_site, request, plan)):
            raise InvalidChangeError(why)
        return plan

    def _segment_plan(self, form: MergingForm) -> SegmentPlan | None:
        """Returns the plan; None if the save edits no conditions, or if nothing uses them."""
        segment, is_new = form.instance, form.instance._state.adding
        if not is_new and CONDITIONS not in form.changed_fields:
            return None
        # A rule may name a segment that SQL has deleted.
        stored = None if is_new else all_rows(self.admin.model).filter(pk=segment.pk).first()
        before, after = getattr(stored, CONDITIONS, None), form.cleaned_data.get(CONDITIONS)
        return plan_segments({segment.key: (before, after)})

    def question(
        self, request: HttpRequest, form: MergingForm, plan: SegmentPlan
    ) -> Mapping[str, object]:
        """The flags and experiments before and after the save."""
        return {
            "title": _("Save a segment"),
            "flagstaff_rows": segment_rows(self.admin.admin_site, request, plan),
            "flagstaff_notes": [plan.text],
        }


class SegmentConditions(RulePages):
    """The conditions of a segment."""

    rule_field = _CONDITIONS
    displays = ("saved_conditions", "large_conditions", "undecodable_conditions")
    rule_form_field = ConditionRowsField
    rule_widget = ConditionsWidget
    rule_help = gettext_lazy("A user is in the segment if all conditions are true.")
    rule_example = _EXAMPLE

    @admin.display(description=gettext_lazy("current conditions"))
    def saved_conditions(self, segment: Segment) -> SafeString:
        """The conditions in the database as a sentence."""
        return conditions_html(stored_in(segment, _CONDITIONS))

    @admin.display(description=gettext_lazy("conditions"))
    def large_conditions(self, segment: Segment) -> str:
        """How to change conditions that are too large for a form."""
        advice = _(
            "Use “manage.py flags segment update %(key)s --conditions FILE” or "
            "flagstaff.changes.update_segment()."
        )
        advice %= {"key": shlex.quote(segment.key)}
        return too_large_text(stored_in(segment, _CONDITIONS), advice)

    @admin.display(description=gettext_lazy("conditions"))
    def undecodable_conditions(self, segment: Segment) -> str:
        """Says what is wrong with conditions that Python cannot decode."""
        text = _(
            "The stored conditions are %(value)s. Write others with "
            "flagstaff.changes.update_segment()."
        )
        return text % {"value": describe_value(stored_in(segment, _CONDITIONS))}


@dataclass(frozen=True)
class _Uses:
    """How many flags and experiments use the segments of a list, in words, by key."""

    texts: Mapping[str, str]


class SegmentUses(Part):
    """The columns of the list, and what uses a segment."""

    displays = ("segment", "short_conditions", "use", "changed", "used_by")

    def open_list(self, request: HttpRequest, changelist: ChangeList) -> None:
        """Finds what uses each segment with few queries for the whole page."""
        flags, rules = flags_by_segment(), other_rules_by_segment()
        keys = [segment.key for segment in changelist.result_list]
        texts = {key: _count_text(*(len(by.get(key, ())) for by in (flags, rules))) for key in keys}
        page_of(request).keep(_Uses(texts))

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
        """Raises InvalidChangeError if a rule uses one of the segments."""
        if refusal := _why_in_use(self.admin.admin_site, request, rows):
            raise InvalidChangeError(refusal)
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
        """The number of flags and experiments whose rules use the segment."""
        return labelled_cell(_("used by"), _use_of(segment))

    @admin.display(description=gettext_lazy("changed"), ordering="changed_at")
    def changed(self, segment: Segment) -> SafeString:
        """The time since the last change. The tooltip has the date and time."""
        return labelled_cell(_("changed"), changed_cell(segment))

    @admin.display(description=gettext_lazy("used by"))
    def used_by(self, segment: Segment) -> SafeString | str:
        """The flags and experiments that use the segment, as links for users who may view them."""
        flags = flags_by_segment().get(segment.key, [])
        other_rules = other_rules_by_segment().get(segment.key, [])
        request = request_of(segment)
        rows = [(conf.flag_model, pk, key) for key, pk in flags]
        rows += [(rules.model, rules.pk, rules.key) for rules in other_rules]
        if not rows:
            return _("no flag")
        models = {model for model, _pk, _key in rows}
        may_see = (may_view(self.admin.admin_site, request, model) for model in models if request)
        if request is None or not all(may_see):
            return _count_text(len(flags), len(other_rules))
        urls = (
            (page_url(self.admin.admin_site, model, "change", pk), key)
            for model, pk, key in rows[:_MAX_FLAGS]
        )
        links = format_html_join(", ", '<a href="{}" class="flagstaff-key">{}</a>', urls)
        if (more := len(rows) - _MAX_FLAGS) <= 0:
            return links
        text = ngettext("{links} and {count} more", "{links} and {count} more", more)
        return format_html(text, links=links, count=local_number(more))


def _use_of(segment: Segment) -> str:
    page = page_of_row(segment)
    uses = page and page.kept(_Uses)
    return uses.texts.get(segment.key, "") if uses else ""


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

    list_display: _ListDisplayT[Segment] = ("segment", "short_conditions", "use", "changed")
    list_display_links = ("segment",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    ordering = ("key",)
    readonly_fields: ClassVar[_ListOrTuple[str]] = (*_TIMES, "used_by")
    fieldsets: ClassVar[_FieldsetSpec] = (
        (None, {"fields": ("key", "used_by", _CONDITIONS)}),
        (gettext_lazy("About"), {"fields": ("description", *_TIMES)}),
    )

    class Media:
        css = {"all": ("flagstaff/admin.css", "flagstaff/lists.css")}


def _why_in_use(site: AdminSite, request: HttpRequest, segments: Iterable[Segment]) -> str:
    """Why some of the segments cannot be deleted; empty if all can."""
    flags, other_rules = flags_by_segment(), other_rules_by_segment()
    sentences = []
    for segment in segments:
        uses = [(conf.flag_model, quoted(key)) for key, _pk in flags.get(segment.key, ())]
        uses += (
            (rules.model, f"{rules.model._meta.verbose_name} {quoted(rules.key)}")
            for rules in other_rules.get(segment.key, ())
        )
        if uses:
            names = [name for model, name in uses if may_view(site, request, model)]
            if hidden := len(uses) - len(names):
                names.append(hidden_text(hidden))
            text = _("the rules of %(flags)s use the segment “%(key)s”")
            text_of_names = local_list(names)
            sentences.append(text % {"key": segment.key, "flags": text_of_names})
    if not sentences:
        return ""
    text = _("%(uses)s. Change these rules first; nothing was deleted.")
    return text % {"uses": "; ".join(sentences)}


def _count_text(flags: int, others: int) -> str:
    texts = (
        (flags, ngettext("%(count)s flag", "%(count)s flags", flags)),
        (others, ngettext("%(count)s experiment", "%(count)s experiments", others)),
    )
    return ", ".join(text % {"count": local_number(count)} for count, text in texts if count)
