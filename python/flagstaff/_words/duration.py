"""Durations as messages, such as "1 d 12 h"."""

from __future__ import annotations

from flagstaff._words.message import Message, Template
from flagstaff._words.message import marked as _

SECONDS = Template("duration_seconds", _("%(count)s s"))
_LESS_THAN_A_SECOND = Template("duration_less_than_a_second", _("less than 1 s"))
_TWO_UNITS = Template("duration_of_two_units", _("%(large)s %(small)s"))
_UNITS = (
    (86_400, Template("duration_days", _("%(count)s d"))),
    (3_600, Template("duration_hours", _("%(count)s h"))),
    (60, Template("duration_minutes", _("%(count)s min"))),
    (1, SECONDS),
)


def duration(seconds: float, *, largest_only: bool = False) -> Message:
    """Returns a duration in its two largest units, or in its largest one. The rest is left out.

    >>> duration(59), duration(3_660), duration(129_600)
    ('59 s', '1 h 1 min', '1 d 12 h')
    >>> duration(750, largest_only=True)
    '12 min'
    """
    if 0 < seconds < 1:
        return _LESS_THAN_A_SECOND()
    left, parts = round(seconds), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(unit(count=count))
    if not parts:
        return SECONDS(count=0)
    if largest_only or len(parts) == 1:
        return parts[0]
    return _TWO_UNITS(large=parts[0], small=parts[1])
