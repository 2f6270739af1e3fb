"""What is wrong with a file, collected, so that all of it is told at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flagstaff._text.storable import is_storable

__all__ = ["DEEPEST", "TOO_DEEP", "Path", "Problem", "Problems"]

#: From the top of the document down to a field: "flags", "new_checkout", "allowed_users", 3.
Path = tuple["str | int", ...]

#: How many levels of a file are read.
DEEPEST = 100
TOO_DEEP = f"is nested deeper than {DEEPEST} levels"
_MOST_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, and where."""

    path: Path
    text: str
    #: From 1; None where it is not known, as in JSON.
    line: int | None = None

    def __str__(self) -> str:
        place = [f"line {self.line}"] if self.line else []
        place += [_shown(self.path)] if self.path else []
        return ": ".join([*place, self.text])


class Problems:
    """Grows while a file is read. Texts never hold what a field holds, for it may be secret."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._lines: dict[Path, int] = {}
        self._touched: set[Path] = set()

    def at(self, path: Path, line: int) -> None:
        """Remember the line of a field."""
        self._lines[path] = line

    def add(self, path: Path, text: str, line: int | None = None) -> None:
        """One more, at its line, or that of the nearest thing above it."""
        self.found.append(Problem(path, text, line or self._line(path)))
        self._touched.update(path[:length] for length in range(len(path) + 1))

    def add_first(self, path: Path, text: str) -> None:
        """One more, unless something is told there already."""
        if not self.is_told_at(path):
            self.add(path, text)

    def is_told_at(self, path: Path) -> bool:
        """Whether something is wrong there or below, so that no more is to be said of it."""
        return path in self._touched

    def check_text(self, path: Path, text: str) -> None:
        """Refuse what no text column can hold."""
        if not is_storable(text):
            self.add(path, "has a character that no database holds: a NUL, or half of a pair")

    def in_order(self) -> list[Problem]:
        """All of them, as far as lines are known by line."""
        return sorted(self.found, key=lambda one: (one.line or 0, *map(str, one.path)))

    def _line(self, path: Path) -> int | None:
        above = (path[:length] for length in range(len(path), 0, -1))
        return next((self._lines[one] for one in above if one in self._lines), None)


def _shown(path: Iterable[str | int]) -> str:
    shown = ""
    for step in path:
        shown += f"[{step}]" if isinstance(step, int) else f".{_key(step)}"
    return shown.removeprefix(".")


def _key(text: str) -> str:
    is_plain = text.isprintable() and text and len(text) <= _MOST_SHOWN
    return text if is_plain else ascii(text[:_MOST_SHOWN])
