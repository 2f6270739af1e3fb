"""What stands in the code: the places that the search should find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ANY", "Place"]

#: Among the other keys of a place: each key is right.
ANY: Final = "*"


@dataclass(frozen=True)
class Place:
    """One place that has a key, or builds one at run time."""

    #: Relative to the code base.
    path: str
    #: The lines of the expression. A find on any of them counts.
    line: int
    last_line: int
    kind: str
    #: None if the key is built at run time.
    key: str | None
    #: Other keys that are right too, for a place that may be read in two ways.
    also: frozenset[str | None] = frozenset()
    #: Neither a miss nor a wrong find: the search may report it or not.
    optional: bool = False

    def accepts(self, key: str | None) -> bool:
        """Returns whether the key is a right result for this place."""
        return key == self.key or key in self.also or ANY in self.also
