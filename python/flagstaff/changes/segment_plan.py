"""What other conditions of a segment would do to the flags and experiments that use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact
from flagstaff._engine.segment_impact import SegmentImpact, UsingRules, impact_of_segment
from flagstaff._text.local_formats import local_number
from flagstaff._text.rule_parts import matches_anonymous
from flagstaff.changes.changed import Changed
from flagstaff.changes.consequence import Consequence, by_users
from flagstaff.changes.fields import canonical_json
from flagstaff.changes.planned import COUNT_TIMEOUT, text_to_type, user_counts
from flagstaff.changes.segment_use import flags_using, other_rules_by_segment, rules_of_flag

__all__ = [
    "CONDITIONS",
    "SegmentPlan",
    "SegmentUse",
    "changed_conditions",
    "plan_segment",
]

#: The name of the field.
CONDITIONS = "conditions"


@dataclass(frozen=True, eq=False)
class SegmentUse:
    """A flag or an experiment whose rules name the segment."""

    label: str
    key: str
    model: type[Model]
    #: The row of a flag; None for an experiment.
    flag: Any
    #: Whether its rules decide about results now.
    is_active: bool
    rules: UsingRules


@dataclass(frozen=True)
class SegmentPlan:
    """A change of the conditions of a segment."""

    key: str
    uses: Sequence[SegmentUse]
    #: The effect on the active ones, in the same order.
    impact: SegmentImpact
    #: Whether anonymous users, whom no count includes, come into the segment.
    adds_anonymous: bool

    @cached_property
    def counts(self) -> Mapping[SegmentUse, ChangeImpact | None]:
        """The effect on each active flag and experiment; None for one without a count."""
        active = (one for one in self.uses if one.is_active)
        return dict(zip(active, self.impact.counts, strict=True))

    @cached_property
    def consequence(self) -> Consequence:
        """The largest consequence for one of the flags and experiments."""
        found = [self._consequence(one) for one in self.counts.values()]
        return max(found, default=Consequence.NONE)

    @property
    def text_to_type(self) -> str:
        """The key, if this change needs it to be typed; else an empty text."""
        return text_to_type([self.key], self.consequence)

    @property
    def text(self) -> str:
        """The sentence that says how many users gain or lose something."""
        if not self.counts:
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

    def sides(self, one: SegmentUse) -> tuple[str, str]:
        """How many users have a flag or an experiment now, and how many afterwards."""
        if not one.is_active:
            text = _("not running") if one.flag is None else _("off")
            return text, text
        return user_counts(self.counts[one])

    def _consequence(self, impact: ChangeImpact | None) -> Consequence:
        if impact is None or not impact.users or self.adds_anonymous:
            return Consequence.WIDENS_TO_MOST
        return by_users(impact)


def plan_segment(
    key: str, before: object, after: object, *, timeout: float = COUNT_TIMEOUT
) -> SegmentPlan | None:
    """Returns what other conditions would do; None if nothing uses the segment, or they are equal.

    None are the conditions of a segment that does not exist. Counts users for at most `timeout`
    seconds; with 0 it does not count.
    """
    if _is_equal(before, after):
        return None
    uses = [*_flags(key), *_others(key)]
    if not uses:
        return None
    active = [one.rules for one in uses if one.is_active]
    impact = SegmentImpact(counts=[None] * len(active))
    if active and timeout > 0:
        impact = impact_of_segment(key, before, after, active, timeout=timeout)
    adds_anonymous = matches_anonymous(after) and not matches_anonymous(before)
    return SegmentPlan(key, uses, impact, adds_anonymous)


def changed_conditions(changed: Changed) -> tuple[object, object] | None:
    """Returns the conditions of a segment before and after a change; None if they stay.

    None stands for the conditions of a segment that does not exist.
    """
    sides = changed.old, changed.new
    if changed.field or not any(side and CONDITIONS in side for side in sides):
        return None
    before, after = (None if side is None else side.get(CONDITIONS) for side in sides)
    return before, after


def _is_equal(before: object, after: object) -> bool:
    try:
        return canonical_json(before, allow_nan=True) == canonical_json(after, allow_nan=True)
    except (TypeError, ValueError, RecursionError):
        return False


def _flags(key: str) -> Iterator[SegmentUse]:
    for flag in flags_using(key):
        rules = rules_of_flag(flag)
        yield SegmentUse(flag.key, flag.key, type(flag), flag, bool(flag.enabled), rules)


def _others(key: str) -> Iterator[SegmentUse]:
    for one in other_rules_by_segment().get(key, ()):
        label = f"{one.model._meta.verbose_name} {one.key}"
        rules = UsingRules(one.key, one.rules)
        yield SegmentUse(label, one.key, one.model, None, one.is_active, rules)
