"""Names that are spelled nearly like known ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["nearest"]

# "stafff" is like "staff"; "plan" and "country" are not like "planet" and "county_name".
_SIMILAR = 0.8


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name that a name is most like; None without one. Ignores the case."""
    by_folded = {one.casefold(): one for one in known}
    found = get_close_matches(name.casefold(), by_folded, n=1, cutoff=_SIMILAR)
    return by_folded[found[0]] if found else None
