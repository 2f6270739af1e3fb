"""Changes segments."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from flagstaff._tables.rows import Fields, Kind
from flagstaff._types import SegmentFields
from flagstaff.changes.async_twins import async_twin
from flagstaff.changes.fields import Changed
from flagstaff.changes.row_changes import create_row, delete_row, update_row
from flagstaff.changes.undo import restore_row, undo_event

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "acreate",
    "adelete",
    "arestore",
    "aundo",
    "aupdate",
    "create",
    "delete",
    "restore",
    "undo",
    "update",
]


def __dir__() -> list[str]:
    return __all__


def create(key: str, conditions: object, *, description: str = "") -> Changed:
    """Creates a segment. Does nothing if an equal one exists.

        staff = [{"attribute": "is_staff", "operator": "in", "values": [True]}]
        changes.segments.create("staff", staff)

    Raises InvalidChangeError if a different segment has the key, or if a field is not valid.
    """
    return create_row(Kind.SEGMENT, key, {"conditions": conditions, "description": description})


def update(
    key: str,
    fields: Fields | None = None,
    *,
    expect_version: int | None = None,
    expect: Fields | None = None,
    **named_fields: Unpack[SegmentFields],
) -> Changed:
    """Changes several fields of a segment at once.

        changes.segments.update("enterprise", description="Customers who pay")

    `fields` and `expect` work as in `changes.flags.update`. Raises UnknownSegmentError,
    ConflictError, or InvalidChangeError.
    """
    fields = {**(fields or {}), **named_fields}
    return update_row(Kind.SEGMENT, key, fields, expect_version=expect_version, expect=expect)


def delete(key: str, *, expect_version: int | None = None) -> Changed:
    """Deletes a segment: `changes.segments.delete("enterprise")`. Does nothing the second time.

    Raises UnknownSegmentError if it never existed, ConflictError, and InvalidChangeError if a rule
    names it.
    """
    return delete_row(Kind.SEGMENT, key, expect_version=expect_version)


def undo(
    key: str,
    version: int | None = None,
    *,
    without: Collection[str] = (),
    expect_version: int | None = None,
) -> Changed:
    """Undoes an event of a segment: `changes.segments.undo("staff")`. As `changes.flags.undo`."""
    return undo_event(Kind.SEGMENT, key, version, without=without, expect_version=expect_version)


def restore(
    key: str, *, to: int, without: Collection[str] = (), expect_version: int | None = None
) -> Changed:
    """Restores a segment as the entry `to` left it: `changes.segments.restore("staff", to=42)`.

    It undoes the newer entries. `without` works, and it raises, as `undo`.
    """
    return restore_row(Kind.SEGMENT, key, to=to, without=without, expect_version=expect_version)


acreate = async_twin(create)
adelete = async_twin(delete)
arestore = async_twin(restore)
aundo = async_twin(undo)
aupdate = async_twin(update)
