"""The admin of segments: their conditions in sentences, what uses them, and their actions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from flagstaff._text import say
from flagstaff._text.rules import conditions_text
from flagstaff.actions import Action
from flagstaff.admin.links import page_url
from flagstaff.admin.rights import may_see
from flagstaff.admin.row_page import CONDITIONS, COUNT_TIMEOUT, RowPageAdmin, Section
from flagstaff.admin.rules.sentences import conditions_html
from flagstaff.admin.words import key_cell, note_html, time_cell
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.changes.segment_use import SegmentUse, uses_by_segment
from flagstaff.conf import conf
from flagstaff.history.kinds import Kind
from flagstaff.models import Segment
from flagstaff.validators import condition_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT
    from django.utils.datastructures import _ListOrTuple

_MAX_LENGTH_SHOWN = 150
# The flags that the page of a segment links to.
_MAX_FLAGS = 50


class SegmentAdmin(RowPageAdmin):
    """Segments: key, conditions, description, and the flags and experiments that use them."""

    row_kind = Kind.SEGMENT
    docs_page = "how-to/targeting/"

    list_display: _ListDisplayT[Segment] = ("segment", "short_conditions", "use", "changed")
    list_display_links = ("segment",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    ordering = ("key",)

    # The list.

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with what uses each segment of the page. Reads all rules once."""
        changelist = super().get_changelist_instance(request)
        uses = uses_by_segment()
        for segment in changelist.result_list:
            segment.uses = uses[segment.key]
        return changelist

    @admin.display(description=say("segment").lazy, ordering="key")
    def segment(self, segment: Segment) -> SafeString:
        """The key and the description."""
        return key_cell(segment)

    @admin.display(description=say("conditions").lazy)
    def short_conditions(self, segment: Segment) -> str:
        """The conditions as a sentence, truncated."""
        text = conditions_text(segment.conditions)
        if text is None or condition_problem(segment.conditions):
            return say("unreadable conditions").local
        return Truncator(text).chars(_MAX_LENGTH_SHOWN)

    @admin.display(description=say("used by").lazy)
    def use(self, segment: Any) -> str:
        """The number of flags, values and experiments whose rules use the segment."""
        return _count_text(_uses_of(segment))

    @admin.display(description=say("changed").lazy, ordering="changed_at")
    def changed(self, segment: Segment) -> str:
        """The time since the last change. The tooltip has the date and time."""
        return time_cell(segment.changed_at)

    # The page.

    def sections(self, request: HttpRequest, row: Any) -> Iterator[Section]:
        """The conditions, what uses the segment, and the rest."""
        targeting = conditions_html(row.conditions)
        if not condition_problem(row.conditions):
            targeting += _users_note(request, row)
        yield Section(say("Targeting").local, targeting, (CONDITIONS,))
        yield Section(capfirst(say("used by").local), self._used_by(request, row))
        yield self.about(row, CONDITIONS)

    def is_offered(self, action: Action, row: Any) -> bool:
        """A segment that a rule uses cannot be deleted."""
        return not (action.deletes and _uses_of(row))

    def _used_by(self, request: HttpRequest, segment: Segment) -> SafeString | str:
        """What uses the segment, as links for users who may view all of it."""
        uses, site = _uses_of(segment), self.admin_site
        if not uses:
            return say("no flag").local
        if not all(may_see(site, request, use.model, use.row.pk) for use in uses):
            return _count_text(uses)
        urls = (
            (page_url(site, use.model, "change", use.row.pk), use.key) for use in uses[:_MAX_FLAGS]
        )
        links = format_html_join(", ", '<a href="{}" class="flagstaff-key">{}</a>', urls)
        if (more := len(uses) - _MAX_FLAGS) <= 0:
            return links
        return say(
            "{links} and {count} more", "{links} and {count} more", count=more, links=links
        ).html


def _users_note(request: HttpRequest, segment: Segment) -> SafeString:
    """How many users are in a segment: those who would have a flag with a rule for it."""
    rules = [{"conditions": [{"segment": segment.key}], "rollout_percent": 100}]
    flag = conf.flag_model(key=segment.key, rules=rules)
    [effect] = impact_of_enabling([flag], timeout=COUNT_TIMEOUT, viewer=request.user).values()
    return note_html(
        say("Users in the segment: {users}.", users=users_text(effect, effect.on[1])).local
    )


def _uses_of(segment: Any) -> Sequence[SegmentUse]:
    """Returns what uses a segment. Reads all rules once for a page."""
    if not hasattr(segment, "uses"):
        segment.uses = uses_by_segment()[segment.key]
    return cast("Sequence[SegmentUse]", segment.uses)


def _count_text(uses: Collection[SegmentUse]) -> str:
    kinds = [use.kind for use in uses]
    flags, values, others = (kinds.count(kind) for kind in (Kind.FLAG, Kind.VALUE, None))
    texts = (
        (flags, say("{count} flag", "{count} flags")),
        (values, say("{count} value", "{count} values")),
        (others, say("{count} experiment", "{count} experiments")),
    )
    return ", ".join(say(text, count=count).local for count, text in texts if count)
