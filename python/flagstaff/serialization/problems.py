"""Collects the problems of a file, so that all of them are reported at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flagstaff._words.text import Text, is_storable, joined

#: The place of a field in the document: "flags", "new_checkout", "allowed_users", 3.
Path = tuple["str | int", ...]

#: How many levels of a file are read.
MAX_DEPTH = 100
_MAX_KEY_SHOWN = 60


@dataclass(frozen=True)
class Problem:
    """One problem of a file, and its place."""

    path: Path
    text: str
    #: From 1, if the text is not valid JSON; None for all other problems.
    line: int | None = None

    @property
    def message(self) -> Text:
        """The text with its place."""
        place = [Text("line {number}", number=str(self.line))] if self.line else []
        return joined([*place, *filter(None, [_dotted(self.path)]), self.text], ": ")

    def __str__(self) -> str:
        return str(self.message)


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
            self.add(
                path,
                Text(
                    "contains a NUL character or half of a surrogate pair, which PostgreSQL "
                    "cannot store"
                ),
            )

    def in_order(self) -> list[Problem]:
        """Returns the problems by their places."""
        return sorted(self.found, key=lambda problem: [*map(str, problem.path)])


def _dotted(path: Iterable[str | int]) -> str:
    dotted = ""
    for step in path:
        dotted += f"[{step}]" if isinstance(step, int) else f".{_key(step)}"
    return dotted.removeprefix(".")


def _key(text: str) -> str:
    is_plain = text.isprintable() and text and len(text) <= _MAX_KEY_SHOWN
    return text if is_plain else ascii(text[:_MAX_KEY_SHOWN])
