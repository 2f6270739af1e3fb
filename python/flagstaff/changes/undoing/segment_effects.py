"""What an undo of segments does to the rules that name them. Pure: no database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flagstaff.changes.changed import Changed
from flagstaff.changes.segment_plan import CONDITIONS

if TYPE_CHECKING:
    from flagstaff.changes.undoing.plan import RowPlan


def effects_by_key(segments: Iterable[RowPlan]) -> list[Changed]:
    """Returns the conditions of each key before and after, which may be those of different rows."""
    before, after = dict[str, dict[str, object]](), dict[str, dict[str, object]]()
    moved, followed = dict[str, dict[str, object]](), dict[str, dict[str, object]]()
    for plan in segments:
        row = plan.item.row
        if row is not None:
            before[plan.item.key] = {CONDITIONS: getattr(row, CONDITIONS)}
        if plan.key is None:
            continue
        present = plan.inserted[0] if plan.inserted else row
        new = {} if plan.written is None else plan.written.new
        conditions = {CONDITIONS: new.get(CONDITIONS, getattr(present, CONDITIONS))}
        if plan.frees_its_key:
            followed[plan.item.key] = moved[plan.key] = conditions
        else:
            after[plan.key] = conditions
    # No rule names a new key that no segment has: an undo is refused then.
    after |= {key: one for key, one in moved.items() if key in before}
    after |= followed
    return [
        Changed(key, "", before.get(key), after.get(key), written=True)
        for key in dict.fromkeys([*before, *after])
    ]
