"""Changes segments: create_segment, update_segment, delete_segment."""

from __future__ import annotations

from typing import Any

from flagstaff._tables.rows import Fields
from flagstaff.changes.changed import Changed
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.changes.undo import restore_row, undo_event
from flagstaff.history.kinds import Kind


def create_segment(key: str, conditions: object, **fields: Any) -> Changed:
    """Creates a segment. Does nothing if an equal one exists.

    Raises InvalidChangeError if a different segment has the key, or if a field is not valid.
    """
    return create_row(Kind.SEGMENT, key, {"conditions": conditions, **fields})


def update_segment(
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


def delete_segment(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a segment. Does nothing if it was deleted already.

    Raises UnknownSegmentError if it never existed, ConflictError, or InvalidChangeError if a rule
    of a flag names it.
    """
    return delete_row(Kind.SEGMENT, key, expect_version)


def undo(key: str, version: int | None = None, *, expect_version: int | None = None) -> Changed:
    """Undoes one event of a segment: that of the entry `version`, or the newest.

    Newer changes of other fields stay. Raises UnknownSegmentError, NoHistoryError, ConflictError if
    the same fields were changed again, and InvalidChangeError for another version.
    """
    return undo_event(Kind.SEGMENT, key, version, expect_version=expect_version)


def restore(key: str, *, to: int, expect_version: int | None = None) -> Changed:
    """Restores a segment as the entry `to` left it: undoes all newer entries.

    Raises as `undo`.
    """
    return restore_row(Kind.SEGMENT, key, to=to, expect_version=expect_version)
