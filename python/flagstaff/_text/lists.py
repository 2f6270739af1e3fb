"""Long lists in one line of text."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.translation import gettext as _

__all__ = ["MAX_SHOWN", "join_some"]

#: How many items a message shows, unless it says otherwise.
MAX_SHOWN = 10


def join_some(
    items: Iterable[object],
    limit: int = MAX_SHOWN,
    *,
    total: int | None = None,
    separator: str = ", ",
) -> str:
    """Returns the first `limit` items as text, then "and 3 more" if there are more.

    `total` is the number of all items, if `items` holds only the first of them.

        >>> join_some(["a", "b", "c"], 2)
        'a, b and 1 more'
    """
    texts = [str(item) for item in items]
    shown = separator.join(texts[:limit])
    more = (len(texts) if total is None else total) - min(len(texts), limit)
    if more <= 0:
        return shown
    return _("%(items)s and %(count)s more") % {"items": shown, "count": f"{more:,}"}
