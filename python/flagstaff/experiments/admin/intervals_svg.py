"""The chart of intervals: one line for each treatment, and where zero is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import chart, circle, line, text
from flagstaff.experiments.admin.texts import signed

__all__ = ["Row", "intervals_chart"]

_ROW, _FIRST, _SECOND, _GAP = 62, 14, 16, 32
_RADIUS, _TICK, _FOOT = 5, 11, 20
_ALL, _HALF = 100, 2
# The space at both edges, as a share of what is drawn.
_MARGIN = 0.08
# Near an edge a label stays inside the box.
_EDGE = 10


@dataclass(frozen=True)
class Row:
    """The effect of one treatment. A bound is None if it is not known."""

    label: str
    interval: str
    #: "fine", "bad" or "open".
    css: str
    value: float
    low: float | None
    high: float | None
    #: What a guardrail tolerates.
    limit: float | None = None


def intervals_chart(
    name: str, title: str, rows: Sequence[Row], write: Callable[[float], str]
) -> SafeString | str:
    """Returns the chart; an empty text without rows."""
    if not rows:
        return ""
    scale = _Scale(rows)
    bottom = len(rows) * _ROW
    zero = scale.at(0.0)
    parts = [text("quiet", zero, bottom + _FOOT - _RADIUS, "0", _anchor(zero))]
    limits = {row.limit for row in rows if row.limit}
    for limit in limits:
        x = scale.at(limit)
        label = _("tolerated: %(limit)s") % {"limit": signed(limit, write)}
        # On the side where zero is not.
        anchor = "end" if limit < 0 and x > _ALL / 4 else "start"
        parts.append(text("quiet", x, bottom + _FOOT - _RADIUS, label, anchor))
    for number, row in enumerate(rows):
        parts += _row(row, scale, _FIRST + number * _ROW)
    desc = "; ".join(f"{row.label}, {row.interval}" for row in rows)
    return chart(name, bottom + _FOOT, title, desc, parts)


class _Scale:
    """From numbers to percent of the width. Zero is always inside."""

    def __init__(self, rows: Sequence[Row]) -> None:
        numbers = [0.0]
        for row in rows:
            numbers += [one for one in (row.value, row.low, row.high, row.limit) if one is not None]
        low, high = min(numbers), max(numbers)
        width = (high - low) or 1.0
        self._low = low - _MARGIN * width
        self._width = width * (1 + 2 * _MARGIN)

    def at(self, number: float) -> float:
        return (number - self._low) / self._width * _ALL


def _row(row: Row, scale: _Scale, y: float) -> list[SafeString]:
    axis = y + _GAP
    low = 0.0 if row.low is None else scale.at(row.low)
    high = float(_ALL) if row.high is None else scale.at(row.high)
    # Without an interval, the faint line says that everything is possible.
    range_css = f"range flagstaff-{row.css}" if (row.low, row.high) != (None, None) else "axis"
    ticks = [_tick("zero", scale.at(0.0), axis)]
    if row.limit:
        ticks.append(_tick("limit", scale.at(row.limit), axis))
    return [
        *ticks,
        text("label", 0, y, row.label),
        text("quiet", 0, y + _SECOND, row.interval),
        line(range_css, (low, axis), (high, axis)),
        circle(f"ratio flagstaff-{row.css}", scale.at(row.value), axis, _RADIUS),
    ]


def _tick(css: str, x: float, axis: float) -> SafeString:
    return line(css, (x, axis - _TICK), (x, axis + _TICK))


def _anchor(x: float) -> str:
    return "start" if x < _EDGE else "end" if x > _ALL - _EDGE else "middle"
