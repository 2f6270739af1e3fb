"""Refuses to overwrite changes that are newer than the file."""

from __future__ import annotations

from collections.abc import Iterable

from flagstaff._tables.rows import Row
from flagstaff.changes.locking import raise_conflicts, require_version
from flagstaff.exceptions import ConflictError
from flagstaff.serialization.document import Item

__all__ = ["check_versions"]

_ADVICE = "export again, or pass --ignore-versions to overwrite the changes"


def check_versions(pairs: Iterable[tuple[Item, Row | None]]) -> None:
    """Raises one ConflictError for all rows whose version differs from the file's. Queries."""
    raise_conflicts(error for item, row in pairs if (error := _conflict(item, row)))


def _conflict(item: Item, row: Row | None) -> ConflictError | None:
    if row is None:
        message = (
            f"{item.key} has version {item.version} in the file, but does not exist; "
            "pass --ignore-versions to create it"
        )
        return ConflictError(message, key=item.key, expected=item.version)
    try:
        require_version(item.kind, item.key, row.pk, item.version, _ADVICE)
    except ConflictError as error:
        return error
    return None
