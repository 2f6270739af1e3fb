"""The chart of exposures: a column for each day, with a part for each variant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from flagstaff.admin.svg import chart, line, rect, text
from flagstaff.experiments.admin.texts import count_text

#: The colours of the variants repeat after so many.
COLOURS = 6
#: The newest days that are shown.
MAX_DAYS = 100

_HEIGHT, _TOP, _BASE = 150, 18, 126
_ALL = 100
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
    parts = [text("quiet", 0, _TOP - 6, _("%(count)s units a day") % {"count": count_text(most)})]
    for place, day in enumerate(days):
        y = float(_BASE)
        for number, variant in enumerate(variants):
            height = day["units"].get(variant, 0) / most * (_BASE - _TOP)
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
    return chart("flagstaff-days", _HEIGHT, title, desc, parts)
