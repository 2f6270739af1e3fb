"""Shows URLs in a text as links, such as the URL of a ticket in a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe

_ADDRESS = re.compile(r"https?://[^\s<>\"']+")
# A character that ends a sentence or a bracket is not part of the URL.
_AFTER = ".,;:!?)]}"
# The text was truncated here, so the URL is not complete.
_CUT = "…"


def with_links(text: str) -> SafeString:
    """Returns the text as HTML, with each http and https address as a link.

    >>> with_links("see https://example.com/7.")
    'see <a href="https://example.com/7" rel="noreferrer">https://example.com/7</a>.'
    """
    return mark_safe("".join(_parts(text)))  # noqa: S308 (each part is escaped)


def _parts(text: str) -> Iterator[str]:
    end = 0
    for found in _ADDRESS.finditer(text):
        address = found[0].rstrip(_AFTER)
        if _CUT in address or address.endswith("//"):
            continue
        yield conditional_escape(text[end : found.start()])
        yield format_html('<a href="{0}" rel="noreferrer">{0}</a>', address)
        end = found.start() + len(address)
    yield conditional_escape(text[end:])
