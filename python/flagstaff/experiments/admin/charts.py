"""The charts of an experiment: exposures by day, and the effect over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import chart, circle, line, rect, text
from flagstaff.experiments.admin.texts import count_text, hour_text, interval_text, signed
from flagstaff.experiments.look_columns import time_of

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


def days_chart(days: Sequence[Mapping[str, Any]], variants: Sequence[str]) -> SafeString | str:
    """Returns the chart; an empty text without days."""
    if not days:
        return ""
    totals = [sum(day["units"].values()) for day in days]
    most = max(*totals, 1)
    slot = _ALL / len(days)
    width = min(slot * (1 - _GAP), _WIDEST)
    parts = [
        text("quiet", 0, _DAYS_TOP - 6, _("%(count)s units a day") % {"count": count_text(most)})
    ]
    for place, day in enumerate(days):
        y = float(_BASE)
        for number, variant in enumerate(variants):
            height = day["units"].get(variant, 0) / most * (_BASE - _DAYS_TOP)
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
    parts.append(text("quiet", first, _BASE + 16, str(days[0]["day"]), anchors[0]))
    if len(days) > 1:
        parts.append(text("quiet", last, _BASE + 16, str(days[-1]["day"]), anchors[1]))
    title = _("Exposures per day")
    desc = _("%(days)s days, at most %(most)s units a day") % {
        "days": len(days),
        "most": count_text(most),
    }
    return chart("flagstaff-days", _DAYS_HEIGHT, title, desc, parts)


_LOOKS_HEIGHT, _LOOKS_TOP, _BOTTOM = 190, 18, 160
_LABEL = 18
_ALL = 100
# Fewer looks show no course.
_LEAST = 2

# The first intervals are much wider; those beyond this multiple of the newest one are cut off.
_SPAN = 1.0


def looks_chart(
    name: str, result: Mapping[str, Any], key: str, write: Callable[[float], str]
) -> SafeString | str:
    """Returns the chart of one treatment; an empty text for less than two looks.

    `key` is "lift" or "difference". Each look is a line from the lower to the upper bound.
    """
    looks = [one for one in result["looks"] if one[key] is not None]
    if len(looks) < _LEAST:
        return ""
    low, high = _bounds(looks, key)

    def y(number: float) -> float:
        inside = min(max(number, low), high)
        return _LOOKS_TOP + (high - inside) / (high - low) * (_BOTTOM - _LOOKS_TOP)

    points = list(zip(_times(looks), (look[key] for look in looks), strict=True))
    parts = []
    for x, found in points:
        if found["low"] is None and found["high"] is None:
            continue
        bottom = low if found["low"] is None else found["low"]
        top = high if found["high"] is None else found["high"]
        parts.append(line("look", (x, y(bottom)), (x, y(top))))
    zero = y(0.0)
    parts.append(line("zero", (0, zero), (_ALL, zero)))
    for (x, found), (after, following) in pairwise(points):
        parts.append(line("path", (x, y(found["value"])), (after, y(following["value"]))))
    last_x, last = points[-1]
    parts += [
        circle("path-end", last_x, y(last["value"]), 4),
        text("quiet", 0, _LOOKS_TOP - 6, signed(high, write)),
        text("quiet", 0, _BOTTOM + 12, signed(low, write)),
        text("quiet", 0, _LOOKS_HEIGHT - 2, hour_text(looks[0]["at"])),
        text("quiet", _ALL, _LOOKS_HEIGHT - 2, hour_text(looks[-1]["at"]), "end"),
    ]
    title = _("%(treatment)s over time") % {"treatment": result["treatment"]}
    desc = _("From %(begin)s to %(end)s; the newest: %(value)s, %(interval)s") % {
        "begin": hour_text(looks[0]["at"]),
        "end": hour_text(looks[-1]["at"]),
        "value": signed(last["value"], write),
        "interval": interval_text(last, write),
    }
    return chart(name, _LOOKS_HEIGHT, title, desc, parts)


def _times(looks: Sequence[Mapping[str, Any]]) -> list[float]:
    """Returns where each look stands on the axis of time, with half a step at both edges."""
    times = [time_of(look["at"]).timestamp() for look in looks]
    edge = _ALL / len(looks) / 2
    scale = (_ALL - 2 * edge) / (times[-1] - times[0])
    return [edge + (time - times[0]) * scale for time in times]


def _bounds(looks: Sequence[Mapping[str, Any]], key: str) -> tuple[float, float]:
    """Returns the range of the chart: around the newest interval, zero and the later values."""
    newest = looks[-1][key]
    later = [look[key]["value"] for look in looks[len(looks) // 4 :]]
    known = [one for one in (newest["low"], newest["high"]) if one is not None]
    low, high = min(0.0, *later, *known), max(0.0, *later, *known)
    margin = ((high - low) or 1.0) * _SPAN / 2
    return low - margin, high + margin
