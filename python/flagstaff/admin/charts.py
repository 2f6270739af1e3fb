"""Drawings of numbers. They have classes and no inline style, so they obey a strict policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# The units of the box: a column with the space beside it, and the room for columns and for labels.
_STEP, _COLUMN, _HEIGHT, _LABELS = 3, 2, 44, 16


def bars(counts: Sequence[tuple[int, int]], labels: Mapping[int, str], text: str) -> SafeString:
    """Returns a column for each whole, and in front of it one for its part.

    `counts` are pairs of a part and its whole, and `labels` the texts below some of them. `text`
    says the same as the drawing.
    """
    most = max((whole for _part, whole in counts), default=0) or 1
    paths = {
        "false": _columns(whole / most for _part, whole in counts),
        "true": _columns(part / most for part, _whole in counts),
    }
    return format_html(
        '<svg class="flagstaff-bars" viewBox="0 0 {} {}" width="100%" role="img" aria-label="{}">'
        "{}{}</svg>",
        *(len(counts) * _STEP, _HEIGHT + _LABELS, text),
        format_html_join("", '<path class="flagstaff-{}" d="{}"></path>', paths.items()),
        format_html_join(
            "",
            '<text x="{}" y="{}">{}</text>',
            ((place * _STEP, _HEIGHT + _LABELS - 3, label) for place, label in labels.items()),
        ),
    )


def _columns(shares: Iterable[float]) -> str:
    """Returns the outline of columns. A share that is not 0 can be seen."""
    tops = (_HEIGHT - max(round(share * _HEIGHT), int(share > 0)) for share in shares)
    return "".join(
        f"M{number * _STEP} {_HEIGHT}V{top}h{_COLUMN}V{_HEIGHT}z"
        for number, top in enumerate(tops)
        if top < _HEIGHT
    )
