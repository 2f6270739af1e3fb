"""Text that PostgreSQL can store."""

from __future__ import annotations

import re

_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


def is_storable(text: str) -> bool:
    """Returns True if a text column can hold `text`: it has no NUL and no lone surrogate."""
    return _NOT_STORABLE.search(text) is None


def storable(text: str) -> str:
    """Returns the text with a replacement character for each that a text column cannot hold."""
    return _NOT_STORABLE.sub("\ufffd", text)
