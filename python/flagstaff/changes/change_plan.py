"""What a change of a flag or a segment would do to the users, from its result or its preview."""

from __future__ import annotations

from typing import Any, TypeAlias

from flagstaff.changes.changed import Changed
from flagstaff.changes.planned import COUNT_TIMEOUT, Planned, impact_text, planned_change
from flagstaff.changes.segment_plan import SegmentPlan, changed_conditions, plan_segment
from flagstaff.history.kinds import Kind

__all__ = ["ChangePlan", "plan_change", "plan_text"]

#: The effect on the users of one flag, or of the flags and experiments that use a segment.
ChangePlan: TypeAlias = Planned | SegmentPlan


def plan_change(
    kind: Kind, row: Any, changed: Changed, *, timeout: float = COUNT_TIMEOUT
) -> ChangePlan | None:
    """Returns what a change, or the preview of one, does to the users.

    `row` is the row before; None if there was none. Returns None for a value, for a deletion, and
    for fields that decide about no result. Counts the users for at most `timeout` seconds.
    """
    if kind is Kind.FLAG:
        return planned_change(row, changed, timeout=timeout)
    if kind is Kind.SEGMENT and (conditions := changed_conditions(changed)):
        return plan_segment(changed.key, *conditions, timeout=timeout)
    return None


def plan_text(plan: ChangePlan | None) -> str:
    """Returns the sentence about the users of a change; empty without one."""
    if plan is None:
        return ""
    return plan.text if isinstance(plan, SegmentPlan) else impact_text(plan)
