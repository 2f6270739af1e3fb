"""Long text, cut for a page or a message."""

from __future__ import annotations

__all__ = ["MAX_VALUE", "truncated"]

#: The length of each value in a table or a message: JSON and CSV have the whole.
MAX_VALUE = 300


def truncated(text: str, limit: int | None, length: int | None = None) -> str:
    """Returns the first `limit` characters, and the number of those left out. None cuts nothing.

    `length` is that of the whole text if `text` is only its beginning.

    >>> truncated("abcdefgh", 5)
    'abcde… (3 more characters)'
    """
    length = len(text) if length is None else length
    shown = text[:limit]
    return f"{shown}… ({length - len(shown):,} more characters)" if len(shown) < length else text
