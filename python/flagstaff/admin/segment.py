"""The admin of segments: their conditions in sentences, what uses them, and their actions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.text import Truncator, capfirst

from flagstaff._tables.rows import Kind, short_unit
from flagstaff._text import local_list, say
from flagstaff._text.rules import conditions_text, named_buckets
from flagstaff.actions import Action
from flagstaff.actions.table import Look
from flagstaff.admin.parts import Section
from flagstaff.admin.rights import may_see
from flagstaff.admin.row_page import CONDITIONS, COUNT_TIMEOUT, RowPageAdmin
from flagstaff.admin.rules.sentences import conditions_html, count_text, used_by_html
from flagstaff.admin.words import key_cell, note_html, time_cell
from flagstaff.changes.consequence import users_text
from flagstaff.changes.impact import impact_of_enabling
from flagstaff.changes.row_states import Impact, RuleUse, rules_of
from flagstaff.changes.rule_use import names_in, uses_by_name
from flagstaff.conf import conf
from flagstaff.models import Segment
from flagstaff.validators import condition_problem

if TYPE_CHECKING:
    from django.contrib.admin.options import _ListDisplayT
    from django.utils.datastructures import _ListOrTuple

_MAX_LENGTH_SHOWN = 150


class SegmentAdmin(RowPageAdmin):
    """Segments: key, conditions, description, and the flags and experiments that use them."""

    row_kind = Kind.SEGMENT
    docs_page = "how-to/units-and-segments/"

    list_display: _ListDisplayT[Segment] = ("segment", "short_conditions", "use", "changed")
    list_display_links = ("segment",)
    search_fields: ClassVar[_ListOrTuple[str]] = ("key", "description")
    ordering = ("key",)

    # The list.

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """The list, with what uses each segment of the page. Reads all rules once."""
        changelist = super().get_changelist_instance(request)
        uses = uses_by_name()
        for segment in changelist.result_list:
            segment.uses = uses[Kind.SEGMENT, segment.key]
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
        return count_text(_uses_of(segment))

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
        used_by = used_by_html(self.admin_site, request, _uses_of(row))
        yield Section(
            capfirst(say("used by").local), used_by + _units_note(self.admin_site, request, row)
        )
        yield self.about(row, CONDITIONS)

    def notes_before(self, request: HttpRequest, look: Look) -> Iterator[str]:
        """What a change will mean for flags that are off afterwards, when they are turned on."""
        # An undo may change rows of all kinds, and delete segments.
        segments = [
            change
            for change in look.changed
            if change.kind is Kind.SEGMENT and change.after and change.after.row
        ]
        keys = {change.key for change in segments}
        off = [use for use in look.impact.uses if _is_for_a_flag_off(look.impact, use, keys)]
        for change in segments if off else ():
            sides = change.before, change.after
            counts = _counts(request, *(side.row.conditions for side in sides if side and side.row))
            yield say(
                "Users in the segment: {users}. {count} flag that uses it is off, and reaches "
                "these users when it is turned on.",
                "Users in the segment: {users}. {count} flags that use it are off, and reach these "
                "users when they are turned on.",
                count=len(off),
                users=" → ".join(counts),
            ).local

    def is_offered(self, request: HttpRequest, action: Action, row: Any) -> bool:
        """A segment that a rule uses cannot be deleted."""
        return not (action.deletes and _uses_of(row))


def _is_for_a_flag_off(impact: Impact, use: RuleUse, segments: Collection[str]) -> bool:
    """Whether a use is of a flag that is off after a change, and uses one of the segments then."""
    key = use.kind, use.key
    after = impact.after.get(key)
    if use.kind is not Kind.FLAG or after is None or after.row.enabled:
        return False
    if key not in impact.rows:
        return True
    # The change may take the segment out of its rules.
    used = {(Kind.SEGMENT, segment) for segment in segments}
    used |= {(other.kind, other.key) for other in impact.uses if other.kind is not None}
    return any(name in used for name, _place in names_in(rules_of(after.row)))


def _users_note(request: HttpRequest, segment: Segment) -> SafeString:
    """How many users are in a segment."""
    [users] = _counts(request, segment.conditions)
    return note_html(say("Users in the segment: {users}.", users=users).local)


def _counts(request: HttpRequest, *conditions: Any) -> list[str]:
    """Returns how many users meet conditions: those who would have a flag with a rule for them."""
    flags = [
        conf.flag_model(key=str(number), rules=[{"conditions": each, "rollout_percent": 100}])
        for number, each in enumerate(conditions)
    ]
    effects = impact_of_enabling(flags, timeout=COUNT_TIMEOUT, viewer=request.user).values()
    return [users_text(effect, effect.on[1]) for effect in effects]


def _uses_of(segment: Any) -> Sequence[RuleUse]:
    """Returns what uses a segment. Reads all rules once for a page."""
    if not hasattr(segment, "uses"):
        segment.uses = uses_by_name()[Kind.SEGMENT, segment.key]
    return cast("Sequence[RuleUse]", segment.uses)


def _units_note(site: AdminSite, request: HttpRequest, segment: Segment) -> SafeString:
    """The units by which those that use the segment read its buckets, if they differ."""
    by_unit: dict[str, list[str]] = {}
    for use in _uses_of(segment) if any(named_buckets(segment.conditions)) else ():
        is_seen = may_see(site, request, use.model, use.row.pk)
        shown = use.label() if is_seen else say("one that you may not see").local
        by_unit.setdefault(use.row.bucket_by, []).append(shown)
    if len(by_unit) <= 1:
        return SafeString()
    units = (f"{short_unit(unit)} ({local_list(keys)})" for unit, keys in by_unit.items())
    text = say("Its bucket is read by different units, each of which selects others: {units}.")
    return note_html(say(text, units=", ".join(units)).local)
