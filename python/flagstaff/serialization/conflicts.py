"""What was changed since a file was written is not written over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flagstaff.changes.locking import raise_conflicts, require_version
from flagstaff.exceptions import ConflictError
from flagstaff.serialization.document import Entry

__all__ = ["refuse_newer"]


def refuse_newer(found: Iterable[tuple[Entry, Any]]) -> None:
    """Raise ConflictError, with all of them, where rows have other versions than entries say."""
    raise_conflicts(error for entry, row in found if (error := _conflict(entry, row)))


def _conflict(entry: Entry, row: Any) -> ConflictError | None:
    if row is None:
        told = f"{entry.key} had version {entry.version} in the file, and is not here"
        return ConflictError(told, key=entry.key, expected=entry.version)
    try:
        require_version(entry.kind, entry.key, row.pk, entry.version)
    except ConflictError as error:
        return error
    return None
