"""Long text, cut for a page or a message."""

from __future__ import annotations

from flagstaff._words.message import Template, localized
from flagstaff._words.message import marked as _

#: The length of each value in a table or a message: JSON and CSV have the whole.
MAX_VALUE = 300

_TRUNCATED = Template("truncated_text", _("%(text)s… (%(count)s more characters)"))


def truncated(text: str, limit: int | None, length: int | None = None) -> str:
    """Returns the first `limit` characters, and the number of those left out. None cuts nothing.

    `length` is that of the whole text if `text` is only its beginning.

    >>> truncated("abcdefgh", 5)
    'abcde… (3 more characters)'
    """
    beginning = text[:limit]
    count = (len(text) if length is None else length) - len(beginning)
    return _TRUNCATED(text=beginning, count=count) if count > 0 else text


def local_truncated(text: str, limit: int | None, length: int | None = None) -> str:
    """Returns the same in the active language."""
    return localized(truncated(text, limit, length))
