"""The look at an undo of entries of the history, of any rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flagstaff.actions.commit import look_at_changes
from flagstaff.actions.look import Look
from flagstaff.changes.changed import Changed
from flagstaff.changes.undo import Undone, undo
from flagstaff.history.log import Change
from flagstaff.history.user_names import HasPermissions


def look_at_undo(
    entries: Sequence[Change],
    rows: Sequence[Undone],
    *,
    without: Collection[str] = (),
    skip_conflicts: bool = False,
    viewer: HasPermissions | None = None,
) -> Look:
    """Returns what an undo would do, of which `rows` are the preview with the same options.

    Counts users. Neither locks nor writes.
    """

    def write(expected: Mapping[Any, Any]) -> list[Changed]:
        done = undo(entries, skip_conflicts=skip_conflicts, without=without, expect=expected)
        return [row.changed for row in done if row.changed is not None]

    changed = [row.changed for row in rows if row.changed is not None]
    look = look_at_changes(changed, write, viewer=viewer)
    return replace(look, expected={row.id: row.version for row in rows})
