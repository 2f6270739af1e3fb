"""Rewrites templates from django-waffle's tags to flagstaff's, and notes the places."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["RewrittenTemplate", "rewritten_template"]

_LOAD = re.compile(r"({%-?\s*load\s[^%]*?)\bwaffle_tags\b")
_TAG = re.compile(r"({%-?\s*)(end)?(flag|switch|sample)\b")
_OPENED = re.compile(r"{%-?\s*flag\s+(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_JINJA = re.compile(r"\bwaffle\.(?:flag|switch|sample)\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^)]*))")
_JINJA_NAME = re.compile(r"\bwaffle\.(?:flag|switch|sample)\(")


@dataclass(frozen=True)
class RewrittenTemplate:
    """A rewritten template, with the line and the key of each place; None for a variable."""

    text: str
    places: list[tuple[int, str | None]]


def rewritten_template(text: str) -> RewrittenTemplate | None:
    """Returns the rewritten template, or None if it has no tag of django-waffle."""
    if _LOAD.search(text):
        text = _TAG.sub(lambda tag: f"{tag[1]}{tag[2] or ''}flag", text)
        text = _LOAD.sub(r"\1flagstaff", text)
        places = [_place(text, found) for found in _OPENED.finditer(text)]
    elif _JINJA.search(text):
        # The name changes its length, but no place changes its line.
        places = [_place(text, found) for found in _JINJA.finditer(text)]
        text = _JINJA_NAME.sub("flag_enabled(", text)
    else:
        return None
    return RewrittenTemplate(text, places)


def _place(text: str, found: re.Match[str]) -> tuple[int, str | None]:
    return text.count("\n", 0, found.start()) + 1, found[1] or found[2] or None
