"""Pieces of the charts. They have classes and no inline style, so they obey a strict policy.

Widths are percentages of the box, and there is no view box: texts keep their size on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


def chart(name: str, height: int, title: str, desc: str, parts: Iterable[SafeString]) -> SafeString:
    """Returns an SVG of the full width. `name` is unique on the page."""
    return format_html(
        '<svg class="flagstaff-chart" role="img" width="100%" height="{1}" '
        'aria-labelledby="{0}-title {0}-desc" xmlns="http://www.w3.org/2000/svg">'
        '<title id="{0}-title">{2}</title><desc id="{0}-desc">{3}</desc>{4}</svg>',
        name,
        height,
        title,
        desc,
        joined(parts),
    )


def image(height: int, label: str, parts: Iterable[SafeString]) -> SafeString:
    """Returns an SVG of the full width, with a sentence for screen readers."""
    return format_html(
        '<svg class="flagstaff-chart" role="img" width="100%" height="{}" aria-label="{}" '
        'xmlns="http://www.w3.org/2000/svg">{}</svg>',
        *(height, label, joined(parts)),
    )


def rect(css: str, x: float, y: float, width: float, height: float) -> SafeString:
    """Returns a rectangle: x and width in percent, y and height in pixels."""
    return format_html(
        '<rect class="flagstaff-{}" x="{}%" y="{}" width="{}%" height="{}"></rect>',
        *(css, _number(x), _number(y), _number(width), _number(height)),
    )


def line(css: str, start: tuple[float, float], end: tuple[float, float]) -> SafeString:
    """Returns a line between two points: x in percent, y in pixels."""
    return format_html(
        '<line class="flagstaff-{}" x1="{}%" y1="{}" x2="{}%" y2="{}"></line>',
        *(css, *map(_number, (*start, *end))),
    )


def circle(css: str, x: float, y: float, radius: float) -> SafeString:
    """Returns a point: x in percent, y in pixels."""
    return format_html(
        '<circle class="flagstaff-{}" cx="{}%" cy="{}" r="{}"></circle>',
        *(css, *map(_number, (x, y, radius))),
    )


def text(css: str, x: float, y: float, content: str, anchor: str = "start") -> SafeString:
    """Returns a text: x in percent, y in pixels, anchored at its start, middle or end."""
    return format_html(
        '<text class="flagstaff-{}" x="{}%" y="{}" text-anchor="{}">{}</text>',
        *(css, _number(x), _number(y), anchor, content),
    )


def joined(parts: Iterable[SafeString]) -> SafeString:
    """Returns the parts one after the other."""
    return format_html_join("", "{}", ((part,) for part in parts))


def _number(number: float) -> str:
    """Returns a number for SVG, whatever the language of the request."""
    return f"{number:.2f}".rstrip("0").rstrip(".")
