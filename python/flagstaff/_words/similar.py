"""The name that a misspelled name may mean."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def most_similar(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Returns the known name that is most similar; None if none is. Ignores case.

    `cutoff` is the least similarity, from 0 to 1. Of names that differ only in case, the first
    counts.

    >>> most_similar("Chekout", ["checkout", "search"])
    'checkout'
    """
    by_folded: dict[str, str] = {}
    for other in names:
        by_folded.setdefault(other.casefold(), other)
    nearest = get_close_matches(name.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[nearest[0]] if nearest else None
