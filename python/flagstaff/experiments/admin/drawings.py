"""The drawing of a report: intervals on one axis for all metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.experiments.figures import percent_number_text, signed

# The box of an interval, and the radius of its point.
_WIDTH, _HEIGHT, _RADIUS = 200, 24, 5
_MIDDLE = _HEIGHT // 2
# The space at both edges, as a share of what is drawn.
_MARGIN = 0.04
# An interval that is wider than this multiple of all other numbers is cut off at the edge.
_WIDEST = 3.0
_MAX_TICKS = 4


@dataclass(frozen=True)
class Change:
    """The effect on a metric in relation to the value of the control. A bound may be unknown."""

    value: float
    low: float | None
    high: float | None
    #: What a guardrail tolerates.
    limit: float | None = None

    @property
    def bounds(self) -> list[float]:
        """The known bounds."""
        return [bound for bound in (self.low, self.high) if bound is not None]


class Axis:
    """From relative changes to the width of a drawing. Zero and all values are inside."""

    def __init__(self, changes: Iterable[Change]) -> None:
        drawn = list(changes)
        inside = [0.0, *(change.value for change in drawn)]
        inside += [change.limit for change in drawn if change.limit is not None]
        bounds = [bound for change in drawn for bound in change.bounds]
        most = _WIDEST * max(map(abs, inside)) or max(map(abs, bounds), default=1.0)
        inside += [bound for bound in bounds if abs(bound) <= most]
        low, high = min(inside), max(inside)
        margin = _MARGIN * ((high - low) or 1.0)
        self._low, self._high = low - margin, high + margin

    def at(self, number: float) -> float:
        """Returns the place of a number; the edge for one that is outside."""
        place = (number - self._low) / (self._high - self._low) * _WIDTH
        return round(min(max(place, 0.0), float(_WIDTH)), 1)

    def ticks(self) -> list[float]:
        """Returns a few round numbers on the axis, with 0."""
        step = _round_up((self._high - self._low) / _MAX_TICKS)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [number * step for number in range(first, last + 1)]

    def labels(self) -> SafeString:
        """Returns the numbers of the ticks, for the head of the column."""
        texts = SafeString()
        for tick in self.ticks():
            place = self.at(tick)
            edge = 2 * _RADIUS
            anchor = "start" if place < edge else "end" if place > _WIDTH - edge else "middle"
            label = signed(tick, percent_number_text) if tick else "0"
            text = '<text x="{}" y="{}" text-anchor="{}">{}</text>'
            texts += format_html(text, place, _MIDDLE + _RADIUS, anchor, label)
        return _box(_("Scale of the change"), texts)

    def drawing(self, change: Change, css: str, label: str) -> SafeString:
        """Returns the interval of a change and its value, with the label for screen readers.

        `css` is the colour: "fine", "bad" or "open".
        """
        low = 0.0 if change.low is None else self.at(change.low)
        high = float(_WIDTH) if change.high is None else self.at(change.high)
        marks = {
            "tick": "".join(map(self._mark, self.ticks())),
            "zero": self._mark(0.0),
            "limit": "" if change.limit is None else self._mark(change.limit),
            # Without an interval, the faint line says that everything is possible.
            f"range flagstaff-{css if change.bounds else 'unknown'}": f"M{low} {_MIDDLE}H{high}",
        }
        paths = SafeString()
        for name, path in marks.items():
            paths += format_html('<path class="flagstaff-{}" d="{}"></path>', name, path)
        point = '<circle class="flagstaff-{}" cx="{}" cy="{}" r="{}"></circle>'
        value = format_html(point, css, self.at(change.value), _MIDDLE, _RADIUS)
        return _box(label, paths + value)

    def _mark(self, number: float) -> str:
        return f"M{self.at(number)} 0V{_HEIGHT}"


def _box(label: str, content: SafeString) -> SafeString:
    return format_html(
        '<svg class="flagstaff-interval" viewBox="0 0 {0} {1}" width="{0}" height="{1}" '
        'role="img" aria-label="{2}">{3}</svg>',
        *(_WIDTH, _HEIGHT, label, content),
    )


def _round_up(number: float) -> float:
    """Returns the next larger one of 1, 2 and 5, times a power of ten."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= number)
