"""Shortened lists in messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flagstaff._words.local_formats import local_number
from flagstaff._words.message import Message, Template, localized
from flagstaff._words.message import marked as _

_SOME = Template("items", "%(items)s")
_SOME_AND_MORE = Template("items_and_more", _("%(items)s and %(others)s more"))

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

    `total` is the number of all items if `items` has only the first ones. The text is English, as
    logs and exceptions are; `more` returns another one for a number.

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


def some(items: Iterable[object], limit: int = MAX_SHOWN, *, total: int | None = None) -> Message:
    """Returns the same as `join_some`, as a value of a message."""
    texts = [item if isinstance(item, str) else str(item) for item in items]
    others = (len(texts) if total is None else total) - min(len(texts), limit)
    if others <= 0:
        return _SOME(items=texts)
    return _SOME_AND_MORE(items=texts[:limit], others=others)


def local_list(items: Iterable[object], limit: int = MAX_SHOWN, *, total: int | None = None) -> str:
    """Returns the same as `join_some`, in the active language."""
    return localized(some(items, limit, total=total))
