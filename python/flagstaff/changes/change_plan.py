"""What changes of flags and segments would do to the users, from their results or previews."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from flagstaff._tables.bucket_units import BUCKET_BY
from flagstaff._tables.optional_fields import RULES
from flagstaff.changes.changed import Changed
from flagstaff.changes.planned import (
    COUNT_TIMEOUT,
    DECIDING_FIELDS,
    Planned,
    impact_text,
    planned_change,
)
from flagstaff.changes.segment_plan import CONDITIONS, SegmentPlan, plan_segments
from flagstaff.history.kinds import Kind

# The conditions of segments are compared apart.
_DECIDING: Mapping[Kind, Collection[str]] = {
    Kind.FLAG: DECIDING_FIELDS,
    Kind.VALUE: {"value", RULES, BUCKET_BY},
    Kind.SEGMENT: (),
}

#: The effect on the users of one flag, or of the rules that use some segments.
ChangePlan: TypeAlias = Planned | SegmentPlan


def plan_change(
    kind: Kind, row: Any, changed: Changed, *, timeout: float = COUNT_TIMEOUT
) -> ChangePlan | None:
    """Returns what a change, or the preview of one, does to the users.

    `row` is the row before; None if there was none. Returns None for a value, for a deletion of a
    flag, and for fields that decide about no result. Counts the users for at most `timeout`
    seconds.
    """
    if kind is Kind.FLAG:
        return planned_change(row, changed, timeout=timeout)
    return plan_segment_changes([(kind, changed)], timeout=timeout)


def plan_segment_changes(
    changes: Iterable[tuple[Kind, Changed]], *, timeout: float = COUNT_TIMEOUT
) -> SegmentPlan | None:
    """Returns what changes of several rows, or previews of them, do by their segments.

    Several changes of one row are in the order in which they are made. Returns None if no
    conditions change, or if nothing uses the segments. Counts the users of all segments together
    for at most `timeout` seconds, but not those of a flag or value that a change is about.
    """
    changes_made = [*changes]
    rows = {
        (kind, changed.key) for kind, changed in changes_made if _decides(changed, _DECIDING[kind])
    }
    return plan_segments(_changed_conditions(changes_made), changed_rows=rows, timeout=timeout)


def plan_text(plan: ChangePlan | None) -> str:
    """Returns the sentence about the users of a change; empty without one."""
    if plan is None:
        return ""
    return plan.text if isinstance(plan, SegmentPlan) else impact_text(plan)


def _changed_conditions(
    changes: Iterable[tuple[Kind, Changed]],
) -> dict[str, tuple[object, object]]:
    """Returns the conditions of each segment before and after the changes.

    None stands for the conditions of a segment that does not exist.
    """
    conditions: dict[str, tuple[object, object]] = {}
    for kind, changed in changes:
        sides = changed.old, changed.new
        is_about = not changed.field and any(side and CONDITIONS in side for side in sides)
        if kind is Kind.SEGMENT and is_about:
            before, after = (None if side is None else side.get(CONDITIONS) for side in sides)
            conditions[changed.key] = conditions.get(changed.key, (before,))[0], after
    return conditions


def _decides(changed: Changed, deciding: Collection[str]) -> bool:
    """Whether a change of a flag or a value decides about results, by the fields that do so."""
    if not changed.written:
        return False
    is_created_or_deleted = not changed.field and None in (changed.old, changed.new)
    fields = {changed.field} if changed.field else {*(changed.new or ())}
    return is_created_or_deleted or not fields.isdisjoint(deciding)
