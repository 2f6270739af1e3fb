"""Long text, cut for a page or a message."""

from __future__ import annotations

from collections.abc import Callable

from flagstaff._words.local_formats import local_number

#: The length of each value in a table or a message: JSON and CSV have the whole.
MAX_VALUE = 300


def truncated(
    text: str,
    limit: int | None,
    length: int | None = None,
    *,
    more: Callable[[int], str] | None = None,
) -> str:
    """Returns the first `limit` characters, and the number of those left out. None cuts nothing.

    `length` is that of the whole text if `text` is only its beginning. The added text is English;
    pages pass a function that returns its translation for a number.

    >>> truncated("abcdefgh", 5)
    'abcde… (3 more characters)'
    """
    length = len(text) if length is None else length
    shown = text[:limit]
    count = length - len(shown)
    if count <= 0:
        return text
    if more is None:
        return f"{shown}… ({count:,} more characters)"
    return more(count) % {"shown": shown, "count": local_number(count)}
