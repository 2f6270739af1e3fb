"""How many users get another result by a change, before it is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from flagstaff._engine.impact import ChangeImpact, impact_of_change
from flagstaff._engine.value_impact import (
    ValueImpact,
    impact_of_value_change,
    value_impact,
)
from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.flag_states import FlagState
from flagstaff._tables.optional_fields import RULES
from flagstaff._tables.rows import find_row
from flagstaff._tables.value_states import ValueState
from flagstaff._words.cells import Record
from flagstaff._words.text import Text, counted, marked
from flagstaff.changes import Changed
from flagstaff.changes.anonymous import anonymous_percents, anonymous_text
from flagstaff.changes.change_plan import plan_segment_changes
from flagstaff.changes.segment_plan import SegmentPlan, SegmentUse
from flagstaff.conf import conf
from flagstaff.exceptions import FlagstaffError
from flagstaff.history.kinds import Kind

_UNKNOWN = marked("impact unknown: {why}")
_STATE = "enabled", "rollout_percent"
# What decides about the results of a value.
_OF_VALUES = frozenset({"value", RULES, BUCKET_BY})
# Seconds, because a dry run has to be quick.
_TIMEOUT = 2.0
# The flags and experiments that a message lists.
_MAX_USES = 50


def impact_of_dry_run(changed: Changed) -> tuple[ChangeImpact | None, str]:
    """Returns the impact of a change that the open transaction has made, and the same in words.

    They are None and empty if it changes neither the state nor the rules, or if it changes the
    bucketing unit, which reassigns every user. If the users cannot be counted, the text says why.
    Counts for at most two seconds.
    """
    old = _old_fields(changed)
    flag: Any = find_row(conf.flag_model, changed.key)
    if flag is None or BUCKET_BY in old or not old.keys() & {*_STATE, RULES}:
        return None, ""
    after = FlagState.of(flag)
    before = FlagState.of_fields({**vars(after), **old})
    anonymous = anonymous_text(anonymous_percents(before, after), after.bucket_by)
    try:
        impact = impact_of_change(changed.key, before, after, timeout=_TIMEOUT)
    except FlagstaffError as error:
        unknown = str(Text(_UNKNOWN, why=error.message))
        return None, f"{unknown}. {anonymous}" if anonymous else unknown
    text = _sentence(impact)
    return impact, f"{text}. {anonymous}" if anonymous else f"{text}, not counting anonymous users"


def _sentence(impact: ChangeImpact) -> str:
    counts = [
        f"{counted(count, 'user')} would {verb} the flag"
        for verb, count in (("lose", impact.lose), ("gain", impact.gain))
        if count
    ]
    at_least = "" if impact.is_exact else "at least "
    users = counted(impact.users, "user")
    no_user = "no user" if impact.is_exact else "no user who can be counted"
    text = (
        f"{at_least}{' and '.join(counts)}" if counts else f"{no_user} would gain or lose the flag"
    )
    return f"{text}; {at_least}{impact.after.on:,} of {users} would have it"


def value_dry_run(changed: Changed) -> tuple[ValueImpact | None, str]:
    """Returns the impact of a change of a value that the open transaction has made, and a text.

    They are None and empty if nothing that decides about results changes. If the users cannot be
    counted, the text says why. Counts for at most two seconds.
    """
    old = {name: value for name, value in _old_fields(changed).items() if name in _OF_VALUES}
    row = find_row(conf.value_model, changed.key)
    if row is None or not old:
        return None, ""
    after = ValueState.of(row)
    before = replace(after, **old)
    try:
        impact = impact_of_value_change(changed.key, before, after, timeout=_TIMEOUT)
    except FlagstaffError as error:
        return None, str(Text(_UNKNOWN, why=error.message))
    return impact, f"{value_sentence(impact)}, not counting anonymous users"


def kept_text(key: str) -> str:
    """Returns how many users keep another value than the value itself; empty if none is counted.

    Counts for at most two seconds.
    """
    try:
        impact = value_impact(key, sample=0, timeout=_TIMEOUT)
    except FlagstaffError:
        return ""
    at_least = "" if impact.is_exact else "at least "
    verb = "keeps" if impact.others == 1 else "keep"
    return f"{at_least}{impact.others:,} of {counted(impact.users, 'user')} {verb} another value"


def value_sentence(impact: ValueImpact) -> str:
    """Returns how many users get another value, and how many get each result then."""
    return "; ".join([changed_users(impact), *impact.after.texts])


def changed_users(impact: ValueImpact) -> str:
    """Returns how many users get another value, as the start of a sentence."""
    if not impact.changed:
        user = "no user" if impact.is_exact else "no user who can be counted"
        return f"{user} would get another value"
    at_least = "" if impact.is_exact else "at least "
    users = counted(impact.users, "user")
    return f"{at_least}{impact.changed:,} of {users} would get another value"


def segment_dry_run(changed: Changed) -> SegmentPlan | None:
    """Returns the impact of a change of a segment on the flags, values and experiments that use it.

    Returns None if nothing uses it, or if its conditions stay. Counts for at most two seconds.
    """
    written = [(Kind.SEGMENT, changed)] if changed.written else []
    return plan_segment_changes(written, timeout=_TIMEOUT)


def segment_lines(plan: SegmentPlan) -> Iterator[str]:
    """Yields a line for each of the first flags, values and experiments that use a segment."""
    for use in plan.uses[:_MAX_USES]:
        before, after = plan.sides(use)
        is_counted = plan.counts.get(use) is not None
        yield f"{use.label}: {before} → {after} users" if is_counted else f"{use.label}: {after}"
    if (more := len(plan.uses) - _MAX_USES) > 0:
        yield f"and {more:,} more"


def segment_document(plan: SegmentPlan | None) -> Record | None:
    """Returns the impact for JSON: the number of different users, and each use with its counts."""
    if plan is None:
        return None
    is_counted = plan.impact.users is not None
    return {
        "different_users": plan.impact.changed if is_counted else None,
        "uses": [_use_document(plan, use) for use in plan.uses],
    }


def _use_document(plan: SegmentPlan, use: SegmentUse) -> Record:
    impact = plan.counts.get(use)
    return {
        "kind": str(use.model._meta.verbose_name) if use.kind is None else use.kind.value,
        "key": use.key,
        "active": use.is_active,
        "impact": None if impact is None else impact.as_dict(),
    }


def _old_fields(changed: Changed) -> Mapping[str, Any]:
    """Returns the fields of an existing row that differ, with their old values."""
    if not changed.written:
        return {}
    if changed.field:
        return {changed.field: changed.old}
    # A creation or a deletion has one side only.
    return changed.old if isinstance(changed.old, dict) and changed.new is not None else {}
