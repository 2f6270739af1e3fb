"""Shortened lists in messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flagstaff._words.local_formats import local_number

#: The number of items that a message shows by default.
MAX_SHOWN = 10


def join_some(
    items: Iterable[object],
    limit: int = MAX_SHOWN,
    *,
    total: int | None = None,
    separator: str = ", ",
    more: Callable[[int], str] | None = None,
) -> str:
    """Returns the first `limit` items as text, then "and 3 more" if there are more.

    `total` is the number of all items if `items` has only the first ones. The text is English,
    as logs and exceptions are; pages pass a function that returns its translation for a number.

        >>> join_some(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    texts = [str(item) for item in items]
    shown = separator.join(texts[:limit])
    count = (len(texts) if total is None else total) - min(len(texts), limit)
    if count <= 0:
        return shown
    if more is None:
        return f"{shown} and {count:,} more"
    return more(count) % {"items": shown, "count": local_number(count)}
