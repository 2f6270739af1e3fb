"""Replaces parts of a file, and knows where the other parts are afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Edit", "Edited", "Lines", "edited"]


@dataclass(frozen=True, order=True)
class Edit:
    """Replaces the bytes from `start` to `end`."""

    start: int
    end: int
    new: bytes


@dataclass(frozen=True)
class Edited:
    """The result of edits."""

    text: bytes
    edits: tuple[Edit, ...]

    def line(self, offset: int) -> int:
        """Returns the line, from 1, of what was at `offset` before the edits."""
        before = (e for e in self.edits if e.start < offset)
        moved = offset + sum(len(e.new) - (e.end - e.start) for e in before if e.end <= offset)
        return self.text.count(b"\n", 0, moved) + 1


class Lines:
    """Offsets of positions of `ast`, which counts lines from 1 and columns in bytes of UTF-8."""

    def __init__(self, text: bytes) -> None:
        self.starts = [0]
        for line in text.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def offset(self, line: int, column: int) -> int:
        """Returns the offset in bytes."""
        return self.starts[line - 1] + column


def edited(text: bytes, edits: Iterable[Edit]) -> Edited:
    """Applies the edits. Raises ValueError if two of them overlap."""
    ordered = tuple(sorted(set(edits)))
    parts: list[bytes] = []
    end = 0
    for edit in ordered:
        if edit.start < end:
            raise ValueError(f"two edits overlap at byte {edit.start}")
        parts += [text[end : edit.start], edit.new]
        end = edit.end
    return Edited(b"".join([*parts, text[end:]]), ordered)
