"""Changes segments."""

from __future__ import annotations

from functools import partial
from typing import Any

from flagstaff._tables.rows import Fields
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


def update(
    key: str,
    fields: Fields,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
) -> Changed:
    """Changes several fields of a segment at once. `expect` works as in `update`.

    Raises UnknownSegmentError, ConflictError, or InvalidChangeError.
    """
    return update_row(Kind.SEGMENT, key, fields, expect_version, expect)


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a segment. Does nothing if it was deleted already.

    Raises UnknownSegmentError if it never existed, ConflictError, or InvalidChangeError if a rule
    of a flag names it.
    """
    return delete_row(Kind.SEGMENT, key, expect_version)


#: `undo(key, version=None, *, expect_version=None)` undoes one event of a segment.
undo = partial(undo_event, Kind.SEGMENT)
#: `restore(key, *, to, expect_version=None)` restores a segment as the entry `to` left it.
restore = partial(restore_row, Kind.SEGMENT)
