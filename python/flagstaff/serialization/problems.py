"""Collects the problems of a file, so that all of them are reported at once."""

from __future__ import annotations

from flagstaff._words.storable import is_storable
from flagstaff.exceptions import Path, Problem
from flagstaff.serialization.messages import NOT_STORABLE

#: How many levels of a file are read.
MAX_DEPTH = 100


class Problems:
    """The problems found so far. Their texts never contain a field's value: it may be secret."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._paths: set[Path] = set()

    def add(self, path: Path, text: str) -> None:
        """Adds a problem."""
        self.found.append(Problem(path, text))
        self._paths.update(path[:length] for length in range(len(path) + 1))

    def add_first(self, path: Path, text: str) -> None:
        """Adds a problem unless the field has one already."""
        if not self.exists_at(path):
            self.add(path, text)

    def exists_at(self, path: Path) -> bool:
        """Returns whether a field, or one below it, has a problem."""
        return path in self._paths

    def check_text(self, path: Path, text: str) -> None:
        """Adds a problem if PostgreSQL cannot store the text."""
        if not is_storable(text):
            self.add(path, NOT_STORABLE())

    def in_order(self) -> list[Problem]:
        """Returns the problems by their places."""
        return sorted(self.found, key=lambda problem: [*map(str, problem.path)])
