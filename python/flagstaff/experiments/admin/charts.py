"""The charts of an experiment: exposures by day, and the effect over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import chart, circle, line, rect, text
from flagstaff.experiments.admin.texts import count_text, hour_text, interval_text, signed
from flagstaff.experiments.report_data import DayUnits, EffectReport

#: An effect at the times of its looks, the newest one last.
Effects = Sequence[tuple[datetime, EffectReport]]

#: The number of colours of variants. More variants repeat them.
COLOURS = 6
#: The newest days that are shown.
MAX_DAYS = 100

_DAYS_HEIGHT, _DAYS_TOP, _BASE = 150, 18, 126
# The space between two columns, as a share of a column.
_GAP = 0.2
# Few days have columns that are not wider than this, in percent.
_WIDEST = 12.0
_WIDE_SLOT = 30


def days_chart(days: Sequence[DayUnits], variants: Sequence[str]) -> SafeString | str:
    """Returns the chart; an empty text without days."""
    if not days:
        return ""
    totals = [sum(day.units.values()) for day in days]
    most = max(*totals, 1)
    slot = _ALL / len(days)
    width = min(slot * (1 - _GAP), _WIDEST)
    parts = [
        text("quiet", 0, _DAYS_TOP - 6, _("%(count)s units a day") % {"count": count_text(most)})
    ]
    for place, day in enumerate(days):
        y = float(_BASE)
        for number, variant in enumerate(variants):
            height = day.units.get(variant, 0) / most * (_BASE - _DAYS_TOP)
            y -= height
            if height:
                x = (place + 1 / 2) * slot - width / 2
                css = f"variant-{number % COLOURS}"
                parts.append(rect(css, x, y, width, height))
    parts.append(line("axis", (0, _BASE), (_ALL, _BASE)))
    # Below wide columns a label has room in the middle.
    is_wide = slot > _WIDE_SLOT
    first, last = (slot / 2, _ALL - slot / 2) if is_wide else (0.0, float(_ALL))
    anchors = ("middle", "middle") if is_wide else ("start", "end")
    parts.append(text("quiet", first, _BASE + 16, str(days[0].day), anchors[0]))
    if len(days) > 1:
        parts.append(text("quiet", last, _BASE + 16, str(days[-1].day), anchors[1]))
    title = _("Exposures per day")
    desc = _("%(days)s days, at most %(most)s units a day") % {
        "days": len(days),
        "most": count_text(most),
    }
    return chart("flagstaff-days", _DAYS_HEIGHT, title, desc, parts)


_LOOKS_HEIGHT, _LOOKS_TOP, _BOTTOM = 190, 18, 160
_ALL = 100
# Fewer looks show no course.
_LEAST = 2

# The first intervals are much wider; those beyond this multiple of the newest one are cut off.
_SPAN = 1.0


def looks_chart(
    name: str, treatment: str, effects: Effects, write: Callable[[float], str]
) -> SafeString | str:
    """Returns the chart of one treatment; an empty text for less than two looks.

    Each look is a line from the lower to the upper bound.
    """
    if len(effects) < _LEAST:
        return ""
    low, high = _bounds(effects)

    def y(number: float) -> float:
        inside = min(max(number, low), high)
        return _LOOKS_TOP + (high - inside) / (high - low) * (_BOTTOM - _LOOKS_TOP)

    points = list(zip(_times(effects), (found for _at, found in effects), strict=True))
    begin, end = (hour_text(at) for at, _found in (effects[0], effects[-1]))
    parts = []
    for x, found in points:
        if not found.has_interval:
            continue
        bottom = low if found.low is None else found.low
        top = high if found.high is None else found.high
        parts.append(line("look", (x, y(bottom)), (x, y(top))))
    zero = y(0.0)
    parts.append(line("zero", (0, zero), (_ALL, zero)))
    for (x, found), (after, following) in pairwise(points):
        parts.append(line("path", (x, y(found.value)), (after, y(following.value))))
    last_x, last = points[-1]
    parts += [
        circle("path-end", last_x, y(last.value), 4),
        text("quiet", 0, _LOOKS_TOP - 6, signed(high, write)),
        text("quiet", 0, _BOTTOM + 12, signed(low, write)),
        text("quiet", 0, _LOOKS_HEIGHT - 2, begin),
        text("quiet", _ALL, _LOOKS_HEIGHT - 2, end, "end"),
    ]
    title = _("%(treatment)s over time") % {"treatment": treatment}
    desc = _("From %(begin)s to %(end)s; the newest: %(value)s, %(interval)s") % {
        "begin": begin,
        "end": end,
        "value": signed(last.value, write),
        "interval": interval_text(last, write),
    }
    return chart(name, _LOOKS_HEIGHT, title, desc, parts)


def _times(effects: Effects) -> list[float]:
    """Returns where each look stands on the axis of time, with half a step at both edges."""
    times = [at.timestamp() for at, _found in effects]
    edge = _ALL / len(effects) / 2
    scale = (_ALL - 2 * edge) / (times[-1] - times[0])
    return [edge + (time - times[0]) * scale for time in times]


def _bounds(effects: Effects) -> tuple[float, float]:
    """Returns the range of the chart: around the newest interval, zero and the later values."""
    newest = effects[-1][1]
    later = [found.value for _at, found in effects[len(effects) // 4 :]]
    known = [one for one in (newest.low, newest.high) if one is not None]
    low, high = min(0.0, *later, *known), max(0.0, *later, *known)
    margin = ((high - low) or 1.0) * _SPAN / 2
    return low - margin, high + margin
