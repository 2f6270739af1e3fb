"""Cells side by side, as wide as the terminal allows."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from flagstaff.cli.cells import Column

__all__ = ["cut", "fitting", "side_by_side"]

_GAP = "  "
# Less of a text than this says nothing.
_SHORTEST = 12


def fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of the columns; those that may be cut give way until the terminal holds all."""
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
    while excess > 0:
        flexible = [i for i, column in enumerate(columns) if column.cut and widths[i] > _SHORTEST]
        if not flexible:
            break
        widths[max(flexible, key=lambda i: widths[i])] -= 1
        excess -= 1
    return widths


def cut(text: str, width: int) -> str:
    """As much of the text as fits, with a mark where something is missing."""
    if _width(text) <= width:
        return text
    while _width(text) >= width:
        text = text[:-1]
    return f"{text}…"


def side_by_side(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], styled: Sequence[str]
) -> str:
    """A row of a table. What is styled is as wide as the cell that it comes from."""
    padded = []
    for column, width, cell, text in zip(columns, widths, cells, styled, strict=True):
        space = " " * (width - _width(cell))
        padded.append(f"{space}{text}" if column.right else f"{text}{space}")
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """How many places a terminal gives to the text."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
