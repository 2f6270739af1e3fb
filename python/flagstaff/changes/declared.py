"""Writes what code declares into rows: for SQL, and for the console of another service."""

from __future__ import annotations

from typing import Any, cast

from flagstaff._declared import DECLARED
from flagstaff._tables.database import db
from flagstaff._tables.rows import Kind, Row, all_rows, declaration, declared_row
from flagstaff.changes.fields import AllowedUsersChange, Changed, differing
from flagstaff.changes.row_changes import insert_row, write_change
from flagstaff.changes.row_states import assign


def write_rows() -> list[Changed]:
    """Makes the rows that declared keys lack, and writes the texts of the others: all or none.

    What decides stays. Returns what was written, by kind and key. Raises InvalidChangeError.
    """
    with db.atomic():
        return [
            changed
            for kind in (Kind.FLAG, Kind.VALUE)
            for key in sorted(DECLARED)
            if (changed := _written(kind, key)) is not None
        ]


def _written(kind: Kind, key: str) -> Changed | None:
    """Writes the row of a key; None if code declares another kind, or nothing differs."""
    declared = declaration(kind.model, key)
    if declared is None:
        return None
    rows: Any = all_rows(kind.model).filter(key=key)
    stored = rows.select_for_update().values(*declared.owned).first()
    if stored is None:
        return insert_row(kind, cast("Row", declared_row(kind.model, key)), AllowedUsersChange())
    row = rows.get()
    # The row that was read shows the texts of the code already.
    assign(row, stored)
    changes = differing(row, declared.owned)
    return write_change(kind, row, changes, AllowedUsersChange()) if changes else None
