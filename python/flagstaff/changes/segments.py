"""Changes segments."""

from __future__ import annotations

from functools import partial
from typing import Any

from flagstaff.changes.changed import Changed
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.history.kinds import Kind

__all__ = [
    "create",
    "delete",
    "restore",
    "undo",
    "update",
]


def create(key: str, conditions: object, **fields: Any) -> Changed:
    """Creates a segment. Does nothing if an equal one exists.

    Raises InvalidChangeError if a different segment has the key, or if a field is not valid.
    """
    return create_row(Kind.SEGMENT, key, {"conditions": conditions, **fields})


#: `update(key, fields, *, expect_version=None, expect=None)` changes several fields at once.
update = partial(update_row, Kind.SEGMENT)
#: `delete(key, *, expect_version=None)` deletes a segment that no rule names.
delete = partial(delete_row, Kind.SEGMENT)
#: `undo(key, version=None, *, without=(), expect_version=None)` undoes one event of a segment.
undo = partial(undo_event, Kind.SEGMENT)
#: `restore(key, *, to, without=(), expect_version=None)` restores a segment as of the entry `to`.
restore = partial(restore_row, Kind.SEGMENT)
