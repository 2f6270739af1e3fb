"""One axis for the changes of all metrics, relative to the values of the control."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import circle, image, line, text
from flagstaff.experiments.admin.texts import number_text, signed

_HEIGHT, _MIDDLE, _RADIUS = 24, 12, 5
_ALL = 100
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
    """From relative changes to percent of the width. Zero and all values are inside."""

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
        place = (number - self._low) / (self._high - self._low) * _ALL
        return min(max(place, 0.0), float(_ALL))

    def ticks(self) -> list[float]:
        """Returns a few round numbers on the axis, with 0."""
        step = _round_up((self._high - self._low) / _MAX_TICKS)
        first, last = math.ceil(self._low / step), math.floor(self._high / step)
        return [number * step for number in range(first, last + 1)]

    def labels(self) -> SafeString:
        """Returns the numbers of the ticks, for the head of the column."""
        parts = []
        for tick in self.ticks():
            place = self.at(tick)
            anchor = "start" if place < _RADIUS else "end" if place > _ALL - _RADIUS else "middle"
            label = signed(tick, _percent) if tick else "0"
            parts.append(text("quiet", place, _MIDDLE + _RADIUS, label, anchor))
        return image(_HEIGHT, _("Scale of the change"), parts)

    def drawing(self, change: Change, css: str, label: str) -> SafeString:
        """Returns the interval of a change and its value, with the label for screen readers."""
        parts = [self._mark("tick", tick) for tick in self.ticks()]
        parts.append(self._mark("zero", 0.0))
        if change.limit is not None:
            parts.append(self._mark("limit", change.limit))
        low = 0.0 if change.low is None else self.at(change.low)
        high = float(_ALL) if change.high is None else self.at(change.high)
        # Without an interval, the faint line says that everything is possible.
        range_css = f"range flagstaff-{css}" if change.bounds else "axis"
        parts.append(line(range_css, (low, _MIDDLE), (high, _MIDDLE)))
        parts.append(circle(f"ratio flagstaff-{css}", self.at(change.value), _MIDDLE, _RADIUS))
        return image(_HEIGHT, label, parts)

    def _mark(self, css: str, number: float) -> SafeString:
        return line(css, (self.at(number), 0), (self.at(number), _HEIGHT))


def _round_up(number: float) -> float:
    """Returns the next larger one of 1, 2 and 5, times a power of ten."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= number)


def _percent(number: float) -> str:
    return f"{number_text(_ALL * number)}\N{NO-BREAK SPACE}%"
