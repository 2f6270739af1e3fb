"""What other conditions of segments would do to the flags and experiments that use them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import Model
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._engine.impact import ChangeImpact
from flagstaff._engine.segment_impact import (
    ChangedConditions,
    SegmentImpact,
    UsingRules,
    impact_of_segments,
)
from flagstaff._words.local_formats import local_number
from flagstaff._words.message import localized
from flagstaff._words.rule_parts import matches_anonymous
from flagstaff.changes import messages
from flagstaff.changes.consequence import Consequence, by_users
from flagstaff.changes.fields import canonical_json
from flagstaff.changes.planned import COUNT_TIMEOUT, text_to_type, user_counts
from flagstaff.changes.segment_use import flags_using, other_rules_by_segment, rules_of_flag

#: The name of the field.
CONDITIONS = "conditions"


@dataclass(frozen=True, eq=False)
class SegmentUse:
    """A flag or an experiment whose rules name one of the segments."""

    label: str
    key: str
    model: type[Model]
    #: The row of a flag; None for an experiment.
    flag: Any
    #: Whether its rules decide about results now.
    is_active: bool
    rules: UsingRules
    #: Whether something else than the segments changes its results, too.
    changes_itself: bool = False


@dataclass(frozen=True)
class SegmentPlan:
    """A change of the conditions of segments."""

    #: The keys of the segments.
    keys: Sequence[str]
    uses: Sequence[SegmentUse]
    #: The effect on those that are counted, in the same order.
    impact: SegmentImpact
    #: Whether anonymous users, whom no count includes, come into a segment.
    adds_anonymous: bool

    @cached_property
    def counts(self) -> Mapping[SegmentUse, ChangeImpact | None]:
        """The effect on each flag and experiment that changes; None for one without a count."""
        counted = zip(_counted(self.uses), self.impact.counts, strict=True)
        return {**{use: None for use in self.uses if use.changes_itself}, **dict(counted)}

    @cached_property
    def consequence(self) -> Consequence:
        """The largest consequence for one of the flags and experiments."""
        consequences = [self._consequence(impact) for impact in self.counts.values()]
        return max(consequences, default=Consequence.NONE)

    @property
    def text_to_type(self) -> str:
        """The text that a person types before this change; empty if it needs none."""
        return text_to_type(self.keys, self.consequence)

    @property
    def text(self) -> str:
        """The sentence that says how many users gain or lose something."""
        if not self.counts:
            return ""
        if self.impact.users is None:
            return localized(messages.USERS_NOT_COUNTED())
        is_complete = None not in self.counts.values()
        if is_complete and not self.impact.changed:
            return _("No user gains or loses anything.")
        values = {"count": local_number(self.impact.changed)}
        if not is_complete:
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

    def sides(self, use: SegmentUse) -> tuple[str, str]:
        """How many users have a flag or an experiment now, and how many afterwards."""
        if use.changes_itself:
            return _("not counted"), _("not counted: this undo also changes the flag")
        if not use.is_active:
            text = _("not running") if use.flag is None else _("off")
            return text, text
        return user_counts(self.counts[use])

    def _consequence(self, impact: ChangeImpact | None) -> Consequence:
        if impact is None or not impact.users or self.adds_anonymous:
            return Consequence.WIDENS_TO_MOST
        return by_users(impact)


def plan_segments(
    changed: ChangedConditions,
    *,
    changed_flags: Collection[str] = (),
    timeout: float = COUNT_TIMEOUT,
) -> SegmentPlan | None:
    """Returns what other conditions would do; None if nothing uses the segments, or none changes.

    `changed_flags` are the keys of flags that change themselves, which are not counted. Counts
    users for at most `timeout` seconds, for all segments together; with 0 it does not count.
    """
    changed = {key: sides for key, sides in changed.items() if not _is_equal(*sides)}
    if not changed:
        return None
    uses = [*_flags(changed, changed_flags), *_other_uses(changed)]
    if not uses:
        return None
    counted = [use.rules for use in _counted(uses)]
    impact = SegmentImpact(counts=[None] * len(counted))
    if counted and timeout > 0:
        impact = impact_of_segments(changed, counted, timeout=timeout)
    adds_anonymous = any(
        matches_anonymous(after) and not matches_anonymous(before)
        for before, after in changed.values()
    )
    return SegmentPlan([*changed], uses, impact, adds_anonymous)


def _counted(uses: Iterable[SegmentUse]) -> list[SegmentUse]:
    return [use for use in uses if use.is_active and not use.changes_itself]


def _is_equal(before: object, after: object) -> bool:
    try:
        return canonical_json(before, allow_nan=True) == canonical_json(after, allow_nan=True)
    except (TypeError, ValueError, RecursionError):
        return False


def _flags(changed: ChangedConditions, changed_flags: Collection[str]) -> Iterator[SegmentUse]:
    for flag in flags_using(*changed):
        rules, changes_itself = rules_of_flag(flag), flag.key in changed_flags
        yield SegmentUse(
            flag.key, flag.key, type(flag), flag, bool(flag.enabled), rules, changes_itself
        )


def _other_uses(changed: ChangedConditions) -> Iterator[SegmentUse]:
    by_segment = other_rules_by_segment()
    owners = {
        (owner.model, owner.pk): owner for key in changed for owner in by_segment.get(key, ())
    }
    for owner in owners.values():
        label = f"{owner.model._meta.verbose_name} {owner.key}"
        rules = UsingRules.granting(owner.key, owner.rules)
        yield SegmentUse(label, owner.key, owner.model, None, owner.is_active, rules)
