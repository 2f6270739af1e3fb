"""Shortened lists in messages."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

__all__ = ["MAX_SHOWN", "join_some"]

#: The number of items that a message shows by default.
MAX_SHOWN = 10


def join_some(
    items: Iterable[object],
    limit: int = MAX_SHOWN,
    *,
    total: int | None = None,
    separator: str = ", ",
) -> str:
    """Returns the first `limit` items as text, then "and 3 more" if there are more.

    `total` is the number of all items if `items` has only the first ones.

        >>> join_some(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    texts = [str(item) for item in items]
    shown = separator.join(texts[:limit])
    more = (len(texts) if total is None else total) - min(len(texts), limit)
    if more <= 0:
        return shown
    return _("%(items)s and %(count)s more") % {"items": shown, "count": f"{more:,}"}
