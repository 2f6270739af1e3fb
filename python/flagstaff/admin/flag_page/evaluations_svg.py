"""The chart of evaluations: a column for each hour, true results below false ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from django.utils.formats import date_format
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from flagstaff._words.local_formats import local_number
from flagstaff._words.times import local_time
from flagstaff.admin.flag_page.evaluation_hours import Hour
from flagstaff.admin.svg import chart, line, rect, text

_HEIGHT, _TOP, _BASE = 150, 18, 126
_ALL = 100
# The space between two columns, as a share of a column.
_GAP = 0.2


def hours_chart(hours: Sequence[Hour]) -> SafeString:
    """Returns the chart."""
    most = max(hour.count for hour in hours)
    scale = ngettext("%(count)s evaluation an hour", "%(count)s evaluations an hour", most)
    desc = _("One column for each hour, at most %(most)s. Below: true. Above: false.")
    most_text = scale % {"count": local_number(most)}
    parts = [
        text("quiet", 0, _TOP - 6, most_text),
        *_columns(hours, max(most, 1)),
        line("axis", (0, _BASE), (_ALL, _BASE)),
        *_labels(hours),
    ]
    title = _("Evaluations per hour")
    return chart("flagstaff-hours", _HEIGHT, title, desc % {"most": most_text}, parts)


def _columns(hours: Sequence[Hour], most: int) -> Iterator[SafeString]:
    slot = _ALL / len(hours)
    width = slot * (1 - _GAP)
    for place, hour in enumerate(hours):
        y = float(_BASE)
        for css, count in (("true", hour.true_count), ("false", hour.false_count)):
            height = count / most * (_BASE - _TOP)
            y -= height
            if height:
                yield rect(css, place * slot + (slot - width) / 2, y, width, height)


def _labels(hours: Sequence[Hour]) -> Iterator[SafeString]:
    """The start of the first hour, of the one in the middle and of the last one."""
    middle = len(hours) // 2
    for place, anchor, x in (
        (0, "start", 0.0),
        (middle, "middle", (middle + 1 / 2) / len(hours) * _ALL),
        (len(hours) - 1, "end", float(_ALL)),
    ):
        yield text(
            "quiet", x, _BASE + 16, date_format(local_time(hours[place].start), "H:i"), anchor
        )
