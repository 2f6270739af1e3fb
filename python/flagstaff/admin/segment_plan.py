"""What other conditions of a segment would do to the flags and experiments that use it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact
from flagstaff._engine.segment_impact import SegmentImpact, UsingRules, impact_of_segment
from flagstaff._text.lists import join_some
from flagstaff._text.local_formats import local_number
from flagstaff._text.rule_parts import matches_anonymous
from flagstaff.admin.confirmation import PreviewRow
from flagstaff.admin.consequence import Consequence, by_users
from flagstaff.admin.flag_permissions import may
from flagstaff.admin.links import may_view
from flagstaff.admin.planned import COUNT_TIMEOUT, Planned, impact_text, user_counts
from flagstaff.changes.fields import canonical_json
from flagstaff.changes.segment_use import flags_using, other_rules_by_segment, rules_of_flag
from flagstaff.conf import conf
from flagstaff.history.describe import and_more, quoted

__all__ = ["CONDITIONS", "SegmentPlan", "hidden_text", "plan_segment", "plan_text"]

#: The name of the field.
CONDITIONS = "conditions"
# The flags and experiments that a page lists.
_MAX_ROWS = 50


@dataclass(frozen=True, eq=False)
class _Use:
    """A flag or an experiment whose rules name the segment."""

    label: str
    key: str
    is_flag: bool
    #: Whether its rules decide about results now.
    is_active: bool
    is_visible: bool
    #: Whether the user may change what the rules decide about.
    may_release: bool
    rules: UsingRules


@dataclass(frozen=True)
class SegmentPlan:
    """A change of the conditions of a segment."""

    key: str
    uses: Sequence[_Use]
    #: The effect on the active ones, in the same order.
    impact: SegmentImpact
    #: Whether anonymous users, whom no count includes, come into the segment.
    adds_anonymous: bool

    @cached_property
    def consequence(self) -> Consequence:
        """The largest consequence for one of the flags and experiments."""
        found = [self._consequence(one) for one in self._counts.values()]
        return max(found, default=Consequence.NONE)

    @property
    def text_to_type(self) -> str:
        """The key, if this change needs it to be typed; else an empty text."""
        is_most = self.consequence is Consequence.WIDENS_TO_MOST
        return self.key if is_most and conf.is_production else ""

    @cached_property
    def why_not(self) -> str:
        """Which flags the user may not release, as a sentence; empty if there are none."""
        missing = [one for one in self.uses if one.is_active and not one.may_release]
        if not missing:
            return ""
        names = [quoted(one.key) for one in missing if one.is_visible]
        if hidden := len(missing) - len(names):
            names.append(hidden_text(hidden))
        text = _(
            "the rules of %(flags)s use the segment “%(key)s”, and you may neither change nor "
            "toggle them. Nothing was saved"
        )
        return text % {"key": self.key, "flags": join_some(names, more=and_more)}

    @property
    def text(self) -> str:
        """The sentence that says how many users gain or lose something."""
        if not self._counts:
            return ""
        if self.impact.users is None:
            return _("The users cannot be counted.")
        values = {"count": local_number(self.impact.changed)}
        if None in self.impact.counts:
            text = ngettext(
                "At least %(count)s user gains or loses something; not all could be counted.",
                "At least %(count)s different users gain or lose something; not all could be "
                "counted.",
                self.impact.changed,
            )
        else:
            text = ngettext(
                "%(count)s user gains or loses something.",
                "%(count)s different users gain or lose something.",
                self.impact.changed,
            )
        return text % values

    @property
    def rows(self) -> list[PreviewRow]:
        """A line for each flag and experiment: how many users have it now, and afterwards.

        Those that the user may not see are a number.
        """
        visible = [one for one in self.uses if one.is_visible]
        numbers = {
            _("more flags and experiments"): len(visible) - _MAX_ROWS,
            _("flags and experiments that you may not see"): len(self.uses) - len(visible),
        }
        return [
            *(PreviewRow(one.label, *self._sides(one)) for one in visible[:_MAX_ROWS]),
            *(_number_row(label, count) for label, count in numbers.items() if count > 0),
        ]

    @cached_property
    def _counts(self) -> dict[_Use, ChangeImpact | None]:
        active = (one for one in self.uses if one.is_active)
        return dict(zip(active, self.impact.counts, strict=True))

    def _consequence(self, impact: ChangeImpact | None) -> Consequence:
        if impact is None or not impact.users or self.adds_anonymous:
            return Consequence.WIDENS_TO_MOST
        return by_users(impact)

    def _sides(self, one: _Use) -> tuple[str, str]:
        if not one.is_active:
            text = _("off") if one.is_flag else _("not running")
            return text, text
        return user_counts(self._counts[one])


def plan_segment(  # noqa: PLR0913 (the request, the change, and whether to count)
    site: AdminSite,
    request: HttpRequest,
    key: str,
    before: object,
    after: object,
    *,
    counts: bool = True,
) -> SegmentPlan | None:
    """Returns what other conditions would do; None if nothing uses the segment, or they are equal.

    None are the conditions of a segment that does not exist. Counts users for at most a second.
    """
    if _is_equal(before, after):
        return None
    uses = [*_flags(site, request, key), *_others(site, request, key)]
    if not uses:
        return None
    active = [one.rules for one in uses if one.is_active]
    impact = SegmentImpact(counts=[None] * len(active))
    if counts and active:
        impact = impact_of_segment(key, before, after, active, timeout=COUNT_TIMEOUT)
    adds_anonymous = matches_anonymous(after) and not matches_anonymous(before)
    return SegmentPlan(key, uses, impact, adds_anonymous)


def plan_text(plan: Planned | SegmentPlan | None) -> str:
    """Returns the sentence about the users of a change; empty without one."""
    if plan is None:
        return ""
    return plan.text if isinstance(plan, SegmentPlan) else impact_text(plan)


def _is_equal(before: object, after: object) -> bool:
    try:
        return canonical_json(before, allow_nan=True) == canonical_json(after, allow_nan=True)
    except (TypeError, ValueError, RecursionError):
        return False


def _flags(site: AdminSite, request: HttpRequest, key: str) -> Iterator[_Use]:
    for flag in flags_using(key):
        yield _Use(
            flag.key,
            flag.key,
            is_flag=True,
            is_active=bool(flag.enabled),
            is_visible=may(site, request, "view", flag),
            may_release=may(site, request, "toggle", flag),
            rules=rules_of_flag(flag),
        )


def _others(site: AdminSite, request: HttpRequest, key: str) -> Iterator[_Use]:
    for one in other_rules_by_segment().get(key, ()):
        yield _Use(
            f"{one.model._meta.verbose_name} {one.key}",
            one.key,
            is_flag=False,
            is_active=one.is_active,
            is_visible=may_view(site, request, one.model),
            # Not a flag: the right to change segments decides.
            may_release=True,
            rules=UsingRules(one.key, one.rules),
        )


def _number_row(label: str, count: int) -> PreviewRow:
    return PreviewRow(label, local_number(count), local_number(count))


def hidden_text(count: int) -> str:
    """Returns the number of flags that a user may not see, for a list of keys."""
    text = ngettext(
        "%(count)s flag that you may not see", "%(count)s flags that you may not see", count
    )
    return text % {"count": local_number(count)}
