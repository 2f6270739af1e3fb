"""Rows of waffle for tests, and the flags that they become."""

from __future__ import annotations

from flagstaff import serialization
from flagstaff.compat.converting import Converted, convert
from flagstaff.compat.rows import read_rows
from flagstaff.history.kinds import Kind
from flagstaff.serialization.document import Document


def take_over() -> dict[tuple[str, str], Converted]:
    """Writes the flags that the rows of waffle become. Returns them by kind and name."""
    found: dict[tuple[str, str], Converted] = {
        (row.kind, row.name): convert(row) for row in read_rows()
    }
    items = tuple(one.item for one in found.values() if one.item)
    serialization.apply(Document(items, frozenset({Kind.FLAG}), partial=True))
    return found
