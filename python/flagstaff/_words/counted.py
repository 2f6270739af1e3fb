"""English numbers with their nouns, for a terminal."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns the number with its noun. `plural` is by default the noun with an "s".

    >>> counted(1, "user"), counted(1_000, "user"), counted(2, "entry", "entries")
    ('1 user', '1,000 users', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
