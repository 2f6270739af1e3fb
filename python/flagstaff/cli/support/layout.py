"""The widths of a table's columns, and its rows."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from flagstaff.cli.support.cells import Column

__all__ = ["column_widths", "format_row", "is_too_wide", "lines_below", "truncate"]

_GAP = "  "
# Columns are not made narrower than this.
_MIN_WIDTH = 12
# The indent of the lines below a row.
_INDENT = " " * 4


def is_too_wide(rows: Sequence[Sequence[str]]) -> bool:
    """Returns True if a table of these rows does not fit the terminal."""
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    return sum(widths) + len(_GAP) * (len(widths) - 1) > shutil.get_terminal_size().columns


def lines_below(cells: Sequence[str]) -> list[str]:
    """Returns the cells to print below a row, in lines that fit the terminal."""
    text = " · ".join(cell for cell in cells if cell)
    width = max(shutil.get_terminal_size().columns, _MIN_WIDTH + len(_INDENT))
    return textwrap.wrap(text, width, initial_indent=_INDENT, subsequent_indent=_INDENT)


def column_widths(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """Returns the widths; columns that may be truncated shrink until the row fits the terminal."""
    widths = [max(map(_width, cells)) for cells in zip(*rows, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - shutil.get_terminal_size().columns
    while excess > 0:
        flexible = [
            i for i, column in enumerate(columns) if column.truncate and widths[i] > _MIN_WIDTH
        ]
        if not flexible:
            break
        widths[max(flexible, key=lambda i: widths[i])] -= 1
        excess -= 1
    return widths


def truncate(text: str, width: int) -> str:
    """Returns as much of the text as fits, with "…" at the end if it was shortened."""
    # A long text costs no more than what is shown of it.
    used = 0
    for end, character in enumerate(text):
        used += _width(character)
        if used > width:
            return f"{_cut(text[:end], width - 1)}…"
    return text


def _cut(text: str, width: int) -> str:
    while _width(text) > width:
        text = text[:-1]
    return text


def format_row(
    columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str], styled: Sequence[str]
) -> str:
    """Returns a row of a table. `styled` are the cells with colours, which take no space."""
    padded = []
    for column, width, cell, text in zip(columns, widths, cells, styled, strict=True):
        space = " " * (width - _width(cell))
        padded.append(f"{space}{text}" if column.align_right else f"{text}{space}")
    return _GAP.join(padded).rstrip()


def _width(text: str) -> int:
    """Returns the number of terminal cells of a text."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
