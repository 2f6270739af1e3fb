"""Long text, cut for a page or a message."""

from __future__ import annotations

__all__ = ["MAX_VALUE", "truncated"]

#: The length of each value in a table or a message: JSON and CSV have the whole.
MAX_VALUE = 300


def truncated(text: str, limit: int | None) -> str:
    """Returns the first `limit` characters, and the number of those left out. None cuts nothing.

    >>> truncated("abcdefgh", 5)
    'abcde… (3 more characters)'
    """
    if limit is None or len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"
