"""What other conditions of segments would do to the flags, values and experiments that use them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from flagstaff._engine.value_impact import ValueImpact
from flagstaff._tables.decoding import canonical_json
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.value_states import ValueState
from flagstaff._words.rule_parts import matches_anonymous, named_segments
from flagstaff._words.text import Text, local_number, localized
from flagstaff.changes.consequence import Consequence, by_users, value_consequence
from flagstaff.changes.planned import COUNT_TIMEOUT, text_to_type, user_counts
from flagstaff.changes.segment_use import rows_using, rules_of_apps
from flagstaff.history.kinds import Kind

#: The name of the field.
CONDITIONS = "conditions"


@dataclass(frozen=True, eq=False)
class SegmentUse:
    """A flag, a value or an experiment whose rules name one of the segments."""

    label: str
    key: str
    model: type[Model]
    #: The row of a flag or a value; None for an experiment.
    row: Any
    #: None for an experiment.
    kind: Kind | None
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
    def counts(self) -> Mapping[SegmentUse, ChangeImpact | ValueImpact | None]:
        """The effect on each flag, value and experiment that changes; None without a count."""
        counted = zip(_counted(self.uses), self.impact.counts, strict=True)
        return {**{use: None for use in self.uses if use.changes_itself}, **dict(counted)}

    @cached_property
    def consequence(self) -> Consequence:
        """The largest consequence for one of the flags, values and experiments."""
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
            return localized(Text("The users cannot be counted."))
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
        """How many users have a flag or an experiment now, and how many afterwards.

        Of a value, how many have another one than the value itself.
        """
        if use.changes_itself:
            of_value = _("not counted: this undo also changes the value")
            of_flag = _("not counted: this undo also changes the flag")
            return _("not counted"), of_value if use.kind is Kind.VALUE else of_flag
        if not use.is_active:
            text = _("not running") if use.kind is None else _("off")
            return text, text
        impact = self.counts[use]
        return _others(impact) if isinstance(impact, ValueImpact) else user_counts(impact)

    def _consequence(self, impact: ChangeImpact | ValueImpact | None) -> Consequence:
        if impact is None or not impact.users or self.adds_anonymous:
            return Consequence.WIDENS_TO_MOST
        if isinstance(impact, ValueImpact):
            return value_consequence(impact)
        return by_users(impact)


def plan_segments(
    changed: ChangedConditions,
    *,
    changed_rows: Collection[tuple[Kind, str]] = (),
    timeout: float = COUNT_TIMEOUT,
) -> SegmentPlan | None:
    """Returns what other conditions would do; None if nothing uses the segments, or none changes.

    `changed_rows` are the flags and values that change themselves, which are not counted. Counts
    users for at most `timeout` seconds, for all segments together; with 0 it does not count.
    """
    changed = {key: sides for key, sides in changed.items() if not _is_equal(*sides)}
    if not changed:
        return None
    uses = [*_rows(changed, changed_rows), *_other_uses(changed)]
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


def _others(impact: ValueImpact) -> tuple[str, str]:
    """Returns how many users have another value than the value itself, before and after."""
    users = local_number(impact.users)
    before, after = (
        _("another value: %(count)s of %(users)s")
        % {"count": local_number(reach.others), "users": users}
        for reach in (impact.before, impact.after)
    )
    return before, after


def _rows(
    changed: ChangedConditions, changed_rows: Collection[tuple[Kind, str]]
) -> Iterator[SegmentUse]:
    for flag in rows_using(Kind.FLAG, *changed):
        rules, changes_itself = rules_of_flag(flag), (Kind.FLAG, flag.key) in changed_rows
        active = bool(flag.enabled)
        yield SegmentUse(
            flag.key, flag.key, type(flag), flag, Kind.FLAG, active, rules, changes_itself
        )
    for row in rows_using(Kind.VALUE, *changed):
        rules, changes_itself = rules_of_value(row), (Kind.VALUE, row.key) in changed_rows
        label = f"{row._meta.verbose_name} {row.key}"
        yield SegmentUse(
            label,
            row.key,
            type(row),
            row,
            Kind.VALUE,
            is_active=True,
            rules=rules,
            changes_itself=changes_itself,
        )


def _other_uses(changed: ChangedConditions) -> Iterator[SegmentUse]:
    for owner in rules_of_apps():
        if changed.keys().isdisjoint(dict(named_segments(owner.rules))):
            continue
        label = f"{owner.model._meta.verbose_name} {owner.key}"
        rules = UsingRules.granting(owner.key, owner.rules)
        yield SegmentUse(label, owner.key, owner.model, None, None, owner.is_active, rules)


def rules_using(key: str) -> list[UsingRules]:
    """Returns the rules that name a segment and decide about results now. Reads all rules."""
    owners = [one for one in rules_of_apps() if key in dict(named_segments(one.rules))]
    return [
        *(rules_of_flag(flag) for flag in rows_using(Kind.FLAG, key) if flag.enabled),
        *(rules_of_value(value) for value in rows_using(Kind.VALUE, key)),
        *(UsingRules.granting(owner.key, owner.rules) for owner in owners if owner.is_active),
    ]


def rules_of_flag(flag: Any) -> UsingRules:
    """Returns the rules of a flag as an impact counts them, as if the flag were enabled."""
    return UsingRules(flag.key, replace(FlagState.of(flag), enabled=True), flag.pk)


def rules_of_value(row: Any) -> UsingRules:
    """Returns the rules of a value as an impact counts them."""
    return UsingRules.of_value(row.key, ValueState.of(row))
